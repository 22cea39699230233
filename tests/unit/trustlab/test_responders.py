"""Rules of the bytes that the responders read and answer."""

from __future__ import annotations

from datetime import UTC, datetime

import asn1crypto.core
import asn1crypto.ocsp
import asn1crypto.tsp
import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.ocsp import build_request
from postroad.crypto.timestamps import build_request as build_query
from postroad.errors import MalformedInput
from postroad.identifiers import MemberId
from postroad.trustlab import responders
from postroad.trustlab.authority import TrustLab

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAB = TrustLab.create(at=NOW)
SUBJECT = LAB.sign_certificate(MemberId("DEV", "GOV", "1")).certificate
SHA512 = DigestAlgorithm.SHA512


def rejection_of(query: bytes) -> set[str]:
    answer = asn1crypto.core.Sequence.load(LAB.answer_timestamp(query, at=NOW))
    assert len(answer) == 1
    status = asn1crypto.tsp.PKIStatusInfo.load(answer[0].dump())
    assert status["status"].native == "rejection"
    found: set[str] = status["fail_info"].native
    return found


def query(**changes: object) -> bytes:
    parts: dict[str, object] = {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": "sha512"},
            "hashed_message": SHA512.digest(b"x"),
        },
    }
    encoded: bytes = asn1crypto.tsp.TimeStampReq(parts | changes).dump()
    return encoded


def granted(data: bytes) -> tuple[asn1crypto.tsp.TSTInfo, list[bytes]]:
    response = asn1crypto.tsp.TimeStampResp.load(LAB.answer_timestamp(data, at=NOW))
    signed = response["time_stamp_token"]["content"]
    info = asn1crypto.tsp.TSTInfo.load(bytes(signed["encap_content_info"]["content"]))
    return info, [item.dump() for item in signed["certificates"] or ()]


def test_question_holds_what_was_asked() -> None:
    question = responders.read_ocsp_request(build_request(SUBJECT, LAB.ca_certificate))
    assert question.nonce is None
    (identifier,) = question.cert_ids
    assert identifier["serial_number"].native == SUBJECT.serial
    assert responders.names_issuer(identifier, LAB.ca_certificate)
    assert not responders.names_issuer(identifier, LAB.root.certificate)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"junk",
        asn1crypto.ocsp.OCSPRequest({"tbs_request": {"request_list": []}}).dump(),
        b"\x30" * (responders.MAX_OCSP_REQUEST_BYTES + 1),
    ],
    ids=["empty", "junk", "no question", "large"],
)
def test_refuses_what_is_no_ocsp_request(request_bytes: bytes) -> None:
    with pytest.raises(MalformedInput):
        responders.read_ocsp_request(request_bytes)


def test_refuses_more_questions_than_anyone_has() -> None:
    identifier = responders.cert_id(LAB.ca_certificate, 1)
    many = asn1crypto.ocsp.OCSPRequest(
        {"tbs_request": {"request_list": [{"req_cert": identifier}] * 51}}
    )
    with pytest.raises(MalformedInput, match="51 certificates"):
        responders.read_ocsp_request(many.dump())


def test_time_stamp_repeats_nonce_and_policy_and_sends_the_certificate_on_demand() -> None:
    info, certificates = granted(query(nonce=77, req_policy="1.2.3", cert_req=True))
    assert info["nonce"].native == 77
    assert info["policy"].dotted == "1.2.3"
    assert certificates == [LAB.tsa_certificate.der]


def test_plain_time_stamp_has_no_nonce_and_no_certificate() -> None:
    info, certificates = granted(build_query(SHA512.digest(b"x"), SHA512))
    assert info["nonce"].native is None
    assert info["policy"].dotted == responders.POLICY
    assert info["gen_time"].native == NOW
    assert certificates == []


def test_rejects_queries_it_cannot_serve() -> None:
    md5 = {"hash_algorithm": {"algorithm": "md5"}, "hashed_message": b"x" * 16}
    short = {"hash_algorithm": {"algorithm": "sha512"}, "hashed_message": b"x"}
    extension = {"extn_id": "1.2.3.4", "critical": True, "extn_value": b"\x05\x00"}
    assert rejection_of(query(message_imprint=md5)) == {"bad_alg"}
    assert rejection_of(query(message_imprint=short)) == {"bad_data_format"}
    assert rejection_of(query(extensions=[extension])) == {"unaccepted_extensions"}
    assert rejection_of(b"junk") == {"bad_data_format"}
    assert rejection_of(b"x" * 10_001) == {"bad_request"}
