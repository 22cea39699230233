"""Rules of asking for a time-stamp and of believing one."""

from __future__ import annotations

import base64
import re
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import asn1crypto.cms
import asn1crypto.core
import asn1crypto.tsp
import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.crypto.timestamps import (
    MAX_TOKEN_BYTES,
    build_request,
    gen_time,
    parse_response,
    verify_token,
    with_certificate,
)
from postroad.errors import FaultCode, MalformedInput, PostroadError, RefusedRequest, TrustError
from postroad.trustlab import responders
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import Identity, KeyKind

REFERENCE = Path(__file__).parents[2] / "data" / "reference"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAB = TrustLab.create(at=NOW)
TSA = LAB.tsa_certificate
DATA = b"what existed"
SHA512 = DigestAlgorithm.SHA512
TOKEN = LAB.timestamp(DATA)


@cache
def approved(configuration: str = "globalconf_good2_v3") -> tuple[Certificate, ...]:
    """The time-stamping authorities of a stored reference configuration."""
    found = []
    root = REFERENCE / "globalconf" / "stored" / configuration
    for file in sorted(root.rglob("shared-params.xml")):
        certs = re.findall(r"<approvedTSA>.*?<cert>(.*?)</cert>", file.read_text(), re.DOTALL)
        found += [Certificate.from_pem_or_der(base64.b64decode(cert)) for cert in certs]
    return tuple(found)


def token_of(**changes: object) -> bytes:
    """A token of the lab with one thing about it changed."""
    parts: dict[str, object] = {
        "tsa": TSA,
        "sign": responders.signer(LAB.tsa.private_key),
        "at": NOW,
        "serial": 7,
    }
    return responders.build_token(
        SHA512.digest(DATA), SHA512, **(parts | changes)
    )  # a test builder


def resigned(change: object) -> bytes:
    """A token whose parsed form was changed and whose attributes were signed anew."""
    content_info = asn1crypto.cms.ContentInfo.load(TOKEN)
    signer = content_info["content"]["signer_infos"][0]
    change(signer)  # a function of the signer
    signed = asn1crypto.cms.CMSAttributes(list(signer["signed_attrs"]))
    signer["signature"] = responders.signer(LAB.tsa.private_key)(signed.dump())
    encoded: bytes = content_info.dump(force=True)
    return encoded


def refused(token: bytes, code: FaultCode, *, data: bytes = DATA) -> str:
    with pytest.raises(PostroadError) as caught:
        verify_token(token, data, [TSA])
    assert caught.value.code is code
    return str(caught.value)


# -- requests and responses


def test_request_has_version_1_and_nothing_optional() -> None:
    imprint = SHA512.digest(DATA)
    request = asn1crypto.tsp.TimeStampReq.load(build_request(imprint, SHA512), strict=True)
    assert request["version"].native == "v1"
    assert request["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha512"
    assert request["message_imprint"]["hashed_message"].native == imprint
    assert not any(request[name] for name in ("req_policy", "nonce", "extensions"))
    expected = bytes.fromhex("30560201013051300d06096086480165030402030500") + b"\x04\x40" + imprint
    assert build_request(imprint, SHA512) == expected


def test_refuses_to_ask_with_an_imprint_of_another_length() -> None:
    with pytest.raises(MalformedInput):
        build_request(b"short", SHA512)


def test_answer_to_our_request_yields_the_token() -> None:
    imprint = SHA512.digest(DATA)
    response = LAB.answer_timestamp(build_request(imprint, SHA512), at=NOW)
    token = parse_response(response, imprint=imprint, algorithm=SHA512)
    assert verify_token(token, DATA, [TSA]).gen_time == NOW
    assert gen_time(token) == NOW


def test_granted_with_mods_is_granted() -> None:
    imprint = SHA512.digest(DATA)
    response = asn1crypto.tsp.TimeStampResp(
        {
            "status": {"status": "granted_with_mods"},
            "time_stamp_token": asn1crypto.cms.ContentInfo.load(TOKEN),
        }
    ).dump()
    assert parse_response(response, imprint=imprint, algorithm=SHA512) == TOKEN


def test_a_rejection_tells_why() -> None:
    with pytest.raises(RefusedRequest, match=r"rejection bad_alg .*MD5") as caught:
        parse_response(responders.rejection("bad_alg", "no MD5"), imprint=b"", algorithm=SHA512)
    assert caught.value.code is FaultCode.MLOG_TIMESTAMP_NON_GRANTED_RESPONSE


@pytest.mark.parametrize("other", [b"another", DATA], ids=["imprint", "algorithm"])
def test_refuses_an_answer_to_another_request(other: bytes) -> None:
    asked = DigestAlgorithm.SHA256 if other == DATA else SHA512
    response = LAB.answer_timestamp(build_request(asked.digest(other), asked), at=NOW)
    with pytest.raises(TrustError) as caught:
        parse_response(response, imprint=SHA512.digest(DATA), algorithm=SHA512)
    assert caught.value.code is FaultCode.TIMESTAMPING_FAILED


@pytest.mark.parametrize(
    "der", [b"", b"junk", b"\x30\x00", b"\x30" * (MAX_TOKEN_BYTES + 1)], ids=len
)
def test_refuses_what_is_no_response(der: bytes) -> None:
    with pytest.raises(MalformedInput):
        parse_response(der, imprint=b"", algorithm=SHA512)


def test_refuses_granted_without_a_token() -> None:
    status = asn1crypto.tsp.PKIStatusInfo({"status": "granted"})
    der = asn1crypto.core.Sequence(contents=status.dump()).dump()
    with pytest.raises(MalformedInput):
        parse_response(der, imprint=b"", algorithm=SHA512)


# -- tokens


@pytest.mark.parametrize("algorithm", [a for a in DigestAlgorithm if a.size > 20])
def test_token_of_an_approved_authority_verifies(algorithm: DigestAlgorithm) -> None:
    verified = verify_token(LAB.timestamp(DATA, algorithm=algorithm, serial=9), DATA, [TSA])
    assert verified.gen_time == NOW
    assert (verified.tsa, verified.algorithm, verified.serial) == (TSA, algorithm, 9)
    assert verified.warnings == ()


def test_token_of_an_rsa_authority_verifies() -> None:
    lab = TrustLab.create(at=NOW, keys=KeyKind.RSA_2048, intermediate=False)
    assert verify_token(lab.timestamp(DATA), DATA, [lab.tsa_certificate]).tsa == lab.tsa_certificate


def test_rejects_a_token_over_other_data() -> None:
    assert "other data" in refused(TOKEN, FaultCode.MALFORMED_SIGNATURE, data=DATA + b"!")


def test_rejects_a_token_of_an_authority_that_is_not_approved() -> None:
    other = TrustLab.create(at=NOW, name="Another")
    with pytest.raises(TrustError) as caught:
        verify_token(other.timestamp(DATA), DATA, [TSA])
    assert caught.value.code is FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND
    with pytest.raises(TrustError):
        verify_token(TOKEN, DATA, [])


def test_certificates_inside_a_token_prove_nothing() -> None:
    other = TrustLab.create(at=NOW, name="Another")
    token = with_certificate(other.timestamp(DATA), other.tsa_certificate)
    refused(token, FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND)


def test_rejects_a_token_signed_with_another_key() -> None:
    impostor = responders.signer(KeyKind.EC_P256.generate())
    message = refused(token_of(sign=impostor), FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
    assert "does not verify" in message


def test_rejects_changed_content() -> None:
    content_info = asn1crypto.cms.ContentInfo.load(TOKEN)
    at = TOKEN.index(b"20260301")
    changed = TOKEN[:at] + b"20250301" + TOKEN[at + 8 :]
    assert content_info.dump() != changed
    message = refused(changed, FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
    assert "message digest" in message


@pytest.mark.parametrize("name", ["content_type", "message_digest", "signing_certificate_v2"])
def test_rejects_a_token_without_a_required_attribute(name: str) -> None:
    def drop(signer: asn1crypto.cms.SignerInfo) -> None:
        kept = [item for item in signer["signed_attrs"] if item["type"].native != name]
        signer["signed_attrs"] = asn1crypto.cms.CMSAttributes(kept)

    message = refused(resigned(drop), FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
    assert "0 signed attributes" in message


def test_rejects_a_token_without_signed_attributes() -> None:
    def drop(signer: asn1crypto.cms.SignerInfo) -> None:
        signer["signed_attrs"] = asn1crypto.cms.CMSAttributes([])

    refused(resigned(drop), FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)


def test_rejects_an_attribute_given_twice() -> None:
    def double(signer: asn1crypto.cms.SignerInfo) -> None:
        kept = list(signer["signed_attrs"])
        signer["signed_attrs"] = asn1crypto.cms.CMSAttributes([*kept, kept[0]])

    message = refused(resigned(double), FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
    assert "2 signed attributes" in message


def test_rejects_another_signed_content_type() -> None:
    def change(signer: asn1crypto.cms.SignerInfo) -> None:
        kept = [item for item in signer["signed_attrs"] if item["type"].native != "content_type"]
        data = asn1crypto.cms.CMSAttribute({"type": "content_type", "values": ["data"]})
        signer["signed_attrs"] = asn1crypto.cms.CMSAttributes([data, *kept])

    message = refused(resigned(change), FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
    assert "content type" in message


def test_rejects_a_token_signed_for_another_certificate_of_the_same_key_and_name() -> None:
    twin_lab = TrustLab.create(at=NOW)
    info = responders.build_token(
        SHA512.digest(DATA),
        SHA512,
        tsa=twin_lab.tsa_certificate,
        sign=responders.signer(LAB.tsa.private_key),
        at=NOW,
        serial=1,
    )
    content_info = asn1crypto.cms.ContentInfo.load(info)
    signer = content_info["content"]["signer_infos"][0]
    ours = asn1crypto.x509.Certificate.load(TSA.der)
    signer["sid"] = asn1crypto.cms.SignerIdentifier(
        name="issuer_and_serial_number",
        value={"issuer": ours.issuer, "serial_number": TSA.serial},
    )
    message = refused(
        content_info.dump(force=True), FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED
    )
    assert "another certificate" in message


def test_signer_may_be_named_by_its_key_identifier() -> None:
    content_info = asn1crypto.cms.ContentInfo.load(TOKEN)
    signer = content_info["content"]["signer_infos"][0]
    signer["sid"] = asn1crypto.cms.SignerIdentifier(
        name="subject_key_identifier", value=TSA.subject_key_identifier
    )
    assert verify_token(content_info.dump(force=True), DATA, [TSA]).tsa == TSA


def test_sha_1_certificate_identifier_of_old_tokens_is_understood() -> None:
    token = token_of(certificate_digest=DigestAlgorithm.SHA1)
    assert verify_token(token, DATA, [TSA]).tsa == TSA


def test_sha_1_imprint_is_accepted_as_old_evidence_only() -> None:
    token = LAB.timestamp(DATA, algorithm=DigestAlgorithm.SHA1)
    refused(token, FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
    assert verify_token(token, DATA, [TSA], allow_legacy=True).algorithm is DigestAlgorithm.SHA1


def test_every_approved_certificate_of_the_signer_is_tried() -> None:
    lab = TrustLab.create(at=NOW)
    renewed = Certificate.from_der(lab.tsa_certificate.der)
    token = lab.timestamp(DATA)
    assert verify_token(token, DATA, [TSA, renewed, lab.tsa_certificate]).tsa == renewed


def test_two_signers_are_no_time_stamp() -> None:
    content_info = asn1crypto.cms.ContentInfo.load(TOKEN)
    signers = content_info["content"]["signer_infos"]
    content_info["content"]["signer_infos"] = asn1crypto.cms.SignerInfos([signers[0], signers[0]])
    message = refused(content_info.dump(force=True), FaultCode.MALFORMED_SIGNATURE)
    assert "2 signers" in message


@pytest.mark.parametrize(
    "token",
    [b"", b"junk", TOKEN[:-1], TOKEN + b"\0", b"\x30" * (MAX_TOKEN_BYTES + 1)],
    ids=["empty", "junk", "cut", "trailing", "too large"],
)
def test_refuses_what_is_no_token(token: bytes) -> None:
    refused(token, FaultCode.MALFORMED_SIGNATURE)


def test_refuses_signed_data_over_something_else() -> None:
    content_info = asn1crypto.cms.ContentInfo.load(TOKEN)
    content_info["content"]["encap_content_info"] = {"content_type": "data", "content": b"x"}
    assert "TSTInfo" in refused(content_info.dump(force=True), FaultCode.MALFORMED_SIGNATURE)
    plain = asn1crypto.cms.ContentInfo({"content_type": "data", "content": b"x"}).dump()
    assert "signed data" in refused(plain, FaultCode.MALFORMED_SIGNATURE)


def test_warns_of_an_authority_outside_its_validity_or_without_the_usage() -> None:
    late = NOW + timedelta(days=20 * 366)
    verified = verify_token(LAB.timestamp(DATA, at=late), DATA, [TSA])
    assert "was not valid" in verified.warnings[0]
    ocsp: Identity = LAB.issuing.ocsp_responder
    verified = verify_token(LAB.timestamp(DATA, tsa=ocsp), DATA, [ocsp.certificate])
    assert "time-stamping usage" in verified.warnings[0]


def test_moment_is_given_in_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=3)))
    assert verify_token(LAB.timestamp(DATA, at=east), DATA, [TSA]).gen_time == NOW


def test_moment_without_a_time_zone_is_refused() -> None:
    token = TOKEN.replace(b"\x18\x0f20260301120000Z", b"\x18\x0f2026030112.0000")
    assert token != TOKEN
    assert "time zone" in refused(token, FaultCode.MALFORMED_SIGNATURE)


# -- the stored form


def test_stored_token_holds_the_certificate_and_still_verifies() -> None:
    stored = with_certificate(TOKEN, TSA)
    certificates = asn1crypto.cms.ContentInfo.load(stored)["content"]["certificates"]
    assert [item.dump() for item in certificates] == [TSA.der]
    assert verify_token(stored, DATA, [TSA]).gen_time == NOW


def test_certificate_is_not_stored_twice() -> None:
    stored = with_certificate(TOKEN, TSA)
    assert with_certificate(stored, TSA) == stored
    more = with_certificate(stored, LAB.ca_certificate)
    assert len(asn1crypto.cms.ContentInfo.load(more)["content"]["certificates"]) == 2
    assert verify_token(more, DATA, [TSA]).gen_time == NOW


def test_token_in_indefinite_length_encoding_verifies() -> None:
    """Many authorities wrap the signed part in constructed, indefinite-length strings."""
    parsed = asn1crypto.cms.ContentInfo.load(TOKEN)["content"]
    info = bytes(parsed["encap_content_info"]["content"])
    half = len(info) // 2

    def octets(part: bytes) -> bytes:
        return bytes(asn1crypto.core.OctetString(part).dump())

    string = b"\x24\x80" + octets(info[:half]) + octets(info[half:]) + b"\0\0"
    tst_oid = asn1crypto.cms.ContentType("tst_info").dump()
    encapsulated = b"\x30\x80" + tst_oid + b"\xa0\x80" + string + b"\0\0" + b"\0\0"
    signed_data = (
        b"\x30\x80"
        + parsed["version"].dump()
        + parsed["digest_algorithms"].dump()
        + encapsulated
        + parsed["signer_infos"].dump()
        + b"\0\0"
    )
    oid = asn1crypto.cms.ContentType("signed_data").dump()
    token = b"\x30\x80" + oid + b"\xa0\x80" + signed_data + b"\0\0" + b"\0\0"
    assert verify_token(token, DATA, [TSA]).gen_time == NOW
    assert verify_token(with_certificate(token, TSA), DATA, [TSA]).gen_time == NOW


# -- what the reference made


def stamped() -> bytes:
    return (REFERENCE / "timestamps" / "stamped-data").read_bytes()


def test_reference_token_verifies_as_old_evidence() -> None:
    token = (REFERENCE / "timestamps" / "valid").read_bytes()
    tsa = Certificate.from_pem_or_der((REFERENCE / "certs" / "tsp.pem").read_bytes())
    verified = verify_token(token, stamped(), [tsa], allow_legacy=True)
    assert verified.gen_time == datetime(2012, 11, 29, 13, 10, 4, tzinfo=UTC)
    assert verified.warnings == ()
    with pytest.raises(TrustError, match="1024 bits"):
        verify_token(token, stamped(), [tsa])
    with pytest.raises(TrustError) as caught:
        verify_token(token, stamped() + b"!", [tsa], allow_legacy=True)
    assert caught.value.code is FaultCode.MALFORMED_SIGNATURE
    with pytest.raises(TrustError) as caught:
        verify_token(token, stamped(), [TSA], allow_legacy=True)
    assert caught.value.code is FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND


def test_reference_token_with_an_invalid_signature_is_rejected() -> None:
    token = (REFERENCE / "timestamps" / "invalid-signature").read_bytes()
    tsa = Certificate.from_pem_or_der((REFERENCE / "certs" / "tsp.pem").read_bytes())
    with pytest.raises(TrustError) as caught:
        verify_token(token, stamped(), [tsa], allow_legacy=True)
    assert caught.value.code is FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED


def test_reference_response_is_read() -> None:
    der = (REFERENCE / "messagelog" / "tsp.response").read_bytes()
    imprint = bytes.fromhex("71d585c94001734cffc71d02209cda8982399339f668d2772917ed09007921cf")
    token = parse_response(der, imprint=imprint, algorithm=DigestAlgorithm.SHA256)
    assert gen_time(token) == datetime(2014, 5, 6, 8, 28, 49, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    ["valid-signed-message", "valid-non-batch-rest", "valid-signed-hashchain", "valid-batch-ts"],
)
def test_time_stamps_of_reference_containers_verify(name: str) -> None:
    with zipfile.ZipFile(REFERENCE / "asic" / f"{name}.asice") as archive:
        names = archive.namelist()
        signatures = archive.read("META-INF/signatures.xml").decode()
        if "META-INF/timestamp.tst" in names:
            token = archive.read("META-INF/timestamp.tst")
            result = next(entry for entry in names if entry.endswith("ts-hashchainresult.xml"))
            data = archive.read(result)
        else:
            token = _element(signatures, "EncapsulatedTimeStamp")
            data = _element(signatures, "SignatureValue")
    verified = verify_token(token, data, approved())
    assert verified.warnings == ()


def _element(xml: str, name: str) -> bytes:
    found = re.search(rf"<[a-z]+:{name}(?: [^>]*)?>([^<]+)<", xml)
    assert found is not None
    return base64.b64decode(re.sub(r"&#x?\w+;|\s", "", found[1]))
