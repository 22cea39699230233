"""How do messages get their signatures, when the signer can do only one at a time per key?

While one request for a key is under way, later messages queue up and share the next one: their
digests are joined in a hash chain and signed once. A lone message never waits, and a lone message
of one part is signed without a chain. (PR-SIGDOC batch signatures; reference: BatchSigner.)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.xades import prepare_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroad.clock import Clock
    from postroad.crypto.certificates import Certificate
    from postroad.identifiers import MemberId
    from postroad.ports import SignerPort

DIGEST: Final = DigestAlgorithm.SHA512
"""The digest of message parts and signatures; peers understand no other in batch signatures."""
MAX_BATCH: Final = 512
"""Messages that share one signature; the rest waits for the next one."""


def algorithm_of(certificate: Certificate, *, rsa_pss: bool) -> SignatureAlgorithm:
    """How a certificate's key signs, whose token may sign with PSS when it is an RSA key."""
    public_key = certificate.public_key
    if rsa_pss and isinstance(public_key, rsa.RSAPublicKey):
        return SignatureAlgorithm.with_digest("RSA-PSS", DIGEST)
    return SignatureAlgorithm.for_key(public_key, DIGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key that may sign for a member now, with everything its signature document carries."""

    key_id: str
    certificate: Certificate
    ocsp_responses: tuple[bytes, ...]
    """DER: that of the certificate first, then those of ``intermediates``."""
    intermediates: tuple[Certificate, ...] = ()
    rsa_pss: bool = False
    """Whether its token signs with PSS when it is an RSA key."""
    batch_signing: bool = True
    """Whether messages may share a signature of it."""

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """How it signs messages."""
        return algorithm_of(self.certificate, rsa_pss=self.rsa_pss)


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """The signature of one message; both chain parts are there, or neither."""

    signature: bytes
    hash_chain_result: bytes | None = None
    hash_chain: bytes | None = None


@dataclass(slots=True)
class _Queue:
    """Messages that wait for one key."""

    waiting: list[_Waiting] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: SigningKey
    parts: tuple[PartDigest, ...]
    done: asyncio.Future[MessageSignature]


class BatchingSigner:
    """Signs messages through a ``SignerPort``, several at once when they come at once.

    ``keys`` names the key that signs for a member at a moment, or raises
    (``cannot_create_signature``). Without ``batching``, by the server's settings or by those of the
    key's token, every message gets a signature of its own.
    """

    def __init__(
        self,
        signer: SignerPort,
        keys: Callable[[MemberId], SigningKey],
        clock: Clock,
        *,
        batching: bool = True,
    ) -> None:
        self._signer = signer
        self._keys = keys
        self._clock = clock
        self._batching = batching
        self._queues: dict[str, _Queue] = {}

    async def sign(self, member: MemberId, parts: Sequence[PartDigest]) -> MessageSignature:
        """Sign one message of ``member``, given as the SHA-512 digests of its parts in order.

        Raises ``PostroadError`` (``cannot_create_signature…``) if there is no usable key or the
        signer fails; all messages of a batch fail together.
        """
        try:
            key = self._keys(member)
            waiting = _Waiting(key, tuple(parts), asyncio.get_running_loop().create_future())
            if not (self._batching and key.batch_signing):
                return (await self._sign_batch([waiting]))[0]
            queue = self._queues.setdefault(key.key_id, _Queue())
            queue.waiting.append(waiting)
            if queue.task is None:
                queue.task = asyncio.ensure_future(self._serve(key.key_id, queue))
            return await waiting.done
        except PostroadError as error:
            if error.code is FaultCode.CANNOT_CREATE_SIGNATURE:
                raise
            error.within(FaultCode.CANNOT_CREATE_SIGNATURE)
            raise

    @property
    def waiting(self) -> int:
        """Messages that wait for the signer, but for those it is at work on."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    async def _serve(self, key_id: str, queue: _Queue) -> None:
        """Sign batch after batch until nobody waits for this key."""
        batch: list[_Waiting] = []
        try:
            while batch := _next_batch(queue):
                try:
                    signatures = await self._sign_batch(batch)
                except PostroadError as error:
                    _fail(batch, error)
                    continue
                for waiting, signature in zip(batch, signatures, strict=True):
                    if not waiting.done.done():
                        waiting.done.set_result(signature)
        finally:
            queue.task = None
            self._queues.pop(key_id, None)
            # Someone still waits only if something unforeseen broke: nobody may hang.
            left = [waiting for waiting in (*batch, *queue.waiting) if not waiting.done.done()]
            _fail(left, ConfigurationError("signing broke off", code=FaultCode.INTERNAL_ERROR))

    async def _sign_batch(self, batch: Sequence[_Waiting]) -> list[MessageSignature]:
        key = batch[-1].key  # the newest sight of the key has the freshest OCSP response
        if len(batch) == 1 and len(batch[0].parts) == 1:
            part = batch[0].parts[0]
            chains, reference, digest = None, part.name, part.value
        else:
            chains = build_hash_chains([waiting.parts for waiting in batch], DIGEST)
            reference, digest = HASH_CHAIN_RESULT_PART, DIGEST.digest(chains.result)
        prepared = prepare_signature(
            reference_uri=reference,
            reference_digest=digest,
            certificate=key.certificate,
            algorithm=key.algorithm,
            signing_time=self._clock.now(),
        )
        value = await self._signer.sign(key.key_id, DIGEST, prepared.digest)
        document = prepared.assemble(value, key.ocsp_responses, key.intermediates)
        if chains is None:
            return [MessageSignature(document)]
        return [MessageSignature(document, chains.result, chain) for chain in chains.chains]


def _next_batch(queue: _Queue) -> list[_Waiting]:
    """Take the oldest messages that are still wanted; a changed certificate starts a new batch."""
    queue.waiting = [waiting for waiting in queue.waiting if not waiting.done.done()]
    batch: list[_Waiting] = []
    for waiting in queue.waiting[:MAX_BATCH]:
        if batch and waiting.key.certificate != batch[0].key.certificate:
            break
        batch.append(waiting)
    del queue.waiting[: len(batch)]
    return batch


def _fail(batch: Sequence[_Waiting], error: PostroadError) -> None:
    for waiting in batch:
        if not waiting.done.done():
            # Each waiter puts its own prefix on its error, so each gets an error of its own.
            copy = type(error)(error.message, code=error.code, prefix=error.prefix)
            copy.__cause__ = error
            waiting.done.set_exception(copy)
