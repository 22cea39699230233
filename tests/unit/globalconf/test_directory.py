from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, PostroadError, TrustError
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.directory import (
    MAX_DIRECTORY_BYTES,
    DirectorySignature,
    PartReference,
    SignedDirectory,
    encode_content,
    encode_directory,
    parse_content,
    parse_directory,
    sign_directory,
    verify_directory,
)
from postroad.globalconf.shared_parameters import SharedParameters
from support.globalconf import ANCHORS, HANDMADE, NOW, REFERENCE, SIGNED, signing_key

if TYPE_CHECKING:
    from support.globalconf import SigningKey

DIRECTORIES = sorted(str(path.relative_to(SIGNED)) for path in SIGNED.glob("*/V*/*conf"))
BEFORE_EXPIRY = datetime(2030, 1, 1, tzinfo=UTC)


def shared_parameters(folder: str) -> bytes:
    (path,) = (SIGNED / folder).glob("*/shared-params.xml")
    return path.read_bytes()


def certificates_in(folder: str, name: str) -> tuple[bytes, ...]:
    # Version 4 of the schema also passes the files of version 3, which break their own.
    version = max(4, int(folder[-1]))
    sources = SharedParameters.parse(shared_parameters(folder), version).sources
    internal = name == "internalconf"
    return tuple(
        certificate
        for source in sources
        for certificate in (
            source.internal_verification_certificates
            if internal
            else source.external_verification_certificates
        )
    )


ANCHOR_CERTIFICATES = (
    Anchor.parse((ANCHORS / "configuration_anchor_CS_internal.xml").read_bytes())
    .sources[0]
    .verification_certificates
)


# --- directories as a real central server serves them ------------------------------------------


def test_there_are_twelve_signed_directories_to_try() -> None:
    assert len(DIRECTORIES) == 12


@pytest.mark.parametrize("name", DIRECTORIES)
def test_rebuilds_real_directories_byte_for_byte_from_their_values(name: str) -> None:
    data = (SIGNED / name).read_bytes()
    outer, inner = (match.decode() for match in re.findall(rb"boundary=(\w+)", data))
    unverified = parse_directory(data)
    content = parse_content(unverified.signed, unverified.content_type)
    signed = encode_content(content, boundary=inner)
    assert signed == unverified.signed
    rebuilt = encode_directory(
        signed, unverified.signature, inner_boundary=inner, outer_boundary=outer
    )
    assert rebuilt == data


@pytest.mark.parametrize(
    "name", [n for n in DIRECTORIES if not n.startswith("current/V6/internal")]
)
def test_verifies_real_directories_with_the_keys_in_their_shared_parameters(name: str) -> None:
    folder, _, file = name.rpartition("/")
    directory = verify_directory(
        (SIGNED / name).read_bytes(), certificates_in(folder, file), at=BEFORE_EXPIRY
    )
    assert directory.version == int(folder[-1])
    assert {part.instance for part in directory.parts} <= {"CS", "DEV"}


def test_verifies_the_current_directory_with_the_key_in_the_anchor() -> None:
    data = (SIGNED / "current/V6/internalconf").read_bytes()
    directory = verify_directory(data, ANCHOR_CERTIFICATES, at=BEFORE_EXPIRY)
    assert directory.expires_at == datetime(2035, 11, 11, 3, 7, 40, tzinfo=UTC)
    assert [part.identifier for part in directory.parts] == [
        "SHARED-PARAMETERS",
        "PRIVATE-PARAMETERS",
    ]
    for part in directory.parts:
        assert part.matches((SIGNED / f"current{part.location}").read_bytes())


def test_rotated_directory_fails_with_the_anchor_and_passes_with_the_stored_source() -> None:
    data = (SIGNED / "rotated/V6/internalconf").read_bytes()
    with pytest.raises(TrustError) as caught:
        verify_directory(data, ANCHOR_CERTIFICATES, at=BEFORE_EXPIRY)
    assert caught.value.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT
    stored = certificates_in("current/V6", "internalconf")
    assert verify_directory(data, stored, at=BEFORE_EXPIRY).version == 6


def test_external_directory_of_the_current_set_lists_another_file_than_is_there() -> None:
    data = (SIGNED / "current/V6/externalconf").read_bytes()
    directory = verify_directory(
        data, certificates_in("current/V6", "externalconf"), at=BEFORE_EXPIRY
    )
    (part,) = directory.parts
    assert not part.matches(shared_parameters("current/V6"))


def test_every_changed_byte_of_the_signed_content_is_noticed() -> None:
    data = (SIGNED / "current/V6/internalconf").read_bytes()
    signed = parse_directory(data).signed
    start = data.index(signed)
    for position in range(start, start + len(signed), 7):
        forged = bytearray(data)
        forged[position] ^= 0x01
        with pytest.raises(PostroadError):
            verify_directory(bytes(forged), ANCHOR_CERTIFICATES, at=BEFORE_EXPIRY)


# --- directories written by hand ---------------------------------------------------------------


def pem(name: str) -> bytes:
    return Certificate.from_pem_or_der((REFERENCE / f"certs/{name}.pem").read_bytes()).der


@pytest.mark.parametrize("name", ["test-conf-simple", "test-conf-detached"])
def test_verifies_handmade_directories_with_lf_line_ends_before_their_expiry(name: str) -> None:
    data = (HANDMADE / f"{name}.txt").read_bytes()
    expiry = datetime(2026, 5, 20, 17, 42, 55, tzinfo=UTC)
    directory = verify_directory(data, [pem("consumer")], at=expiry)
    assert directory.version == 2
    assert directory.expires_at == expiry
    for part in directory.parts:
        file = HANDMADE / name / "EE" / part.location.lstrip("/")
        assert part.matches(file.read_bytes())


@pytest.mark.parametrize(
    ("name", "certificate", "code"),
    [
        ("test-conf-simple", "consumer", FaultCode.GLOBAL_CONF_OUTDATED),
        ("test-conf-simple", "producer", FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT),
        (
            "test-conf-invalid-signature",
            "consumer",
            FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE,
        ),
        (
            "test-conf-missing-signature",
            "consumer",
            FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE,
        ),
        ("test-conf-missing-date", "consumer", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING),
        (
            "test-conf-malformed",
            "consumer",
            FaultCode.GLOBAL_CONF_MISSING_SIGNED_DATA_EXPIRATION_DATE,
        ),
        ("conf1", "consumer", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING),
    ],
)
def test_refuses_handmade_directories_with_the_code_of_their_flaw(
    name: str, certificate: str, code: FaultCode
) -> None:
    data = (HANDMADE / f"{name}.txt").read_bytes()
    with pytest.raises(PostroadError) as caught:
        verify_directory(data, [pem(certificate)], at=BEFORE_EXPIRY)
    assert caught.value.code is code


# --- text vectors of the reference's generator -------------------------------------------------


def test_content_is_written_as_the_reference_writes_it() -> None:
    digest = DigestAlgorithm.SHA1.digest(b"config-data")
    part = PartReference(
        identifier="CONTENT-ID",
        instance="CS-INSTANCE",
        location="/V2/some/path/config-file.txt",
        digest_algorithm=DigestAlgorithm.SHA1,
        digest=digest,
    )
    at = datetime(2022, 12, 8, 8, 5, 1, 123_000, tzinfo=UTC)
    assert encode_content(SignedDirectory(at, 2, (part,)), boundary="IB") == (
        b"--IB\r\n"
        b"Expire-date: 2022-12-08T08:05:01Z\r\n"
        b"Version: 2\r\n"
        b"\r\n"
        b"--IB\r\n"
        b"Content-type: application/octet-stream\r\n"
        b"Content-transfer-encoding: base64\r\n"
        b"Content-identifier: CONTENT-ID; instance='CS-INSTANCE'\r\n"
        b"Content-location: /V2/some/path/config-file.txt\r\n"
        b"Hash-algorithm-id: http://www.w3.org/2000/09/xmldsig#sha1\r\n"
        b"\r\n"
        b"e4VJC7nd16bg9QniBVyvjcaeTwE=\r\n"
        b"--IB--\r\n"
    )


def test_signing_certificate_is_named_by_the_hash_of_its_bytes() -> None:
    directory = sign_directory(
        SignedDirectory(NOW, 2, ()),
        boundaries=("OB", "IB"),
        certificate=b"SIGNING-CERT",
        algorithm=SignatureAlgorithm.ECDSA_SHA512,
        sign=lambda data: b"value",
    )
    assert (
        b"Signature-Algorithm-Id: http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512\r\n"
        b"Verification-certificate-hash: BRWad0j23C27HEofaHQZpBI8DqwjTT8wkucCTGIB9v6k"
        b"QFAn7AIPevuPWn6SkdZSnru0YCbI9mxzv7DwyNG7dg==; "
        b'hash-algorithm-id="http://www.w3.org/2001/04/xmlenc#sha512"\r\n'
        b"\r\ndmFsdWU=\r\n--OB--\r\n"
    ) in directory


# --- our own ----------------------------------------------------------------------------------


def reference_to(content: bytes = b"data", **changes: Any) -> PartReference:
    values: dict[str, Any] = {
        "identifier": "SHARED-PARAMETERS",
        "instance": "TEST",
        "location": "/V6/1/shared-params.xml",
        "digest_algorithm": DigestAlgorithm.SHA512,
        "digest": DigestAlgorithm.SHA512.digest(content),
    }
    return PartReference(**{**values, **changes})


def signed_with(content: bytes, key: SigningKey, *, ecdsa_raw: bool = False) -> bytes:
    """Sign any bytes as if they were a directory's content."""
    signer = key.signer(ecdsa_raw=ecdsa_raw)
    signature = DirectorySignature(
        key.algorithm,
        DigestAlgorithm.SHA512,
        DigestAlgorithm.SHA512.digest(key.certificate),
        signer.sign(content),
    )
    return encode_directory(content, signature, inner_boundary="IB", outer_boundary="OB")


@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_signs_and_verifies_with_either_kind_of_key(kind: str) -> None:
    key = signing_key("directory", kind)
    directory = SignedDirectory(NOW.replace(microsecond=0), 6, (reference_to(),))
    data = sign_directory(
        directory,
        boundaries=("OB", "IB"),
        certificate=key.certificate,
        algorithm=key.algorithm,
        sign=key.signer().sign,
    )
    other = signing_key("other").certificate
    assert verify_directory(data, [other, key.certificate], at=directory.expires_at) == directory


def test_accepts_raw_ecdsa_values_that_some_proxies_write() -> None:
    key = signing_key("directory")
    content = encode_content(SignedDirectory(NOW, 6, ()), boundary="IB")
    data = signed_with(content, key, ecdsa_raw=True)
    assert verify_directory(data, [key.certificate], at=NOW - timedelta(seconds=1)).version == 6


def test_expiry_is_exact_to_the_second() -> None:
    key = signing_key("directory")
    expiry = NOW.replace(microsecond=0)
    data = signed_with(encode_content(SignedDirectory(expiry, 6, ()), boundary="IB"), key)
    for at in (expiry - timedelta(seconds=1), expiry):
        assert verify_directory(data, [key.certificate], at=at).expires_at == expiry
    with pytest.raises(TrustError) as caught:
        verify_directory(data, [key.certificate], at=expiry + timedelta(seconds=1))
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_reads_the_format_of_configuration_proxies() -> None:
    key = signing_key("directory")
    digest = base64.b64encode(DigestAlgorithm.SHA512.digest(b"x")).decode()
    content = (
        "--IB\r\nexpire-date: 2035-01-01T10:00:00.123Z\r\nVersion: 5\r\n\r\n"
        "\r\n--IB\r\ncontent-type: application/octet-stream\r\n"
        "content-transfer-encoding: base64\r\n"
        'content-identifier: SHARED-PARAMETERS; instance="FI"\r\n'
        "content-location: /PI/1700000000000/FI/shared-params.xml\r\n"
        "hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512\r\n\r\n"
        f"{digest}\r\n--IB--\r\n"
    ).encode()
    value = base64.b64encode(key.signer().sign(content)).decode()
    named = base64.b64encode(DigestAlgorithm.SHA512.digest(key.certificate)).decode()
    data = (
        b'content-type: multipart/related; type="multipart/mixed"; charset=UTF-8; '
        b"boundary=OB\n\n--OB\r\ncontent-type: multipart/mixed; charset=UTF-8; boundary=IB\r\n\r\n"
        + content
        + (
            "\r\n--OB\r\ncontent-type: application/octet-stream\r\n"
            "content-transfer-encoding: base64\r\n"
            f"signature-algorithm-id: {key.algorithm.uri}\r\n"
            f"verification-certificate-hash: {named}; "
            "hash-algorithm-id=http://www.w3.org/2001/04/xmlenc#sha512\r\n\r\n"
            f"{value}\r\n--OB--\r\n"
        ).encode()
    )
    directory = verify_directory(data, [key.certificate], at=NOW)
    assert directory.version == 5
    assert directory.parts[0].instance == "FI"
    assert directory.expires_at.microsecond == 123_000


HEAD = b"--IB\r\nExpire-date: 2035-01-01T10:00:00Z\r\nVersion: 6\r\n\r\n"
PART = (
    b"--IB\r\nContent-type: application/octet-stream\r\nContent-transfer-encoding: base64\r\n"
    b"Content-identifier: SHARED-PARAMETERS; instance='TEST'\r\nContent-location: /x\r\n"
    b"Hash-algorithm-id: http://www.w3.org/2001/04/xmlenc#sha512\r\n\r\n"
    + base64.b64encode(bytes(64))
    + b"\r\n--IB--\r\n"
)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"Expire-date: 2035-01-01T10:00:00Z\r\n", b"", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING),
        (b"2035-01-01T10:00:00Z", b"", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING),
        (
            b"2035-01-01T10:00:00Z",
            b"2035-01-01T10:00:00",
            FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE,
        ),
        (b"Version: 6", b"Version: 7", FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE),
        (b"Version: 6", b"Version: 1", FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE),
        (
            b"octet-stream",
            b"octet-stream; charset=UTF-8",
            FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE,
        ),
        (b"encoding: base64", b"encoding: BASE64", FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE),
        (
            b"encoding: base64",
            b"encoding:",
            FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING,
        ),
        (b"; instance='TEST'", b"", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER),
        (b"instance='TEST'", b"instance=''", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER),
        (b"Content-location: /x\r\n", b"", FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING),
        (b"xmlenc#sha512", b"xmldsig-more#md5", FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE),
        (
            b"http://www.w3.org/2001/04/xmlenc#sha512",
            b"http://www.w3.org/2000/09/xmldsig#sha1",
            FaultCode.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE,
        ),
        (
            base64.b64encode(bytes(64)),
            base64.b64encode(bytes(63)),
            FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE,
        ),
        (
            base64.b64encode(bytes(64)),
            b"****",
            FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE,
        ),
    ],
)
def test_refuses_content_with_a_flaw_although_it_is_signed(
    old: bytes, new: bytes, code: FaultCode
) -> None:
    key = signing_key("directory")
    content = (HEAD + PART).replace(old, new)
    assert content != HEAD + PART
    with pytest.raises(MalformedInput) as caught:
        verify_directory(signed_with(content, key), [key.certificate], at=NOW)
    assert caught.value.code is code


def test_accepts_that_content_without_the_flaw() -> None:
    key = signing_key("directory")
    directory = verify_directory(signed_with(HEAD + PART, key), [key.certificate], at=NOW)
    assert directory.parts[0].location == "/x"


def test_a_missing_version_means_the_oldest() -> None:
    key = signing_key("directory")
    content = HEAD.replace(b"Version: 6\r\n", b"") + PART
    assert verify_directory(signed_with(content, key), [key.certificate], at=NOW).version == 2


def test_a_part_without_identifier_has_empty_names() -> None:
    key = signing_key("directory")
    line = b"Content-identifier: SHARED-PARAMETERS; instance='TEST'\r\n"
    content = HEAD + PART.replace(line, b"Content-file-name: foo.xml\r\n")
    (part,) = verify_directory(signed_with(content, key), [key.certificate], at=NOW).parts
    assert (part.identifier, part.instance, part.file_name) == ("", "", "foo.xml")


def test_a_file_name_is_written_and_read_back() -> None:
    part = reference_to(file_name="foo.xml")
    content = encode_content(SignedDirectory(NOW, 6, (part,)), boundary="IB")
    assert parse_content(content, "multipart/mixed; boundary=IB").parts == (part,)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (
            b"Signature-Algorithm-Id: ",
            b"Other: ",
            FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING,
        ),
        (b"#ecdsa-sha512", b"#unheard-of", FaultCode.GLOBAL_CONF_SIGNATURE_DECODE_FAILURE),
        (
            b"; hash-algorithm-id=",
            b"; other=",
            FaultCode.GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER,
        ),
        (
            b"#ecdsa-sha512",
            b"#rsa-sha512",
            FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE,
        ),
        (
            b"#ecdsa-sha512",
            b"#ecdsa-sha1",
            FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE,
        ),
        (b"\r\n\r\nME", b"\r\n\r\n**", FaultCode.GLOBAL_CONF_SIGNATURE_DECODE_FAILURE),
    ],
)
def test_refuses_a_signature_part_with_a_flaw(old: bytes, new: bytes, code: FaultCode) -> None:
    key = signing_key("directory")
    data = signed_with(HEAD + PART, key)
    forged = data.replace(old, new)
    assert forged != data
    with pytest.raises(PostroadError) as caught:
        verify_directory(forged, [key.certificate], at=NOW)
    assert caught.value.code is code


def test_a_signature_by_another_key_under_our_certificates_name_is_refused() -> None:
    ours, theirs = signing_key("directory"), signing_key("other")
    content = HEAD + PART
    signature = DirectorySignature(
        theirs.algorithm,
        DigestAlgorithm.SHA512,
        DigestAlgorithm.SHA512.digest(ours.certificate),
        theirs.signer().sign(content),
    )
    data = encode_directory(content, signature, inner_boundary="IB", outer_boundary="OB")
    with pytest.raises(TrustError) as caught:
        verify_directory(data, [ours.certificate], at=NOW)
    assert caught.value.code is FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE


def test_content_is_not_read_before_the_signature_holds() -> None:
    key = signing_key("directory")
    expired = HEAD.replace(b"2035", b"2015") + PART
    data = signed_with(expired, key).replace(b"Version: 6", b"Version: 5")
    with pytest.raises(TrustError) as caught:
        verify_directory(data, [key.certificate], at=NOW)
    assert caught.value.code is FaultCode.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE


def test_a_verification_certificate_that_is_no_certificate_verifies_nothing() -> None:
    key = signing_key("directory")
    content = HEAD + PART
    signature = DirectorySignature(
        key.algorithm,
        DigestAlgorithm.SHA512,
        DigestAlgorithm.SHA512.digest(b"nonsense"),
        key.signer().sign(content),
    )
    data = encode_directory(content, signature, inner_boundary="IB", outer_boundary="OB")
    with pytest.raises(TrustError) as caught:
        verify_directory(data, [b"nonsense"], at=NOW)
    assert caught.value.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT


def test_refuses_a_document_without_parts() -> None:
    data = b"Content-Type: multipart/related; boundary=OB\r\n\r\nnothing"
    with pytest.raises(MalformedInput) as caught:
        parse_directory(data)
    assert caught.value.code is FaultCode.GLOBAL_CONF_MISSING_SIGNED_DATA


def test_refuses_signed_content_without_parts() -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_content(b"nothing", "multipart/mixed; boundary=IB")
    assert caught.value.code is FaultCode.GLOBAL_CONF_MISSING_SIGNED_DATA_EXPIRATION_DATE


def test_refuses_a_third_outer_part() -> None:
    data = signed_with(HEAD + PART, signing_key("directory"))
    more = data.replace(b"\r\n--OB--\r\n", b"\r\n--OB\r\nX: y\r\n\r\nmore\r\n--OB--\r\n")
    with pytest.raises(MalformedInput) as caught:
        parse_directory(more)
    assert caught.value.code is FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE


def test_refuses_an_oversized_document_unread() -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_directory(b"x" * (MAX_DIRECTORY_BYTES + 1))
    assert caught.value.code is FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE


def test_refuses_an_oversized_header_field() -> None:
    line = b"Content-location: /" + b"x" * 3000
    content = HEAD + PART.replace(b"Content-location: /x", line)
    with pytest.raises(MalformedInput) as caught:
        parse_content(content, "multipart/mixed; boundary=IB")
    assert caught.value.code is FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE


@pytest.mark.parametrize("instance", ["A'B", 'A"B', "A\r\nX: y", "A\x7f"])
def test_never_writes_a_header_field_that_would_be_read_differently(instance: str) -> None:
    directory = SignedDirectory(NOW, 6, (reference_to(instance=instance),))
    with pytest.raises(ConfigurationError):
        encode_content(directory, boundary="IB")
