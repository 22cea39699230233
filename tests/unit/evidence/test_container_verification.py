from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import PostroadError
from postroad.evidence.asic import AsicContainer, Attachment, encode_container, parse_container
from postroad.evidence.container_verification import (
    ContainerReport,
    stamped_data,
    verify_container,
)
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART
from postroad.evidence.logged_message import MessageKind
from postroad.evidence.xades_parsing import parse_signature
from postroad.identifiers import MemberId
from postroad.trustlab.authority import KeyKind
from support.signing import (
    CLIENT,
    NOW,
    REFERENCE,
    REST_REQUEST,
    Bench,
    configuration,
    message_parts,
    reference_configuration,
    transformed_chain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.globalconf.view import GlobalConfiguration


@pytest.fixture(scope="module")
def reference() -> GlobalConfiguration:
    return reference_configuration("globalconf_good2_v3")


def judge(data: bytes, globalconf: GlobalConfiguration) -> ContainerReport:
    return verify_container(parse_container(data), globalconf)


def verdict(container: AsicContainer, globalconf: GlobalConfiguration) -> str:
    try:
        verify_container(container, globalconf)
    except PostroadError as error:
        return error.fault_code
    return "valid"


# --- containers of the reference ----------------------------------------------------------------

VERDICTS = {
    "valid-signed-message": "valid",
    "valid-non-batch-rest": "valid",
    "valid-signed-hashchain": "valid",
    "valid-batch-ts": "valid",
    "wrong-message": "invalid_signature_value",
    "invalid-digest": "invalid_signature_value",
    "invalid-signed-hashchain": "malformed_signature.invalid_hash_chain_ref",
    "invalid-hashchain-modified-message": "malformed_signature.hashchain_unused_inputs",
    "invalid-incorrect-references": "malformed_signature",
    "invalid-not-signed-hashchain": "valid",
}


@pytest.mark.parametrize(("name", "expected"), VERDICTS.items(), ids=VERDICTS.keys())
def test_judges_the_containers_of_the_reference(
    name: str, expected: str, reference: GlobalConfiguration
) -> None:
    container = parse_container((REFERENCE / "asic" / f"{name}.asice").read_bytes())
    assert verdict(container, reference) == expected


def report_of(name: str, globalconf: GlobalConfiguration) -> ContainerReport:
    return judge((REFERENCE / "asic" / f"{name}.asice").read_bytes(), globalconf)


def test_tells_everything_about_a_signed_message(reference: GlobalConfiguration) -> None:
    report = report_of("valid-signed-message", reference)
    assert report.message.kind is MessageKind.SOAP
    assert not report.message.is_response
    assert report.message.query_id == "dd19fe68-7d37-41bd-b79c-8948ccdb36da"
    assert report.signature.member == MemberId("DEV", "COM", "4321")
    assert report.signature.certificate.serial == 18
    assert report.signature.issuer.common_name == "Test CA"
    assert report.signature.ocsp.responder.common_name == "Test OCSP"
    assert report.timestamp.tsa.common_name == "Test TSA"
    assert report.timestamp.gen_time == datetime(2024, 12, 5, 13, 16, 35, tzinfo=UTC)
    assert report.signing_gap == timedelta(seconds=23, milliseconds=339)
    assert report.ocsp_gap == timedelta(minutes=3, seconds=9)
    assert not report.batch_timestamp
    assert report.attachments == ()
    assert report.warnings == ()


def test_lists_an_attachment_that_was_not_archived(reference: GlobalConfiguration) -> None:
    report = report_of("valid-signed-hashchain", reference)
    assert report.signature.batch
    (attachment,) = report.attachments
    assert (attachment.name, attachment.size, attachment.verified) == ("attachment1", None, False)
    assert attachment.digest.hex().startswith("628676e9a0422ee195d16f49ec21fa62")
    assert any("not in the container" in text for text in report.warnings)


def test_verifies_an_archived_body_of_other_software(reference: GlobalConfiguration) -> None:
    report = report_of("valid-non-batch-rest", reference)
    assert report.message.is_response
    assert report.batch_timestamp
    (attachment,) = report.attachments
    assert (attachment.name, attachment.size, attachment.verified) == ("attachment1", 84, True)


def test_warns_of_evidence_that_nobody_signed(reference: GlobalConfiguration) -> None:
    report = report_of("invalid-not-signed-hashchain", reference)
    assert any("hash chain that is not signed" in text for text in report.warnings)
    assert any("'hashchain.xml'" in text for text in report.warnings)


def test_refuses_a_broken_batch_time_stamp_result(reference: GlobalConfiguration) -> None:
    container = parse_container((REFERENCE / "asic" / "valid-batch-ts.asice").read_bytes())
    broken = replace(container, timestamp_chain_result=b"not XML")
    assert verdict(broken, reference) == "malformed_signature"


# --- containers of our own ----------------------------------------------------------------------


@pytest.mark.parametrize("batch_timestamp", [False, True])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("attachments", [(), (b"body",), (b"", b"two", b"three")])
def test_our_containers_hold(
    any_bench: Bench, attachments: tuple[bytes, ...], *, batch: bool, batch_timestamp: bool
) -> None:
    container = any_bench.container(
        REST_REQUEST, attachments, batch=batch, batch_timestamp=batch_timestamp
    )
    report = judge(encode_container(container, NOW), any_bench.globalconf)
    assert report.message.client == report.signature.signer == CLIENT
    assert report.signature.batch == (batch or bool(attachments))
    assert report.batch_timestamp == batch_timestamp
    assert [attachment.verified for attachment in report.attachments] == [True] * len(attachments)
    assert report.timestamp.gen_time == datetime(2026, 3, 1, 12, 0, 50, tzinfo=UTC)
    assert report.warnings == ()


def test_judges_as_of_the_time_stamp_and_not_of_today(bench: Bench) -> None:
    short = replace(
        bench, identity=bench.lab.sign_certificate(CLIENT, at=NOW - timedelta(hours=1), days=1)
    )
    # Its certificate, and the OCSP response, ended long before anyone reads this.
    assert verdict(short.container(), bench.globalconf) == "valid"


def unstamped(bench: Bench) -> AsicContainer:
    document = bench.sign(message_parts(REST_REQUEST))
    return AsicContainer(message=REST_REQUEST, signatures=document.signature)


def test_refuses_a_time_stamp_long_after_the_ocsp_response(bench: Bench) -> None:
    late = replace(bench, at=NOW + timedelta(hours=2))
    stamped = late.stamped(unstamped(bench))
    assert verdict(stamped, bench.globalconf) == "incorrect_validation_info"


def test_refuses_a_container_without_a_time_stamp(bench: Bench) -> None:
    assert verdict(unstamped(bench), bench.globalconf) == "malformed_signature"


def test_refuses_a_time_stamp_by_an_unapproved_authority(bench: Bench) -> None:
    stranger = replace(bench, lab=Bench.create().lab)
    stamped = stranger.stamped(unstamped(bench))
    assert verdict(stamped, bench.globalconf) == "mlog.tsp_certificate_not_found"


def test_refuses_a_time_stamp_over_other_data(bench: Bench) -> None:
    container = bench.container(batch_timestamp=True)
    other = bench.lab.timestamp(b"other data", at=NOW)
    swapped = replace(container, timestamp=other)
    assert verdict(swapped, bench.globalconf) == "malformed_signature"


def test_refuses_the_time_stamp_chain_of_another_signature(bench: Bench) -> None:
    one = bench.container(batch_timestamp=True)
    two = bench.container(message=REST_REQUEST.replace(b"q-1", b"q-2"), batch_timestamp=True)
    swapped = replace(
        one,
        timestamp=two.timestamp,
        timestamp_chain=two.timestamp_chain,
        timestamp_chain_result=two.timestamp_chain_result,
    )
    assert verdict(swapped, bench.globalconf) == "malformed_signature"


def test_refuses_a_time_stamp_over_the_canonical_form_of_a_signature(bench: Bench) -> None:
    container = unstamped(bench)
    result, chain = transformed_chain(SIGNATURES_PART, container.signatures, TIMESTAMP_CHAIN_PART)
    stamped = replace(
        container,
        timestamp=bench.lab.timestamp(result, at=NOW),
        timestamp_chain_result=result,
        timestamp_chain=chain,
    )
    assert verdict(stamped, bench.globalconf) == "malformed_signature"


def test_refuses_an_attachment_that_differs_from_the_signed_one(bench: Bench) -> None:
    """The reference calls such a container valid, with a remark; nobody should have to read it."""
    container = bench.container(attachments=[b"body"])
    forged = replace(container, attachments=(Attachment("attachment1", b"forged"),))
    expected = "malformed_signature.invalid_hash_chain_ref"
    assert verdict(forged, bench.globalconf) == expected


def test_refuses_an_attachment_that_nobody_signed(bench: Bench) -> None:
    extra = (Attachment("attachment1", b"extra"),)
    plain = replace(bench.container(), attachments=extra)
    assert verdict(plain, bench.globalconf) == "malformed_signature"
    batch = replace(bench.container(batch=True), attachments=extra)
    expected = "malformed_signature.hashchain_unused_inputs"
    assert verdict(batch, bench.globalconf) == expected


def test_refuses_a_message_of_another_signer(bench: Bench) -> None:
    message = REST_REQUEST.replace(b"COM/1234", b"COM/9999")
    assert verdict(bench.container(message=message), bench.globalconf) == "incorrect_certificate"


def test_refuses_an_instance_that_the_configuration_does_not_know(bench: Bench) -> None:
    elsewhere = configuration(bench.lab, "ELSEWHERE")
    assert verdict(bench.container(), elsewhere) == "cannot_create_cert_path"


def test_refuses_a_message_that_cannot_be_read(bench: Bench) -> None:
    assert verdict(bench.container(message=b"<x/>"), bench.globalconf) == "invalid_soap"


def test_stamped_data_is_what_the_token_is_over(bench: Bench) -> None:
    single, batch = bench.container(), bench.container(batch_timestamp=True)
    parsed = parse_signature(single.signatures)
    assert stamped_data(single, parsed) == parsed.value
    assert stamped_data(batch, parsed) == batch.timestamp_chain_result


def test_warns_if_the_ocsp_response_came_after_the_time_stamp(bench: Bench) -> None:
    response = bench.lab.ocsp(
        bench.identity.certificate,
        at=NOW + timedelta(minutes=20),
        this_update=NOW - timedelta(minutes=1),
    )
    document = bench.sign(message_parts(REST_REQUEST), ocsp=[response])
    stamped = bench.stamped(replace(unstamped(bench), signatures=document.signature))
    report = verify_container(stamped, bench.globalconf)
    assert any("after the time-stamp" in text for text in report.warnings)


# --- no octet can be changed ----------------------------------------------------------------------


def flipped(data: bytes, positions: Iterator[int] | range) -> Iterator[tuple[int, bytes]]:
    for position in positions:
        yield (
            position,
            data[:position] + bytes([data[position] ^ 0x01]) + data[position + 1 :],
        )


def with_field(container: AsicContainer, field: str, data: bytes) -> AsicContainer:
    changes: dict[str, Any] = {field: data}
    return replace(container, **changes)


def test_no_octet_of_the_message_can_change(bench: Bench) -> None:
    for batch in (False, True):
        container = bench.container(batch=batch)
        for position, message in flipped(container.message, range(len(container.message))):
            changed = replace(container, message=message)
            assert verdict(changed, bench.globalconf) != "valid", position


def test_no_octet_of_an_attachment_can_change(bench: Bench) -> None:
    container = bench.container(attachments=[b"the body", b"second"])
    first, second = container.attachments
    for _position, data in flipped(second.data, range(len(second.data))):
        changed = replace(container, attachments=(first, replace(second, data=data)))
        assert verdict(changed, bench.globalconf) != "valid"
    swapped = (replace(first, data=second.data), replace(second, data=first.data))
    assert verdict(replace(container, attachments=swapped), bench.globalconf) != "valid"


def test_no_octet_of_a_hash_chain_result_can_change(bench: Bench) -> None:
    container = bench.container(attachments=[b"body"], batch=True, batch_timestamp=True)
    for field in ("hash_chain_result", "timestamp_chain_result"):
        document = getattr(container, field)
        for position, data in flipped(document, range(len(document))):
            changed = with_field(container, field, data)
            assert verdict(changed, bench.globalconf) != "valid", (field, position)


@pytest.mark.parametrize("field", ["hash_chain", "timestamp_chain"])
def test_no_digest_value_of_a_chain_can_change(bench: Bench, field: str) -> None:
    container = bench.container(attachments=[b"body"], batch=True, batch_timestamp=True)
    document: bytes = getattr(container, field)
    values = list(re.finditer(rb"<DigestValue>([^<]+)<", document))
    assert len(values) >= 2
    for match in values:
        digest = b64decode(match[1])
        for _position, data in flipped(digest, range(0, len(digest), 7)):
            start, end = match.span(1)
            chain = document[:start] + b64encode(data) + document[end:]
            changed = with_field(container, field, chain)
            assert verdict(changed, bench.globalconf) != "valid"


COVERED = [
    rb"<ds:SignedInfo>.*</ds:SignedInfo>",
    rb"<ds:X509Certificate>.*</ds:X509Certificate>",
    rb"<xades:SignedProperties .*</xades:SignedProperties>",
]


@pytest.mark.parametrize("pattern", COVERED)
def test_no_octet_of_the_signed_parts_of_a_signature_can_change(
    bench: Bench, pattern: bytes
) -> None:
    container = bench.container()
    match = re.search(pattern, container.signatures, re.DOTALL)
    assert match is not None
    positions = range(match.start(), match.end(), 3)
    for position, signatures in flipped(container.signatures, positions):
        changed = replace(container, signatures=signatures)
        assert verdict(changed, bench.globalconf) != "valid", position


def test_no_bit_of_the_signature_value_can_change() -> None:
    bench = Bench.create(KeyKind.RSA_2048)
    container = bench.container()
    value = parse_signature(container.signatures).value
    for _position, data in flipped(value, range(0, len(value), 5)):
        signatures = container.signatures.replace(b64encode(value), b64encode(data))
        changed = replace(container, signatures=signatures)
        assert verdict(changed, bench.globalconf) != "valid"


def test_no_octet_of_a_batch_stamped_signature_document_can_change(bench: Bench) -> None:
    """The batch time-stamp covers the whole document, unsigned properties included."""
    container = bench.container(batch_timestamp=True)
    positions = range(0, len(container.signatures), 17)
    for position, signatures in flipped(container.signatures, positions):
        changed = replace(container, signatures=signatures)
        assert verdict(changed, bench.globalconf) != "valid", position


def test_digests_are_told_by_their_own_algorithm(bench: Bench) -> None:
    report = verify_container(bench.container(attachments=[b"body"]), bench.globalconf)
    (attachment,) = report.attachments
    assert attachment.algorithm is DigestAlgorithm.SHA512
    assert attachment.digest == DigestAlgorithm.SHA512.digest(b"body")
