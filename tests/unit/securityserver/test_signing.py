from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from postroad.clock import FixedClock
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_digest
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.evidence.digests import PartDigest
from postroad.evidence.xades_parsing import parse_signature
from postroad.evidence.xades_verification import verify_core
from postroad.identifiers import MemberId
from postroad.ports import KeyCertificate, LentKey
from postroad.securityserver import signing
from postroad.securityserver.signing import BatchingSigner, MessageSignature, SigningKey
from postroad.trustlab.authority import Identity, KeyKind, TrustLab

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MEMBER = MemberId("TEST", "GOV", "1")
LAB = TrustLab.create(at=NOW)
IDENTITY = LAB.sign_certificate(MEMBER)
KEY = SigningKey(
    key_id="key", certificate=IDENTITY.certificate, ocsp_responses=(LAB.ocsp(IDENTITY.certificate),)
)


class GatedSigner:
    """Signs one request at a time, each after ``release``."""

    def __init__(self, identity: Identity = IDENTITY) -> None:
        self.identity = identity
        self.requests = 0
        self.gate = asyncio.Semaphore(0)
        self.failure: BaseException | None = None

    async def sign(self, key_id: str, digest_algorithm: DigestAlgorithm, digest: bytes) -> bytes:
        self.requests += 1
        await self.gate.acquire()
        if self.failure is not None:
            raise self.failure
        algorithm = SignatureAlgorithm.for_key(self.identity.certificate.public_key)
        return sign_digest(self.identity.private_key, algorithm, digest, ecdsa_raw=True)

    async def certificates(self) -> list[KeyCertificate]:
        return []

    async def lend_authentication_key(self) -> LentKey:
        raise NotImplementedError

    def release(self, count: int = 1) -> None:
        for _ in range(count):
            self.gate.release()


def batching(
    signer: GatedSigner, key: Callable[[MemberId], SigningKey] = lambda _m: KEY
) -> BatchingSigner:
    return BatchingSigner(signer, key, FixedClock(NOW))


def one_part(text: bytes = b"m") -> list[PartDigest]:
    return [PartDigest.of("/message.xml", text, signing.DIGEST)]


def two_parts() -> list[PartDigest]:
    return [*one_part(), PartDigest.of("/attachment1", b"a", signing.DIGEST)]


def run(story: Callable[[GatedSigner], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await story(GatedSigner())

    asyncio.run(main())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_lone_message_of_one_part_is_signed_itself() -> None:
    async def story(signer: GatedSigner) -> None:
        signer.release()
        signed = await batching(signer).sign(MEMBER, one_part())
        assert signed.hash_chain is None
        assert parse_signature(signed.signature).references_to("/message.xml")

    run(story)


def test_a_message_of_two_parts_gets_a_hash_chain() -> None:
    async def story(signer: GatedSigner) -> None:
        signer.release()
        signed = await batching(signer).sign(MEMBER, two_parts())
        assert signed.hash_chain_result is not None
        assert b"/attachment1" in (signed.hash_chain or b"")
        assert parse_signature(signed.signature).references_to("/sig-hashchainresult.xml")

    run(story)


def test_messages_that_come_meanwhile_share_the_next_signature() -> None:
    async def story(signer: GatedSigner) -> None:
        batch = batching(signer)
        calls = [asyncio.ensure_future(batch.sign(MEMBER, one_part()))]
        await settle()
        calls += [asyncio.ensure_future(batch.sign(MEMBER, one_part(b"%d" % n))) for n in range(3)]
        await settle()
        assert signer.requests == 1
        signer.release(2)
        first, *rest = await asyncio.gather(*calls)
        assert signer.requests == 2
        assert first.hash_chain is None
        assert len({signed.signature for signed in rest}) == 1
        assert len({signed.hash_chain for signed in rest}) == 3

    run(story)


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MAX_BATCH", 2)

    async def story(signer: GatedSigner) -> None:
        batch = batching(signer)
        calls = [asyncio.ensure_future(batch.sign(MEMBER, one_part())) for _ in range(5)]
        await settle()
        signer.release(10)
        await asyncio.gather(*calls)
        assert signer.requests == 3

    run(story)


def test_without_batching_every_message_is_signed_by_itself_and_none_waits() -> None:
    async def story(signer: GatedSigner) -> None:
        batcher = BatchingSigner(signer, lambda _m: KEY, FixedClock(NOW), batching=False)
        tasks = [asyncio.ensure_future(batcher.sign(MEMBER, two_parts())) for _ in range(3)]
        await settle()
        assert signer.requests == 3
        signer.release(3)
        signed = await asyncio.gather(*tasks)
        assert all(one.hash_chain is not None for one in signed)

    run(story)


def test_keys_of_a_token_without_batch_signing_sign_every_message_by_itself() -> None:
    async def story(signer: GatedSigner) -> None:
        key = replace(KEY, batch_signing=False)
        batcher = batching(signer, lambda _member: key)
        tasks = [asyncio.ensure_future(batcher.sign(MEMBER, two_parts())) for _ in range(3)]
        await settle()
        assert signer.requests == 3
        signer.release(3)
        assert len({signed.signature for signed in await asyncio.gather(*tasks)}) == 3

    run(story)


def test_the_document_names_pss_when_the_token_signs_so() -> None:
    class PssSigner(GatedSigner):
        async def sign(
            self, key_id: str, digest_algorithm: DigestAlgorithm, digest: bytes
        ) -> bytes:
            algorithm = SignatureAlgorithm.with_digest("RSA-PSS", digest_algorithm)
            return sign_digest(self.identity.private_key, algorithm, digest, ecdsa_raw=True)

    identity = LAB.sign_certificate(MEMBER, keys=KeyKind.RSA_2048)
    key = SigningKey(
        key_id="key", certificate=identity.certificate, ocsp_responses=(), rsa_pss=True
    )

    async def story(_signer: GatedSigner) -> None:
        parts = one_part()
        signed = await batching(PssSigner(identity), lambda _member: key).sign(MEMBER, parts)
        parsed = parse_signature(signed.signature)
        assert parsed.algorithm is SignatureAlgorithm.RSA_PSS_SHA512
        verify_core(parsed, {part.name: part for part in parts})

    run(story)


def test_messages_under_another_certificate_start_a_new_batch() -> None:
    async def story(signer: GatedSigner) -> None:
        other = LAB.sign_certificate(MEMBER, key=IDENTITY.private_key)
        keys = [
            KEY,
            KEY,
            SigningKey(key_id="key", certificate=other.certificate, ocsp_responses=()),
        ]
        batch = batching(signer, lambda _member: keys.pop(0))
        calls = [asyncio.ensure_future(batch.sign(MEMBER, one_part())) for _ in range(3)]
        await settle()
        signer.release(10)
        signed = await asyncio.gather(*calls)
        assert parse_signature(signed[0].signature).certificate == IDENTITY.certificate
        assert parse_signature(signed[2].signature).certificate == other.certificate

    run(story)


def test_no_usable_key_is_told_as_such() -> None:
    def none(_member: MemberId) -> SigningKey:
        raise ConfigurationError("no key", code=FaultCode.CANNOT_CREATE_SIGNATURE)

    async def story(signer: GatedSigner) -> None:
        with pytest.raises(ConfigurationError) as caught:
            await batching(signer, none).sign(MEMBER, one_part())
        assert caught.value.fault_code == "cannot_create_signature"

    run(story)


def test_all_messages_of_a_batch_fail_together_and_each_with_its_own_error() -> None:
    async def story(signer: GatedSigner) -> None:
        signer.failure = ConfigurationError("out", code=FaultCode.TOKEN_NOT_ACTIVE)
        batch = batching(signer)
        calls = [asyncio.ensure_future(batch.sign(MEMBER, one_part())) for _ in range(3)]
        await settle()
        signer.release(10)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, PostroadError) for result in results)
        assert {result.fault_code for result in results if isinstance(result, PostroadError)} == {
            "cannot_create_signature.token_not_active"
        }
        assert len({id(result) for result in results}) == 3

    run(story)


def test_signing_works_again_after_a_failure() -> None:
    async def story(signer: GatedSigner) -> None:
        batch = batching(signer)
        signer.failure = ConfigurationError("out")
        signer.release()
        with pytest.raises(ConfigurationError):
            await batch.sign(MEMBER, one_part())
        signer.failure = None
        signer.release()
        assert isinstance(await batch.sign(MEMBER, one_part()), MessageSignature)

    run(story)


def test_nobody_hangs_when_something_unforeseen_breaks() -> None:
    async def story(signer: GatedSigner) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        signer.failure = KeyError("defect")
        batch = batching(signer)
        calls = [asyncio.ensure_future(batch.sign(MEMBER, one_part())) for _ in range(2)]
        await settle()
        calls.append(asyncio.ensure_future(batch.sign(MEMBER, one_part())))
        await settle()
        signer.release(10)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, ConfigurationError) for result in results)

    run(story)


def test_a_caller_that_gave_up_is_left_out_of_the_next_batch() -> None:
    async def story(signer: GatedSigner) -> None:
        batch = batching(signer)
        first = asyncio.ensure_future(batch.sign(MEMBER, one_part()))
        await settle()
        gone = asyncio.ensure_future(batch.sign(MEMBER, one_part(b"gone")))
        stays = asyncio.ensure_future(batch.sign(MEMBER, one_part(b"stays")))
        await settle()
        gone.cancel()
        signer.release(2)
        assert (await stays).hash_chain is None
        await first

    run(story)
