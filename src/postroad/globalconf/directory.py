"""What is a signed directory, how is it proved, and how is it written?

The directory lists the parts of a configuration with their digests; its signature is the only
thing that makes any of it true. Nothing inside is looked at before the signature holds
(:func:`verify_directory` is the recipe). Source: PR-GCONF 2.6; reference: ``ConfigurationParser``,
``ConfigurationSignature``, ``DirectoryContentBuilder``, ``MultipartMessage``.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError
from postroad.globalconf.moments import encode_moment, parse_moment
from postroad.globalconf.multipart import (
    Part,
    boundary_of,
    broken,
    parse_header_value,
    parse_part,
    split_multipart,
)
from postroad.globalconf.parts import PRIVATE_PARAMETERS, SHARED_PARAMETERS, parse_version
from postroad.globalconf.shared_parameters import OLDEST_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
MAX_PARTS = 2000
BINARY = "application/octet-stream"
BASE64 = "base64"

_OUTER_PARTS = 2
_MAX_TEXT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReference:
    """One part that the directory lists.

    ``instance`` and ``identifier`` are "" where the directory doesn't tell; ``location`` is
    relative to the directory's own address.
    """

    identifier: str
    instance: str
    location: str
    digest_algorithm: DigestAlgorithm
    digest: bytes
    file_name: str | None = None

    def matches(self, content: bytes) -> bool:
        """Whether these are the bytes that the directory means."""
        return self.digest_algorithm.digest(content) == self.digest


@dataclass(frozen=True, slots=True)
class SignedDirectory:
    """A directory whose signature has been verified and which had not expired."""

    expires_at: datetime
    version: int
    parts: tuple[PartReference, ...]


@dataclass(frozen=True, slots=True)
class DirectorySignature:
    """The signature part: how the directory was signed, with which certificate's key."""

    algorithm: SignatureAlgorithm
    certificate_digest_algorithm: DigestAlgorithm
    certificate_digest: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedDirectory:
    """The two halves of a directory as downloaded: signed bytes and a claimed signature."""

    signed: bytes
    content_type: str
    signature: DirectorySignature


# --- reading ---------------------------------------------------------------------------------


def verify_directory(
    data: bytes, verification_certificates: Sequence[bytes], *, at: datetime
) -> SignedDirectory:
    """Prove a downloaded directory.

    1. Split the document into signed bytes and signature.
    2. Find the certificate that the signature names among those of the location.
    3. Verify the signature.
    4. Only then read the content: expiry, version, parts.
    5. Refuse what has expired; at the very moment of expiry it still counts.

    The certificates are key containers: only their bytes and their key matter. Raises
    ``MalformedInput`` or ``TrustError`` with the codes of PR-GCONF.
    """
    unverified = parse_directory(data)
    certificate = find_certificate(unverified.signature, verification_certificates)
    _verify(unverified, certificate)
    directory = parse_content(unverified.signed, unverified.content_type)
    if at > directory.expires_at:
        raise TrustError(
            f"the signed directory has expired at {encode_moment(directory.expires_at)}",
            code=FaultCode.GLOBAL_CONF_OUTDATED,
        )
    return directory


def parse_directory(data: bytes) -> UnverifiedDirectory:
    """Split a directory into its signed bytes and its signature; nothing is verified yet.

    Raises ``MalformedInput``.
    """
    if len(data) > MAX_DIRECTORY_BYTES:
        raise broken(f"a signed directory of {len(data)} bytes is larger than any real one")
    document = parse_part(data.lstrip(b"\r\n"))
    boundary = boundary_of(_header(document, "content-type"), subtypes=("related", "mixed"))
    parts = split_multipart(document.body, boundary, max_parts=_OUTER_PARTS)
    if not parts:
        raise MalformedInput(
            "the directory holds no signed data", code=FaultCode.GLOBAL_CONF_MISSING_SIGNED_DATA
        )
    if len(parts) < _OUTER_PARTS:
        raise MalformedInput(
            "the directory ends before its signature",
            code=FaultCode.GLOBAL_CONF_MISSING_SIGNED_DATA_EXPIRATION_DATE,
        )
    signed = parse_part(parts[0])
    content_type = _header(signed, "content-type")
    return UnverifiedDirectory(signed.body, content_type, _parse_signature(parse_part(parts[1])))


def _parse_signature(part: Part) -> DirectorySignature:
    _check_encoding(part)
    algorithm = _header(part, "signature-algorithm-id")
    named = parse_header_value(_header(part, "verification-certificate-hash"))
    digest_uri = _parameter(named.parameters, "hash-algorithm-id")
    try:
        return DirectorySignature(
            SignatureAlgorithm.by_uri(algorithm),
            DigestAlgorithm.by_uri(digest_uri),
            _decode(named.value.encode("utf-8"), "verification certificate hash"),
            _decode(part.body, "signature"),
        )
    except MalformedInput as error:
        raise MalformedInput(
            str(error), code=FaultCode.GLOBAL_CONF_SIGNATURE_DECODE_FAILURE
        ) from error


def find_certificate(
    signature: DirectorySignature, verification_certificates: Sequence[bytes]
) -> Certificate:
    """Return the certificate that the signature names; ``TrustError`` when none of ours is it."""
    algorithm = signature.certificate_digest_algorithm
    for der in verification_certificates:
        if algorithm.digest(der) == signature.certificate_digest:
            try:
                return Certificate.from_pem_or_der(der)
            except MalformedInput as error:
                raise TrustError(
                    f"the verification certificate can't be read: {error}",
                    code=FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT,
                ) from error
    named = base64.b64encode(signature.certificate_digest).decode("ascii")
    raise TrustError(
        f"the directory is signed with a key that isn't ours to trust: certificate hash {named}",
        code=FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT,
    )


def _verify(unverified: UnverifiedDirectory, certificate: Certificate) -> None:
    signature = unverified.signature
    try:
        verify_signature(
            certificate.public_key,
            signature.algorithm,
            signature.value,
            unverified.signed,
            ecdsa_raw=False,
            either_form=True,  # a proxy with a hardware token signs in the raw form
        )
    except (TrustError, MalformedInput) as error:
        raise TrustError(
            f"the signature of the directory doesn't hold: {error}",
            code=FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE,
        ) from error


def parse_content(signed: bytes, content_type: str) -> SignedDirectory:
    """Read the content of a directory, the bytes that were signed.

    Callers other than :func:`verify_directory` must have verified the signature.
    """
    boundary = boundary_of(content_type, subtypes=("mixed", "related"))
    parts = split_multipart(signed, boundary, max_parts=MAX_PARTS + 1)
    if not parts:
        raise MalformedInput(
            "the directory has no expiry date",
            code=FaultCode.GLOBAL_CONF_MISSING_SIGNED_DATA_EXPIRATION_DATE,
        )
    head = parse_part(parts[0])
    try:
        expires_at = parse_moment(_header(head, "expire-date"))
        version = parse_version(head.headers.get("version") or str(OLDEST_VERSION))
    except MalformedInput as error:
        if error.code is FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING:
            raise
        raise _wrong_value(str(error)) from error
    references = tuple(_parse_reference(parse_part(part)) for part in parts[1:])
    return SignedDirectory(expires_at, version, references)


def _parse_reference(part: Part) -> PartReference:
    _check_encoding(part)
    location = _header(part, "content-location")
    algorithm = _digest_algorithm(_header(part, "hash-algorithm-id"))
    identified = parse_header_value(part.headers.get("content-identifier", ""))
    instance = identified.parameters.get("instance", "")
    if identified.value in {PRIVATE_PARAMETERS, SHARED_PARAMETERS} and not instance.strip():
        raise MalformedInput(
            f"content-identifier {identified.value} lacks its parameter instance",
            code=FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER,
        )
    digest = _decode(part.body, f"digest of {location[:80]}")
    if len(digest) != algorithm.size:
        raise broken(f"the digest of {location[:80]!r} has {len(digest)} bytes")
    return PartReference(
        identifier=identified.value,
        instance=instance,
        location=location,
        file_name=part.headers.get("content-file-name") or None,
        digest_algorithm=algorithm,
        digest=digest,
    )


def _digest_algorithm(uri: str) -> DigestAlgorithm:
    try:
        algorithm = DigestAlgorithm.by_uri(uri)
    except MalformedInput as error:
        raise _wrong_value(str(error)) from error
    if algorithm is DigestAlgorithm.SHA1:
        # Two files with one SHA-1 can be made; the list of parts must name one file each.
        raise _wrong_value("the directory lists a part by its SHA-1, which proves nothing")
    return algorithm


def _check_encoding(part: Part) -> None:
    # Compared exactly, as the reference does: parameters or another case are refused.
    for name, wanted in (("content-type", BINARY), ("content-transfer-encoding", BASE64)):
        found = _header(part, name)
        if found != wanted:
            raise _wrong_value(f"header field {name} must be {wanted!r}, not {found[:60]!r}")


def _header(part: Part, name: str) -> str:
    value = part.headers.get(name, "")
    if not value:
        raise MalformedInput(
            f"the directory lacks the header field {name}",
            code=FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING,
        )
    if len(value) > _MAX_TEXT:
        raise broken(f"the header field {name} is {len(value)} characters long")
    return value


def _parameter(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name, "")
    if not value:
        raise MalformedInput(
            f"a header field of the directory lacks its parameter {name}",
            code=FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER,
        )
    return value


def _wrong_value(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE)


def _decode(text: bytes, what: str) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise broken(f"the {what} is not Base64") from None


# --- writing ---------------------------------------------------------------------------------


def encode_content(directory: SignedDirectory, *, boundary: str) -> bytes:
    """Write the bytes that are to be signed, exactly as the reference's central server does."""
    lines = [
        f"--{boundary}",
        f"Expire-date: {encode_moment(directory.expires_at)}",
        f"Version: {directory.version}",
        "",
    ]
    for part in directory.parts:
        lines += [
            f"--{boundary}",
            f"Content-type: {BINARY}",
            f"Content-transfer-encoding: {BASE64}",
            f"Content-identifier: {part.identifier}; instance='{_header_text(part.instance)}'",
            f"Content-location: {_header_text(part.location)}",
        ]
        if part.file_name:
            lines.append(f"Content-file-name: {_header_text(part.file_name)}")
        lines += [
            f"Hash-algorithm-id: {part.digest_algorithm.uri}",
            "",
            base64.b64encode(part.digest).decode("ascii"),
        ]
    lines.append(f"--{boundary}--")
    return _joined(lines)


def encode_directory(
    signed: bytes, signature: DirectorySignature, *, inner_boundary: str, outer_boundary: str
) -> bytes:
    """Write the whole document around signed bytes."""
    named = base64.b64encode(signature.certificate_digest).decode("ascii")
    quoted_uri = f'"{signature.certificate_digest_algorithm.uri}"'
    head = [
        f"Content-Type: multipart/related; charset=UTF-8; boundary={outer_boundary}",
        "",
        f"--{outer_boundary}",
        f"Content-Type: multipart/mixed; charset=UTF-8; boundary={inner_boundary}",
        "",
    ]
    tail = [
        "",
        f"--{outer_boundary}",
        f"Content-Type: {BINARY}",
        f"Content-Transfer-Encoding: {BASE64}",
        f"Signature-Algorithm-Id: {signature.algorithm.uri}",
        f"Verification-certificate-hash: {named}; hash-algorithm-id={quoted_uri}",
        "",
        base64.b64encode(signature.value).decode("ascii"),
        f"--{outer_boundary}--",
    ]
    return _joined(head) + signed + _joined(tail)


def sign_directory(
    directory: SignedDirectory,
    *,
    boundaries: tuple[str, str],
    certificate: bytes,
    algorithm: SignatureAlgorithm,
    sign: Callable[[bytes], bytes],
    certificate_digest_algorithm: DigestAlgorithm = DigestAlgorithm.SHA512,
) -> bytes:
    """Write and sign a directory.

    ``boundaries`` are (outer, inner), two random texts; ``certificate`` the bytes that anchors
    carry for the key; ``sign`` gives the signature value over its argument, DER for EC keys.
    """
    outer, inner = boundaries
    signed = encode_content(directory, boundary=inner)
    signature = DirectorySignature(
        algorithm,
        certificate_digest_algorithm,
        certificate_digest_algorithm.digest(certificate),
        sign(signed),
    )
    return encode_directory(signed, signature, inner_boundary=inner, outer_boundary=outer)


def _header_text(text: str) -> str:
    if not text.isprintable() or "'" in text or '"' in text:
        raise ConfigurationError(f"{text[:60]!r} can't stand in a signed directory")
    return text


def _joined(lines: list[str]) -> bytes:
    return "".join(line + "\r\n" for line in lines).encode("utf-8")
