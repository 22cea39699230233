r"""Is this signature document, octet by octet, in a form whose canonical octets we know already?

Almost every document comes from one of two writers: ours (``xades``) and the reference's. Each has
one frame: fixed octets with a few values between them. A document that *is* such a frame, from its
first octet to its last, needs no XML parser: its values stand between known octets, and so do the
subsets that are signed. The values are narrower than XML allows (base64, digits, names without
markup), so nothing can hide in them. Everything else isn't wrong, only not exact:
:func:`read_exact_signature` answers None, and :func:`read_signature` asks ``xades_parsing``, which
is the truth about every document. The tests hold the two against each other.

The frames differ in three things. The reference writes line ends between ``ds:`` elements, writes
empty elements as ``<a/>``, and may wrap base64 in lines that end with ``&#13;\n``. In the signed
octets the last two are turned into what Canonical XML 1.0 makes of them.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.errors import MalformedInput
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, MESSAGE_PART
from postroad.evidence.xades import INCLUSIVE_C14N, NAMESPACES, POLICY, SIGNED_PROPERTIES_TYPE
from postroad.evidence.xades_parsing import (
    MAX_CERTIFICATES,
    MAX_OCSP_RESPONSES,
    CanonicalForm,
    CertificateDigest,
    SignatureFacts,
    SignatureReference,
    malformed,
    parse_signature,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EXACT_BYTES: Final = 32 * 1024
"""Larger documents are left to the parser, so that what is remembered of them stays small."""
_PROPERTIES_ID: Final = "signed-properties"

# The frame in canonical form; "\n" stands where the reference has a line end and we have nothing.
# A name in braces is a value of the kind that it ends with.
_DIGEST: Final = (
    '<ds:DigestMethod Algorithm="{%s_uri}"></ds:DigestMethod>\n'
    "<ds:DigestValue>{%s_base64}</ds:DigestValue>"
)
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
    f'<asic:XAdESSignatures {NAMESPACES}><ds:Signature Id="signature">\n<ds:SignedInfo>'
)
_SIGNED_INFO: Final = (
    f'\n<ds:CanonicalizationMethod Algorithm="{INCLUSIVE_C14N}"></ds:CanonicalizationMethod>\n'
    '<ds:SignatureMethod Algorithm="{signature_uri}"></ds:SignatureMethod>\n'
    '<ds:Reference Id="signature-reference-0" URI="{part}">\n'
    f"{_DIGEST.replace('%s', 'part')}\n</ds:Reference>\n"
    f'<ds:Reference Id="signature-reference-1" Type="{SIGNED_PROPERTIES_TYPE}" '
    f'URI="#{_PROPERTIES_ID}">\n'
    f"{_DIGEST.replace('%s', 'properties')}\n</ds:Reference>\n"
)
_KEY_INFO: Final = (
    '</ds:SignedInfo>\n<ds:SignatureValue Id="signature-value">{value_base64}</ds:SignatureValue>\n'
    "<ds:KeyInfo>\n<ds:X509Data>\n<ds:X509Certificate>{certificate_base64}</ds:X509Certificate>\n"
    '</ds:X509Data>\n</ds:KeyInfo>\n<ds:Object><xades:QualifyingProperties Target="#signature">'
    f'<xades:SignedProperties Id="{_PROPERTIES_ID}">'
)
_IDENTITY: Final = (
    f"<xades:CertDigest>{_DIGEST}</xades:CertDigest><xades:IssuerSerial><ds:X509IssuerName>{{%s_name}}"
    "</ds:X509IssuerName><ds:X509SerialNumber>{%s_serial}</ds:X509SerialNumber>"
    "</xades:IssuerSerial>"
).replace("\n", "")
_PROPERTIES: Final = (
    "<xades:SignedSignatureProperties><xades:SigningTime>{time}</xades:SigningTime>"
    f"<xades:SigningCertificate><xades:Cert>{_IDENTITY.replace('%s', 'signer')}</xades:Cert>"
    f"</xades:SigningCertificate>{POLICY}</xades:SignedSignatureProperties>"
    "<xades:SignedDataObjectProperties>"
    '<xades:DataObjectFormat ObjectReference="#signature-reference-0"><xades:MimeType>{mime}'
    "</xades:MimeType></xades:DataObjectFormat></xades:SignedDataObjectProperties>"
)
_UNSIGNED: Final = (
    "</xades:SignedProperties><xades:UnsignedProperties><xades:UnsignedSignatureProperties>"
)
_CERT: Final = (
    f'<xades:Cert URI="#encapsulated-cert-{{number}}">{_IDENTITY.replace("%s", "cert")}'
    "</xades:Cert>"
)
_CERT_VALUE: Final = (
    '<xades:EncapsulatedX509Certificate Id="encapsulated-cert-{number}">{cert_base64}'
    "</xades:EncapsulatedX509Certificate>"
)
_OCSP_VALUE: Final = (
    '<xades:EncapsulatedOCSPValue Id="ocsp-response-{number}">{ocsp_base64}'
    "</xades:EncapsulatedOCSPValue>"
)
_TAIL: Final = (
    "</xades:OCSPValues></xades:RevocationValues></xades:UnsignedSignatureProperties>"
    "</xades:UnsignedProperties></xades:QualifyingProperties></ds:Object>\n"
    "</ds:Signature></asic:XAdESSignatures>"
)

# What may stand in a place, by the kind of its value. No value holds "<", and "&" only where a
# name is escaped as Canonical XML escapes it. Possessive, so that nothing is tried twice.
_KINDS: Final = {
    "uri": "[A-Za-z0-9:/.#-]{1,100}+",
    "part": f"{re.escape(MESSAGE_PART)}|{re.escape(HASH_CHAIN_RESULT_PART)}",
    "base64": "[A-Za-z0-9+/]++={0,2}",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",
    "name": r"[^\x00-\x1f\x7f<>&]*+(?:&(?:amp|lt|gt);[^\x00-\x1f\x7f<>&]*+)*+",
    "serial": "-?[0-9]{1,80}+",
    "mime": "text/xml|application/hash-chain-result",
    "number": "[1-9][0-9]?+",
}
_WRAPPED: Final = r"\n?[A-Za-z0-9+/=]++(?:&#13;\n[A-Za-z0-9+/=]++)*+\n?"
_PLACE: Final = re.compile(r"\{([a-z0-9_]+)\}")
_EMPTY_ELEMENT: Final = re.compile(r'<(ds:[A-Za-z0-9]+)( Algorithm="[^"<>]*")></\1>')
_COLLAPSED: Final = re.compile(rb'<(ds:[A-Za-z0-9]+)( Algorithm="[^"<>]*")/>')
# Characters that XML forbids or that readers might treat specially; the parser may judge them.
_DOUBTFUL: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

_CANONICAL_INFO: Final = f"<ds:SignedInfo {NAMESPACES}>".encode()
_CANONICAL_PROPERTIES: Final = (
    f'<xades:SignedProperties {NAMESPACES} Id="{_PROPERTIES_ID}">'.encode()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactSignature(SignatureFacts):
    """A signature document in one of the frames; what is signed in it was cut out of it."""

    signed_info: bytes
    signed_properties: bytes

    @property
    def properties_identifier(self) -> str:
        """The Id of the signed properties, the same in every frame."""
        return _PROPERTIES_ID

    def signed_info_octets(self) -> bytes:
        """The canonical form of SignedInfo."""
        return self.signed_info

    def element_octets(self, identifier: str, form: CanonicalForm) -> bytes:
        """The canonical form of the signed properties, the only element that is referred to."""
        if identifier != _PROPERTIES_ID or form != CanonicalForm():
            raise malformed(f"there is no element {identifier[:100]!r} inside the signature")
        return self.signed_properties


def read_signature(data: bytes) -> SignatureFacts:
    """Read a signature document, the fast way where it is exact; raises as ``parse_signature``."""
    return read_exact_signature(data) or parse_signature(data)


def read_exact_signature(data: bytes) -> ExactSignature | None:
    """Read a signature document that is exactly one of the frames; None for every other one.

    None says nothing about the document: it may be a good one in another form, or broken.
    """
    if len(data) > MAX_EXACT_BYTES or not _has_plain_characters(data):
        return None
    for frame in _FRAMES:
        found = frame.pattern.fullmatch(data)
        if found is not None:
            try:
                return _facts(frame, found)
            except (MalformedInput, ValueError, _NotExactError):
                return None  # so that the parser says what is wrong
    return None


class _NotExactError(Exception):
    """A value that the frame has a place for isn't what its place promises."""


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One writer's frame, compiled."""

    pattern: re.Pattern[bytes]
    cert: re.Pattern[bytes]
    is_canonical: bool

    def canonical(self, octets: bytes) -> bytes:
        """The canonical form of a slice of the frame."""
        if self.is_canonical:
            return octets
        return _COLLAPSED.sub(rb"<\1\2></\1>", octets).replace(b"&#13;", b"&#xD;")


def _facts(frame: _Frame, found: re.Match[bytes]) -> ExactSignature:
    info, properties, value, certificate, time, ocsp, certs, values = found.group(
        "info",
        "properties",
        "value_base64",
        "certificate_base64",
        "time",
        "ocsp",
        "certs",
        "values",
    )
    algorithm, part, part_uri, part_digest, properties_uri, properties_digest = found.group(
        "signature_uri", "part", "part_uri", "part_base64", "properties_uri", "properties_base64"
    )
    return ExactSignature(
        algorithm=_signature_algorithm(algorithm),
        references=(
            SignatureReference(
                part.decode(), None, _digest_algorithm(part_uri), _decoded(part_digest)
            ),
            SignatureReference(
                f"#{_PROPERTIES_ID}",
                None,
                _digest_algorithm(properties_uri),
                _decoded(properties_digest),
            ),
        ),
        value=_decoded(value),
        certificate=_certificate(certificate),
        signing_time=datetime.fromisoformat(time.decode()),
        signing_certificates=(_certificate_digest(*found.group("signer_uri", "signer_base64")),),
        ocsp_responses=_ocsp_responses(ocsp),
        extra_certificates=_extra_certificates(frame, certs, values) if certs else (),
        timestamps=(),
        signed_info=b"%b%b</ds:SignedInfo>" % (_CANONICAL_INFO, frame.canonical(info)),
        signed_properties=b"%b%b</xades:SignedProperties>"
        % (_CANONICAL_PROPERTIES, frame.canonical(properties)),
    )


@lru_cache(maxsize=64)
def _digest_algorithm(uri: bytes) -> DigestAlgorithm:
    return DigestAlgorithm.by_uri(uri.decode())


@lru_cache(maxsize=64)
def _signature_algorithm(uri: bytes) -> SignatureAlgorithm:
    return SignatureAlgorithm.by_uri(uri.decode())


@lru_cache(maxsize=128)
def _certificate_digest(uri: bytes, text: bytes) -> CertificateDigest:
    return CertificateDigest(_digest_algorithm(uri), _decoded(text))


@lru_cache(maxsize=128)
def _certificate(text: bytes) -> Certificate:
    """Parse a certificate; the same ones come with every message."""
    return Certificate.from_der(_decoded(text))


@lru_cache(maxsize=128)
def _ocsp_responses(text: bytes) -> tuple[bytes, ...]:
    """Decode OCSP responses; the same ones come with every message for a while."""
    found = list(_OCSP_ITEM.finditer(text))
    _require_numbered(found, MAX_OCSP_RESPONSES)
    return tuple(_decoded(item["ocsp_base64"]) for item in found)


@lru_cache(maxsize=128)
def _extra_certificates(frame: _Frame, certs: bytes, values: bytes) -> tuple[Certificate, ...]:
    named = list(frame.cert.finditer(certs))
    held = list(_CERT_VALUE_ITEM.finditer(values))
    _require_numbered(named, MAX_CERTIFICATES)
    _require_numbered(held, MAX_CERTIFICATES)
    certificates = tuple(_certificate(item["cert_base64"]) for item in held)
    for item, certificate in zip(named, certificates, strict=True):
        if not _certificate_digest(item["cert_uri"], item["cert_base64"]).matches(certificate):
            raise _NotExactError
    return certificates


def _require_numbered(items: list[re.Match[bytes]], at_most: int) -> None:
    """Raise unless the items are numbered from 1, each once and in order."""
    if len(items) > at_most or [int(item["number"]) for item in items] != [
        *range(1, len(items) + 1)
    ]:
        raise _NotExactError


def _decoded(text: bytes) -> bytes:
    # Line ends stand in the frame of the reference only.
    if b"\n" in text:
        text = text.replace(b"&#13;\n", b"").replace(b"\n", b"")
    return a2b_base64(text, strict_mode=True)


def _has_plain_characters(data: bytes) -> bool:
    """Whether the octets are UTF-8 without any character that readers could see differently."""
    if data.isascii():
        return True
    try:
        return _DOUBTFUL.search(data.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _frame(*, is_canonical: bool) -> _Frame:
    def form(text: str) -> str:
        return text.replace("\n", "") if is_canonical else _EMPTY_ELEMENT.sub(r"<\1\2/>", text)

    def pattern(text: str, *, named: bool = True) -> str:
        return "".join(_pieces(form(text), named=named, wrapped=not is_canonical))

    def items(text: str) -> str:
        return f"(?:{pattern(text, named=False)})*+"

    whole = "".join(
        (
            pattern(_HEAD),
            f"(?P<info>{pattern(_SIGNED_INFO)})",
            pattern(_KEY_INFO),
            f"(?P<properties>{pattern(_PROPERTIES)})",
            pattern(_UNSIGNED),
            '(?:<xades:CompleteCertificateRefs Id="complete-certificate-refs"><xades:CertRefs>',
            f"(?P<certs>{items(_CERT)})</xades:CertRefs></xades:CompleteCertificateRefs>",
            f"<xades:CertificateValues>(?P<values>{items(_CERT_VALUE)})</xades:CertificateValues>)?",
            f"<xades:RevocationValues><xades:OCSPValues>(?P<ocsp>{items(_OCSP_VALUE)})",
            pattern(_TAIL),
        )
    )
    return _Frame(re.compile(whole.encode()), re.compile(pattern(_CERT).encode()), is_canonical)


def _pieces(text: str, *, named: bool, wrapped: bool) -> Iterator[str]:
    """The pattern of a form: its own octets literally, and its values by their kinds."""
    for at, piece in enumerate(_PLACE.split(text)):
        if at % 2 == 0:
            yield re.escape(piece)
            continue
        kind = piece.rpartition("_")[2]
        value = _WRAPPED if wrapped and kind == "base64" else _KINDS[kind]
        yield f"(?P<{piece}>{value})" if named else f"(?:{value})"


_FRAMES: Final = (_frame(is_canonical=True), _frame(is_canonical=False))
_OCSP_ITEM: Final = re.compile("".join(_pieces(_OCSP_VALUE, named=True, wrapped=True)).encode())
_CERT_VALUE_ITEM: Final = re.compile(
    "".join(_pieces(_CERT_VALUE, named=True, wrapped=True)).encode()
)
