"""Each step of the recipe has a test that fails when the step is left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import FaultCode, PostroadError
from postroad.evidence.digests import (
    HASH_CHAIN_PART,
    HASH_CHAIN_RESULT_PART,
    MESSAGE_PART,
    PartDigest,
)
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.verification import (
    SignatureDocument,
    VerifiedSignature,
    verify_message_signature,
    verify_signature_at,
)
from postroad.evidence.xades_parsing import parse_signature
from postroad.identifiers import MemberId, SubsystemId
from support.signing import (
    CLIENT,
    NOW,
    REFERENCE,
    SHA512,
    Bench,
    configuration,
    message_parts,
    reference_configuration,
    sign_weakly,
    transformed_chain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId

PLAIN = message_parts(b"message")
WITH_BODY = message_parts(b"message", [b"body"])
OTHER = message_parts(b"other message", [b"x", b"y"])


def verify(
    bench: Bench,
    document: SignatureDocument,
    parts: Sequence[PartDigest] = PLAIN,
    *,
    signer: ClientId = CLIENT,
    at: datetime = NOW,
    globalconf: GlobalConfiguration | None = None,
) -> VerifiedSignature:
    return verify_message_signature(
        document,
        signer=signer,
        parts={part.name: part for part in parts},
        globalconf=globalconf or bench.globalconf,
        at=at,
    )


def refused_with(code: str, bench: Bench, document: SignatureDocument, **kwargs: object) -> str:
    with pytest.raises(PostroadError) as refused:
        verify(bench, document, **kwargs)
    assert refused.value.fault_code == code, refused.value
    return refused.value.message


# --- what holds ------------------------------------------------------------------------------


def test_plain_signature_holds(any_bench: Bench) -> None:
    verified = verify(any_bench, any_bench.sign(PLAIN))
    assert verified.signer == CLIENT
    assert verified.member == MemberId("TEST", "COM", "1234")
    assert verified.certificate == any_bench.identity.certificate
    assert verified.issuer == any_bench.lab.ca_certificate
    assert verified.ocsp.status is CertificateStatus.GOOD
    assert verified.algorithm is any_bench.identity.algorithm
    assert verified.digest is SHA512
    assert verified.signing_time == NOW
    assert not verified.batch
    assert verified.warnings == ()


@pytest.mark.parametrize("parts", [WITH_BODY, message_parts(b"m", [b"1", b"2", b"3"])])
def test_batch_signature_over_the_parts_of_one_message_holds(
    any_bench: Bench, parts: list[PartDigest]
) -> None:
    assert verify(any_bench, any_bench.sign(parts), parts).batch


@pytest.mark.parametrize("mine", [0, 1, 2])
def test_batch_signature_over_several_messages_holds(bench: Bench, mine: int) -> None:
    assert verify(bench, bench.sign(PLAIN, WITH_BODY, OTHER, mine=mine)).batch


def test_digest_of_a_part_is_enough(bench: Bench) -> None:
    parts = [PartDigest(part.name, part.algorithm, part.value) for part in WITH_BODY]
    verify(bench, bench.sign(WITH_BODY), parts)


def test_member_may_sign_for_any_of_its_subsystems(bench: Bench) -> None:
    for signer in (CLIENT.member, SubsystemId("TEST", "COM", "1234", "else")):
        assert verify(bench, bench.sign(PLAIN), signer=signer).signer == signer


def test_signature_of_other_software_holds() -> None:
    """References to every part, exclusive C14N, SigningCertificateV2, no policy."""
    folder = REFERENCE / "signatures" / "globalconf-impl" / "non-batch-sig"
    parts = message_parts(
        (folder / "message.xml").read_bytes(), [(folder / "attachment1").read_bytes()]
    )
    verified = verify_message_signature(
        SignatureDocument((folder / "signatures.xml").read_bytes()),
        signer=SubsystemId("DEV", "COM", "4321", "TestClient"),
        parts={part.name: part for part in parts},
        globalconf=reference_configuration("globalconf_good2_v3"),
        at=datetime.fromisoformat("2024-07-09T07:40:00Z"),
    )
    assert not verified.batch
    assert verified.algorithm is SignatureAlgorithm.RSA_SHA512


def test_signature_of_other_software_over_another_attachment_is_refused(bench: Bench) -> None:
    folder = REFERENCE / "signatures" / "globalconf-impl" / "non-batch-sig"
    parts = message_parts((folder / "message.xml").read_bytes(), [b"altered"])
    refused_with(
        "invalid_signature_value",
        bench,
        SignatureDocument((folder / "signatures.xml").read_bytes()),
        parts=parts,
        signer=SubsystemId("DEV", "COM", "4321", "TestClient"),
        globalconf=reference_configuration("globalconf_good2_v3"),
        at=datetime.fromisoformat("2024-07-09T07:40:00Z"),
    )


# --- step 1: structure, and a reference to the message ------------------------------------------


def test_refuses_a_broken_document(bench: Bench) -> None:
    refused_with("invalid_xml", bench, SignatureDocument(b""))
    refused_with("malformed_signature", bench, SignatureDocument(b"<x/>"))


def test_refuses_a_signature_that_refers_to_no_message(bench: Bench) -> None:
    document = bench.sign(PLAIN)
    changed = replace(document, signature=document.signature.replace(b"/message", b"/foobar"))
    assert "refers neither" in refused_with("malformed_signature", bench, changed)


def test_refuses_a_signature_that_refers_to_the_message_twice(bench: Bench) -> None:
    document = bench.sign(PLAIN)
    start = document.signature.index(b"<ds:Reference ")
    end = document.signature.index(b"</ds:Reference>") + len(b"</ds:Reference>")
    again = document.signature[start:end].replace(b' Id="signature-reference-0"', b"")
    changed = document.signature[:end] + again + document.signature[end:]
    message = refused_with("malformed_signature", bench, SignatureDocument(changed))
    assert "more than once" in message


def test_message_is_always_a_part(bench: Bench) -> None:
    with pytest.raises(ValueError):
        verify(bench, bench.sign(PLAIN), [])


# --- step 2: the hash chain --------------------------------------------------------------------


def test_refuses_a_batch_signature_without_its_chain(bench: Bench) -> None:
    document = bench.sign(WITH_BODY)
    for changed in (
        replace(document, hash_chain=None),
        replace(document, hash_chain_result=None),
        replace(document, hash_chain=None, hash_chain_result=None),
    ):
        refused_with("malformed_signature", bench, changed, parts=WITH_BODY)


def test_refuses_a_chain_that_is_not_signed(bench: Bench) -> None:
    batch = bench.sign(PLAIN, OTHER)
    document = replace(bench.sign(PLAIN), hash_chain_result=batch.hash_chain_result)
    assert "not signed" in refused_with("malformed_signature", bench, document)
    document = replace(bench.sign(PLAIN), hash_chain=batch.hash_chain)
    assert "not signed" in refused_with("malformed_signature", bench, document)


def test_refuses_the_chain_of_another_message(bench: Bench) -> None:
    built = build_hash_chains([PLAIN, OTHER], SHA512)
    document = replace(bench.sign(PLAIN, OTHER), hash_chain=built.chains[1])
    refused_with("malformed_signature.invalid_reference", bench, document)


def test_refuses_another_message_under_a_batch_signature(bench: Bench) -> None:
    document = bench.sign(PLAIN, OTHER)
    forged = message_parts(b"forged")
    refused_with("malformed_signature.invalid_hash_chain", bench, document, parts=forged)


def test_refuses_a_part_that_the_chain_does_not_cover(bench: Bench) -> None:
    document = bench.sign(PLAIN, OTHER)
    refused_with("malformed_signature.hashchain_unused_inputs", bench, document, parts=WITH_BODY)


def test_refuses_to_lose_a_part_that_the_chain_covers(bench: Bench) -> None:
    document = bench.sign(WITH_BODY)
    refused_with("malformed_signature.invalid_reference", bench, document, parts=PLAIN)


def test_refuses_a_chain_and_result_that_nobody_signed(bench: Bench) -> None:
    built = build_hash_chains([message_parts(b"forged"), OTHER], SHA512)
    document = SignatureDocument(bench.sign(PLAIN, OTHER).signature, built.result, built.chains[0])
    parts = message_parts(b"forged")
    refused_with("invalid_signature_value", bench, document, parts=parts)


def test_refuses_a_broken_chain(bench: Bench) -> None:
    document = replace(bench.sign(WITH_BODY), hash_chain=b"<x/>")
    refused_with("malformed_signature.malformed_hash_chain", bench, document, parts=WITH_BODY)


def test_refuses_a_chain_that_signs_only_the_canonical_form_of_a_message(bench: Bench) -> None:
    """A reader could see a comment that the signature doesn't cover."""
    message = b"<message>1<!-- not signed -->2</message>"
    result, chain = transformed_chain(MESSAGE_PART, message, HASH_CHAIN_PART)
    document = replace(
        bench.sign_document(HASH_CHAIN_RESULT_PART, result),
        hash_chain_result=result,
        hash_chain=chain,
    )
    refused_with(
        "malformed_signature.malformed_hash_chain", bench, document, parts=message_parts(message)
    )


# --- steps 3 and 4: whose certificate ------------------------------------------------------------


def test_refuses_a_certificate_that_may_not_sign(bench: Bench) -> None:
    from postroad.identifiers import SecurityServerId

    server = SecurityServerId("TEST", "COM", "1234", "server")
    other = replace(bench, identity=bench.lab.auth_certificate(server))
    assert "nonRepudiation" in refused_with("malformed_signature", bench, other.sign(PLAIN))


@pytest.mark.parametrize(
    "signer", [MemberId("TEST", "COM", "9999"), SubsystemId("TEST", "GOV", "1234", "app")]
)
def test_refuses_the_certificate_of_another_member(bench: Bench, signer: ClientId) -> None:
    message = refused_with("incorrect_certificate", bench, bench.sign(PLAIN), signer=signer)
    assert "TEST/COM/1234" in message


def test_refuses_the_certificate_of_an_unapproved_authority(bench: Bench) -> None:
    stranger = Bench.create()
    unlike = replace(stranger, globalconf=bench.globalconf)
    refused_with("cannot_create_cert_path", bench, unlike.sign(PLAIN))


def test_refuses_an_authority_of_another_instance(bench: Bench) -> None:
    elsewhere = configuration(bench.lab, "ELSEWHERE")
    refused_with("cannot_create_cert_path", bench, bench.sign(PLAIN), globalconf=elsewhere)


def test_warns_of_an_authority_that_is_approved_for_authentication_only(bench: Bench) -> None:
    globalconf = configuration(bench.lab, authentication_only=True)
    verified = verify(bench, bench.sign(PLAIN), globalconf=globalconf)
    assert any("authentication certificates only" in text for text in verified.warnings)


# --- step 5: digests, value, coverage ------------------------------------------------------------


def test_refuses_another_message(bench: Bench) -> None:
    parts = message_parts(b"forged")
    refused_with("invalid_signature_value", bench, bench.sign(PLAIN), parts=parts)


def test_refuses_a_part_that_a_plain_signature_does_not_cover(bench: Bench) -> None:
    message = refused_with("malformed_signature", bench, bench.sign(PLAIN), parts=WITH_BODY)
    assert "/attachment1" in message


def test_refuses_a_changed_value(bench: Bench) -> None:
    document = bench.sign(PLAIN)
    value = b'Id="signature-value">'
    at = document.signature.index(value) + len(value)
    other = b"B" if document.signature[at : at + 1] == b"A" else b"A"
    changed = document.signature[:at] + other + document.signature[at + 1 :]
    refused_with("invalid_signature_value", bench, SignatureDocument(changed))


@pytest.mark.parametrize("digest", [DigestAlgorithm.SHA1, DigestAlgorithm.SHA224])
def test_refuses_weak_algorithms_in_new_messages(bench: Bench, digest: DigestAlgorithm) -> None:
    document = sign_weakly(bench, b"message", digest)
    refused_with("invalid_signature_value", bench, document)
    assert verify_archived(bench, document, PLAIN) == "valid"


@pytest.mark.parametrize("archived", [False, True])
def test_old_certificates_and_answers_are_judged_mildly_in_archives_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, archived: bool
) -> None:
    from postroad.evidence import verification

    asked: list[bool] = []
    for name in ("verify_chain", "verify_ocsp"):
        original = getattr(verification, name)

        def spy(
            *args: object, original: Callable[..., object] = original, **kwargs: object
        ) -> object:
            asked.append(kwargs["allow_legacy"] is True)
            return original(*args, **kwargs)

        monkeypatch.setattr(verification, name, spy)
    document = bench.sign(PLAIN)
    if archived:
        verify_archived(bench, document, PLAIN)
    else:
        verify(bench, document)
    assert asked == [archived, archived]


# --- step 6: path --------------------------------------------------------------------------------


def test_refuses_a_certificate_outside_its_validity(bench: Bench) -> None:
    short = replace(bench, identity=bench.lab.sign_certificate(CLIENT, days=1))
    refused_with("cannot_create_cert_path", bench, short.sign(PLAIN))


def test_path_ends_at_the_direct_issuer_even_if_that_is_no_root(bench: Bench) -> None:
    assert bench.lab.issuing is not bench.lab.root
    verified = verify(bench, bench.sign(PLAIN))
    assert verified.path == (bench.identity.certificate, bench.lab.ca_certificate)


# --- step 7: OCSP --------------------------------------------------------------------------------


def test_refuses_a_signature_without_ocsp_responses(bench: Bench) -> None:
    refused_with("malformed_signature", bench, bench.sign(PLAIN, ocsp=[]))


def test_refuses_an_ocsp_response_about_another_certificate(bench: Bench) -> None:
    other = bench.lab.sign_certificate(CLIENT)
    response = bench.lab.ocsp(other.certificate, at=NOW)
    refused_with("cert_validation", bench, bench.sign(PLAIN, ocsp=[response]))


def test_finds_the_response_among_others(bench: Bench) -> None:
    other = bench.lab.ocsp(bench.lab.sign_certificate(CLIENT).certificate, at=NOW)
    verify(bench, bench.sign(PLAIN, ocsp=[other, bench.ocsp()]))


@pytest.mark.parametrize("status", [CertificateStatus.REVOKED, CertificateStatus.UNKNOWN])
def test_refuses_a_certificate_that_is_not_good(bench: Bench, status: CertificateStatus) -> None:
    response = bench.lab.ocsp(bench.identity.certificate, at=NOW, status=status)
    refused_with("cert_validation", bench, bench.sign(PLAIN, ocsp=[response]))


@pytest.mark.parametrize("age", [timedelta(hours=1, minutes=1), timedelta(minutes=-10)])
def test_refuses_an_ocsp_response_that_is_stale_or_from_the_future(
    bench: Bench, age: timedelta
) -> None:
    response = bench.lab.ocsp(bench.identity.certificate, at=NOW - age)
    refused_with("incorrect_validation_info", bench, bench.sign(PLAIN, ocsp=[response]))


def test_refuses_an_ocsp_response_by_nobody_in_particular(bench: Bench) -> None:
    response = bench.lab.ocsp(bench.identity.certificate, at=NOW, responder=bench.lab.tsa)
    refused_with("incorrect_validation_info", bench, bench.sign(PLAIN, ocsp=[response]))


def test_refuses_an_unreadable_ocsp_response(bench: Bench) -> None:
    document = bench.sign(PLAIN, ocsp=[b"junk"])
    refused_with("incorrect_validation_info", bench, document)


# --- warnings ------------------------------------------------------------------------------------


def test_warns_of_a_claim_to_have_signed_in_the_future(bench: Bench) -> None:
    late = replace(bench, at=NOW + timedelta(hours=1))
    document = late.sign(PLAIN, ocsp=[bench.ocsp()])
    verified = verify(bench, document)
    assert any("claims to have signed later" in text for text in verified.warnings)


def test_warns_of_algorithms_that_only_archives_may_hold(bench: Bench) -> None:
    parsed = parse_signature((REFERENCE / "signatures/common-test/sign-0.xml").read_bytes())
    assert parsed.algorithm.accepted
    from postroad.evidence import verification

    weak = replace(parsed, algorithm=SignatureAlgorithm.RSA_SHA1, signing_time=None)
    warnings = verification._warnings(weak, at=NOW)
    assert any("SHA1withRSA" in text for text in warnings)
    assert any("does not tell when" in text for text in warnings)


# --- archived evidence ---------------------------------------------------------------------------


def verify_archived(bench: Bench, document: SignatureDocument, parts: Sequence[PartDigest]) -> str:
    try:
        verified = verify_signature_at(
            parse_signature(document.signature),
            document,
            signer=CLIENT,
            parts={part.name: part for part in parts},
            globalconf=bench.globalconf,
            at=NOW,
            archived=True,
        )
    except PostroadError as error:
        return error.fault_code
    chain = verified.chain
    return "valid" if not chain or not chain.unverified else "valid, incomplete"


def test_archive_may_lack_attachments_but_not_change_them(bench: Bench) -> None:
    document = bench.sign(WITH_BODY)
    assert verify_archived(bench, document, WITH_BODY) == "valid"
    assert verify_archived(bench, document, PLAIN) == "valid, incomplete"
    changed = message_parts(b"message", [b"changed"])
    expected = "malformed_signature.invalid_hash_chain_ref"
    assert verify_archived(bench, document, changed) == expected
    forged = message_parts(b"forged", [b"body"])
    assert verify_archived(bench, document, forged) == expected


def test_archive_may_not_hold_a_part_that_was_not_signed(bench: Bench) -> None:
    document = bench.sign(PLAIN, OTHER)
    expected = "malformed_signature.hashchain_unused_inputs"
    assert verify_archived(bench, document, WITH_BODY) == expected
    assert verify_archived(bench, bench.sign(PLAIN), WITH_BODY) == "malformed_signature"


def test_every_refusal_has_a_code_of_the_protocol(bench: Bench) -> None:
    with pytest.raises(PostroadError) as refused:
        verify(bench, bench.sign(PLAIN), message_parts(b"forged"))
    assert refused.value.within("signature_verification").fault_code == (
        "signature_verification.invalid_signature_value"
    )
    assert isinstance(refused.value.code, FaultCode)
    assert MESSAGE_PART in refused.value.message
