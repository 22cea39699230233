"""Which verdicts on signatures may be used again, and for how long?

The signatures of a member come with the same certificate and the same OCSP response many times a
minute, and the messages of a batch with the same signature document. :class:`VerificationCache`
remembers what was *found good*, by the whole evidence it was found on; a refusal is never
remembered. It's a value that callers pass in: no cache, no memory.

Trust in a certificate ends with the first of: the evidence itself (validity of every certificate
of the path, freshness limit and nextUpdate of every OCSP response), ``MAX_TRUST_AGE``, and the
global configuration it was judged by. A signature document's own digests and value depend on its
octets alone, so that verdict needs no end, only a bound.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime

    from postroad.crypto.certificates import Certificate
    from postroad.crypto.ocsp import OcspPolicy, VerifiedOcsp
    from postroad.evidence.xades_parsing import SignatureFacts, SignatureReference
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId, MemberId

MAX_TRUST_AGE: Final = timedelta(seconds=60)
"""How long trust in a certificate is remembered at most, as the reference does."""
MAX_KEPT_DOCUMENT_BYTES: Final = 32 * 1024
"""Larger signature documents are verified anew for every message."""

_K = TypeVar("_K", bound="Hashable")
_V = TypeVar("_V")


class CertificateEvidence:
    """Everything that trust in a signer's certificate is judged by, but configuration and time."""

    __slots__ = ("certificate", "extra_certificates", "key", "ocsp_responses", "signer")

    def __init__(self, signature: SignatureFacts, signer: ClientId) -> None:
        """Take the evidence that a signature of ``signer`` carries."""
        self.signer = signer
        self.certificate = signature.certificate
        self.extra_certificates = signature.extra_certificates
        self.ocsp_responses = signature.ocsp_responses
        """DER, in the order of the document."""
        self.key = (
            signer,
            self.certificate.sha256,
            tuple([certificate.sha256 for certificate in self.extra_certificates]),
            tuple([sha256(der).digest() for der in self.ocsp_responses]),
        )
        """The evidence by its digests, for a peer may send much of it."""


class SoundDocument(NamedTuple):
    """A signature document of a batch, whose digests and value were verified.

    ``signature`` and ``result`` are its octets and those of the hash chain result that it is over;
    what they prove depends on nothing else.
    """

    signature: bytes
    result: bytes
    facts: SignatureFacts
    reference: SignatureReference
    """Its reference to the result."""
    evidence: CertificateEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCertificate:
    """A certificate that may sign for the sender, and was good at a moment."""

    member: MemberId
    path: tuple[Certificate, ...]
    ocsp: tuple[VerifiedOcsp, ...]
    """One for each certificate of the path but the last."""
    warnings: tuple[str, ...]

    def valid_until(self, policy: OcspPolicy) -> datetime:
        """The last moment at which the same evidence leads to the same verdict."""
        limits = [certificate.not_after for certificate in self.path]
        for status in self.ocsp:
            limits.append(status.this_update + policy.freshness)
            if policy.verify_next_update and status.next_update is not None:
                limits.append(status.next_update)
        return min(limits)


class _Verdict(NamedTuple):
    since: datetime
    until: datetime
    trusted: TrustedCertificate


class VerificationCache:
    """Remembers verdicts on certificates and on signature documents; see the top of this module.

    ``certificates`` and ``documents`` bound how many of each are kept; the oldest goes first.
    """

    def __init__(self, *, certificates: int = 1024, documents: int = 128) -> None:
        self._globalconf: GlobalConfiguration | None = None
        self._trusted: _Bounded[object, _Verdict] = _Bounded(certificates)
        self._sound: _Bounded[bytes, SoundDocument] = _Bounded(documents)

    def trusted(
        self, evidence: CertificateEvidence, globalconf: GlobalConfiguration, at: datetime
    ) -> TrustedCertificate | None:
        """The verdict on exactly this evidence, if it's remembered and still holds at ``at``."""
        if globalconf is not self._globalconf:
            return None
        known = self._trusted.get(evidence.key)
        if known is None or not known.since <= at <= known.until:
            return None
        return known.trusted

    def keep_trusted(
        self,
        evidence: CertificateEvidence,
        globalconf: GlobalConfiguration,
        at: datetime,
        trusted: TrustedCertificate,
    ) -> None:
        """Remember what was found at ``at``. Another configuration forgets everything before."""
        if globalconf is not self._globalconf:
            # It may have taken an authority, a responder or a profile away.
            self._trusted.clear()
            self._globalconf = globalconf
        if any(status.produced_at > at for status in trusted.ocsp):
            return  # the warning about it has an end that needn't be worked out
        until = min(at + MAX_TRUST_AGE, trusted.valid_until(globalconf.ocsp_policy))
        self._trusted.keep(evidence.key, _Verdict(at, until, trusted))

    def sound(self, signature: bytes, result: bytes) -> SoundDocument | None:
        """What is known of exactly these octets, if they were verified."""
        known = self._sound.get(result)
        return known if known is not None and known.signature == signature else None

    def keep_sound(self, document: SoundDocument) -> None:
        """Remember a document that passed ``verify_core`` with today's algorithms."""
        self._sound.keep(document.result, document)


class _Bounded(Generic[_K, _V]):
    """A mapping that forgets its oldest entries."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        return self._entries.get(key)

    def keep(self, key: _K, value: _V) -> None:
        self._entries[key] = value
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()
