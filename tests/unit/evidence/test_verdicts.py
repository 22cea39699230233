"""A remembered verdict never outlives its evidence, and is never that of other evidence."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.crypto.ocsp import CertificateStatus, OcspPolicy
from postroad.errors import FaultCode, PostroadError
from postroad.evidence import verification
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.verdicts import (
    MAX_KEPT_DOCUMENT_BYTES,
    MAX_TRUST_AGE,
    TrustedCertificate,
    VerificationCache,
)
from postroad.evidence.verification import (
    SignatureDocument,
    VerifiedSignature,
    verify_message_signature,
)
from postroad.globalconf.extensions import NextUpdate
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.globalconf.shared_values import GlobalSettings
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import SubsystemId
from support.signing import (
    CLIENT,
    NOW,
    SHA512,
    Bench,
    configuration,
    message_parts,
    resigned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.identifiers import ClientId

PLAIN = message_parts(b"message")
OTHER = message_parts(b"another message", [b"with a body"])
SECOND = timedelta(seconds=1)
START = NOW.replace(microsecond=0)  # OCSP responses know whole seconds only


class Verifier:
    """Verifies with one cache, and counts what was really judged."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.cache = VerificationCache()
        self.paths = 0
        self.values = 0
        verify_chain, verify_core = verification.verify_chain, verification.verify_core

        def counting_chain(*args: object, **kwargs: object) -> object:
            self.paths += 1
            return verify_chain(*args, **kwargs)

        def counting_core(*args: object, **kwargs: object) -> object:
            self.values += 1
            return verify_core(*args, **kwargs)

        monkeypatch.setattr(verification, "verify_chain", counting_chain)
        monkeypatch.setattr(verification, "verify_core", counting_core)

    def __call__(
        self,
        document: SignatureDocument,
        parts: Sequence[PartDigest] = PLAIN,
        *,
        at: datetime = START,
        signer: ClientId = CLIENT,
        globalconf: GlobalConfiguration | None = None,
    ) -> VerifiedSignature:
        return verify_message_signature(
            document,
            signer=signer,
            parts={part.name: part for part in parts},
            globalconf=globalconf or self.bench.globalconf,
            at=at,
            cache=self.cache,
        )

    def refuses(self, code: FaultCode, document: SignatureDocument, **kwargs: object) -> str:
        with pytest.raises(PostroadError) as refused:
            self(document, **kwargs)
        assert refused.value.code is code, refused.value
        # Without a memory the verdict is the same, word for word.
        remembering, self.cache = self.cache, VerificationCache()
        with pytest.raises(PostroadError) as again:
            self(document, **kwargs)
        self.cache = remembering
        assert str(again.value) == str(refused.value)
        return refused.value.message


@pytest.fixture
def verify(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Verifier:
    return Verifier(bench, monkeypatch)


def ocsp(bench: Bench, **kwargs: object) -> bytes:
    kwargs.setdefault("at", START - timedelta(minutes=10))
    return bench.lab.ocsp(bench.identity.certificate, **kwargs)


def with_settings(
    bench: Bench, *, freshness: int = 3600, next_update: bool = True
) -> GlobalConfiguration:
    shared = bench.globalconf.shared("TEST")
    assert shared is not None
    settings = GlobalSettings(ocsp_freshness_seconds=freshness)
    return GlobalConfiguration(
        "TEST",
        [
            InstanceConfiguration(
                instance="TEST",
                index=InstanceIndex(replace(shared, global_settings=settings)),
                next_update=NextUpdate(verify=next_update),
            )
        ],
    )


# --- trust in certificates -------------------------------------------------------------------


def test_trust_in_a_certificate_is_judged_once(verify: Verifier) -> None:
    response = [ocsp(verify.bench)]
    first = verify(verify.bench.sign(PLAIN, ocsp=response))
    second = verify(verify.bench.sign(OTHER, ocsp=response), OTHER, at=START + SECOND)
    assert verify.paths == 1
    assert verify.values == 2
    assert second.path == first.path
    assert second.ocsp == first.ocsp
    assert (second.member, second.issuer) == (first.member, first.issuer)


def test_a_verdict_with_memory_is_the_verdict_without(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN, OTHER)
    remembered = [verify(document), verify(document)]
    verify.cache = VerificationCache()
    assert remembered == [verify(document)] * 2


def test_nothing_is_remembered_without_a_cache(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN, OTHER)
    for _ in range(2):
        verify_message_signature(
            document,
            signer=CLIENT,
            parts={part.name: part for part in PLAIN},
            globalconf=verify.bench.globalconf,
            at=START,
        )
    assert (verify.paths, verify.values) == (2, 2)


def test_trust_is_judged_again_after_a_minute_at_the_latest(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN)
    for passed, judged in ((0, 1), (60, 1), (61, 2), (121, 2), (122, 3)):
        verify(document, at=START + timedelta(seconds=passed))
        assert verify.paths == judged
    assert timedelta(seconds=60) == MAX_TRUST_AGE


def test_trust_is_judged_again_when_the_clock_goes_back(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN)
    verify(document)
    verify(document, at=START - SECOND)
    assert verify.paths == 2


def test_trust_ends_when_the_ocsp_response_goes_stale(verify: Verifier) -> None:
    globalconf = with_settings(verify.bench, freshness=600)
    response = ocsp(verify.bench, at=START - timedelta(seconds=595))
    document = verify.bench.sign(PLAIN, ocsp=[response])
    verify(document, globalconf=globalconf)
    verify(document, globalconf=globalconf, at=START + 5 * SECOND)
    assert verify.paths == 1
    message = verify.refuses(
        FaultCode.INCORRECT_VALIDATION_INFO,
        document,
        globalconf=globalconf,
        at=START + 6 * SECOND,
    )
    assert "older than" in message


def test_trust_ends_with_next_update(verify: Verifier) -> None:
    response = ocsp(verify.bench, next_update=START + 5 * SECOND)
    document = verify.bench.sign(PLAIN, ocsp=[response])
    verify(document)
    verify(document, at=START + 5 * SECOND)
    assert verify.paths == 1
    verify.refuses(FaultCode.INCORRECT_VALIDATION_INFO, document, at=START + 6 * SECOND)


def test_next_update_does_not_count_where_the_ecosystem_says_so(verify: Verifier) -> None:
    globalconf = with_settings(verify.bench, next_update=False)
    response = ocsp(verify.bench, next_update=START - timedelta(minutes=1))
    document = verify.bench.sign(PLAIN, ocsp=[response])
    for passed in (0, 30, 60):
        verify(document, globalconf=globalconf, at=START + timedelta(seconds=passed))
    assert verify.paths == 1


def test_trust_ends_with_the_certificate(verify: Verifier) -> None:
    identity = verify.bench.lab.sign_certificate(
        CLIENT, at=START - timedelta(days=10) + 5 * SECOND, days=10
    )
    end = identity.certificate.not_after
    assert START < end < START + 10 * SECOND
    bench = replace(verify.bench, identity=identity)
    document = bench.sign(PLAIN)
    verify(document)
    verify(document, at=end)
    assert verify.paths == 1
    verify.refuses(FaultCode.CANNOT_CREATE_CERT_PATH, document, at=end + SECOND)


def test_trust_lasts_as_long_as_the_shortest_of_its_evidence(verify: Verifier) -> None:
    verified = verify(verify.bench.sign(PLAIN))
    path, status = verified.path, verified.ocsp
    trusted = TrustedCertificate(member=verified.member, path=path, ocsp=(status,), warnings=())
    ever = OcspPolicy(freshness=timedelta(days=36500))
    assert trusted.valid_until(ever) == min(certificate.not_after for certificate in path)
    hour = OcspPolicy(freshness=timedelta(hours=1))
    assert trusted.valid_until(hour) == status.this_update + timedelta(hours=1)
    ending = replace(trusted, ocsp=(status, replace(status, next_update=START + SECOND)))
    assert ending.valid_until(hour) == START + SECOND
    assert ending.valid_until(replace(hour, verify_next_update=False)) > START + SECOND


def test_a_response_that_says_revoked_is_heard_although_a_good_one_is_remembered(
    verify: Verifier,
) -> None:
    good = verify.bench.sign(PLAIN)
    verify(good)
    revoked = ocsp(verify.bench, at=START - SECOND, status=CertificateStatus.REVOKED)
    message = verify.refuses(FaultCode.CERT_VALIDATION, verify.bench.sign(PLAIN, ocsp=[revoked]))
    assert "revoked" in message
    assert verify(good).ocsp.status is CertificateStatus.GOOD


def test_a_stale_response_is_refused_although_a_fresh_one_is_remembered(verify: Verifier) -> None:
    verify(verify.bench.sign(PLAIN))
    stale = ocsp(verify.bench, at=START - timedelta(hours=2))
    verify.refuses(FaultCode.INCORRECT_VALIDATION_INFO, verify.bench.sign(PLAIN, ocsp=[stale]))
    verify.refuses(FaultCode.MALFORMED_SIGNATURE, verify.bench.sign(PLAIN, ocsp=[]))


def test_a_refusal_is_not_remembered(verify: Verifier) -> None:
    early = START - timedelta(minutes=20)
    document = verify.bench.sign(PLAIN)
    verify.refuses(FaultCode.INCORRECT_VALIDATION_INFO, document, at=early)
    verify(document)


def test_another_certificate_of_the_member_is_judged_by_itself(verify: Verifier) -> None:
    verify(verify.bench.sign(PLAIN))
    identity = verify.bench.lab.sign_certificate(CLIENT)
    other = replace(verify.bench, identity=identity)
    good = other.ocsp()
    # The remembered certificate's response doesn't speak for the other one.
    verify.refuses(FaultCode.CERT_VALIDATION, other.sign(PLAIN, ocsp=[verify.bench.ocsp()]))
    verify(other.sign(PLAIN, ocsp=[good]))
    assert verify.paths > 2


def test_trust_is_that_in_one_sender(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN)
    verify(document)
    other = SubsystemId("TEST", "COM", "4321", "app")
    verify.refuses(FaultCode.INCORRECT_CERTIFICATE, document, signer=other)
    assert verify(document, signer=CLIENT.member).member == CLIENT.member
    assert verify.paths == 2


def test_a_new_configuration_forgets_everything(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN)
    verify(document)
    empty = GlobalConfiguration(
        "TEST",
        [
            InstanceConfiguration(
                instance="TEST", index=InstanceIndex(SharedParameters(instance="TEST"))
            )
        ],
    )
    verify.refuses(FaultCode.CANNOT_CREATE_CERT_PATH, document, globalconf=empty)
    # A responder that's configured no more.
    stranger = verify.bench.lab.sign_certificate(CLIENT)
    forged = ocsp(verify.bench, responder=stranger)
    verify.refuses(FaultCode.INCORRECT_VALIDATION_INFO, verify.bench.sign(PLAIN, ocsp=[forged]))
    verify(document, globalconf=configuration(verify.bench.lab))
    assert verify.paths == 2 + 2  # and twice for the forged response
    verify(document)  # back to the first: it was forgotten, too
    assert verify.paths == 5


def test_a_stricter_configuration_counts_at_once(verify: Verifier) -> None:
    document = verify.bench.sign(PLAIN)
    verify(document)
    strict = with_settings(verify.bench, freshness=60)
    verify.refuses(FaultCode.INCORRECT_VALIDATION_INFO, document, globalconf=strict)


def test_warnings_are_remembered_with_the_verdict(verify: Verifier) -> None:
    globalconf = configuration(verify.bench.lab, authentication_only=True)
    document = verify.bench.sign(PLAIN)
    first = verify(document, globalconf=globalconf)
    assert first.warnings
    assert verify(document, globalconf=globalconf).warnings == first.warnings
    assert verify.paths == 1


def test_a_warning_that_will_pass_is_not_remembered(verify: Verifier) -> None:
    ahead = START + timedelta(seconds=30)
    response = ocsp(verify.bench, at=ahead, this_update=START - SECOND)
    document = verify.bench.sign(PLAIN, ocsp=[response])
    verify(document)
    verify(document)
    assert verify.paths == 2


def test_certificates_remembered_are_bounded(verify: Verifier) -> None:
    verify.cache = VerificationCache(certificates=2)
    documents = [
        verify.bench.sign(PLAIN, ocsp=[ocsp(verify.bench, at=START - timedelta(minutes=minute))])
        for minute in range(1, 4)
    ]
    for document in documents:
        verify(document)
    verify(documents[2])
    assert verify.paths == 3
    verify(documents[0])
    assert verify.paths == 4


# --- signatures that a batch shares ----------------------------------------------------------


def batch(bench: Bench) -> list[tuple[SignatureDocument, list[PartDigest]]]:
    messages = [PLAIN, OTHER, message_parts(b"third")]
    built = build_hash_chains(messages, SHA512)
    shared = bench.sign_document(HASH_CHAIN_RESULT_PART, built.result).signature
    return [
        (SignatureDocument(shared, built.result, chain), parts)
        for chain, parts in zip(built.chains, messages, strict=True)
    ]


def test_the_signature_of_a_batch_is_verified_once(verify: Verifier) -> None:
    for document, parts in batch(verify.bench):
        assert verify(document, parts).batch
    assert verify.values == 1


def test_every_message_of_a_batch_is_held_against_its_own_chain(verify: Verifier) -> None:
    (first, _), (second, parts), (third, _) = batch(verify.bench)
    verify(first)
    verify.refuses(FaultCode.INVALID_HASH_CHAIN, first, parts=parts)
    verify.refuses(FaultCode.INVALID_HASH_CHAIN, first, parts=message_parts(b"forged"))
    verify.refuses(FaultCode.INVALID_REFERENCE, second, parts=PLAIN)
    verify.refuses(FaultCode.INVALID_HASH_CHAIN, third, parts=PLAIN)
    verify.refuses(
        FaultCode.INVALID_REFERENCE, replace(first, hash_chain=second.hash_chain), parts=PLAIN
    )
    verify.refuses(
        FaultCode.INVALID_HASH_CHAIN, replace(second, hash_chain=first.hash_chain), parts=parts
    )


def test_a_forged_result_is_refused_although_the_signature_is_remembered(
    verify: Verifier,
) -> None:
    (first, _), *_ = batch(verify.bench)
    verify(first)
    forged = [message_parts(b"forged"), message_parts(b"x")]
    built = build_hash_chains(forged, SHA512)
    document = SignatureDocument(first.signature, built.result, built.chains[0])
    verify.refuses(FaultCode.INVALID_SIGNATURE_VALUE, document, parts=forged[0])
    assert first.hash_chain_result is not None
    spaced = replace(first, hash_chain_result=first.hash_chain_result + b"\n")
    verify.refuses(FaultCode.INVALID_SIGNATURE_VALUE, spaced)


@pytest.mark.parametrize("part", ["/message.xml", "plain"])
def test_a_remembered_signature_covers_nothing_else(verify: Verifier, part: str) -> None:
    (first, _), *_ = batch(verify.bench)
    verify(first)
    if part == "plain":
        verify.refuses(FaultCode.MALFORMED_SIGNATURE, SignatureDocument(first.signature))
    else:
        plain = verify.bench.sign(PLAIN)
        verify.refuses(FaultCode.MALFORMED_SIGNATURE, replace(first, signature=plain.signature))


def test_one_other_octet_makes_another_document(verify: Verifier) -> None:
    (first, _), (second, parts), _ = batch(verify.bench)
    verify(first)
    at = second.signature.index(b'"signature-value">') + 30
    changed = bytearray(second.signature)
    changed[at] = ord("A") if changed[at] != ord("A") else ord("B")
    verify.refuses(
        FaultCode.INVALID_SIGNATURE_VALUE,
        replace(second, signature=bytes(changed)),
        parts=parts,
    )
    assert verify.values == 3  # never taken from memory, with a cache or without


def test_a_signature_is_remembered_only_after_everything_held(verify: Verifier) -> None:
    (first, _), (second, parts), _ = batch(verify.bench)
    verify.refuses(FaultCode.INCORRECT_VALIDATION_INFO, first, at=START + timedelta(days=1))
    verify(second, parts)
    verify(first)
    assert verify.values == 3  # twice refused, once good, once remembered


def test_trust_ends_for_a_remembered_signature_too(verify: Verifier) -> None:
    (first, _), (second, parts), _ = batch(verify.bench)
    verify(first)
    verify.refuses(
        FaultCode.INCORRECT_VALIDATION_INFO, second, parts=parts, at=START + timedelta(days=1)
    )


def test_signatures_that_cannot_come_again_are_not_remembered(verify: Verifier) -> None:
    verify(verify.bench.sign(PLAIN))
    verify(verify.bench.sign(OTHER), OTHER)
    assert not verify.cache._sound._entries


def test_what_a_signature_says_of_one_message_is_not_forgotten_for_another(
    verify: Verifier,
) -> None:
    """A signer whose signature doesn't hold for the second message could deny it later."""
    bench = verify.bench
    one, other = message_parts(b"one", [b"body"]), message_parts(b"other", [b"another"])
    document = bench.sign(one, other)
    mark = b'<ds:Reference Id="signature-reference-1"'
    digest = b64encode(one[1].value).decode()
    also = (
        f'<ds:Reference URI="{one[1].name}"><ds:DigestMethod Algorithm="{SHA512.uri}">'
        f"</ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
    )
    document = replace(
        document, signature=resigned(bench, document.signature.replace(mark, also.encode() + mark))
    )
    chain = build_hash_chains([one, other], SHA512).chains[1]
    verify(document, one)
    verify.refuses(
        FaultCode.INVALID_SIGNATURE_VALUE, replace(document, hash_chain=chain), parts=other
    )


def test_signatures_remembered_are_bounded(verify: Verifier) -> None:
    verify.cache = VerificationCache(documents=1)
    one, other = batch(verify.bench)[0][0], verify.bench.sign(PLAIN, OTHER)
    for document in (one, one, other, one):
        verify(document)
    assert verify.values == 3


def test_large_signatures_are_not_remembered(verify: Verifier) -> None:
    response = ocsp(verify.bench, embedded=[verify.bench.lab.ocsp_certificate] * 10)
    document = verify.bench.sign(PLAIN, OTHER, ocsp=[response] * 6)
    assert len(document.signature) > MAX_KEPT_DOCUMENT_BYTES
    verify(document)
    assert not verify.cache._sound._entries
