"""Which waiting signatures share the next time-stamp, over which octets, and when is it due?

A signature waits once, however many messages it covers. Two or more share a time-stamp: a hash
chain joins their digests, and its result is stamped. The chain of each isn't kept: it can be made
again from the digests in their order. A lone signature is stamped by itself: the stamp is over its
value and goes into it. After a failure signatures are tried one at a time, so that a single unusual
one can't keep all others waiting. Sources: PR-SIGDOC and BATCH-TS; reference:
``TimestamperWorker``, ``TaskQueue``, ``TimestamperJob``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from postroad.evidence.digests import TIMESTAMP_CHAIN_PART
from postroad.evidence.hashchain import HashTree
from postroad.evidence.xades import add_signature_timestamp
from postroad.evidence.xades_parsing import parse_signature
from postroad.securityserver.messagelog.records import SIGNATURE_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroad.securityserver.messagelog.reading import PendingSignature

SHORTEST_INTERVAL: Final = timedelta(seconds=60)
LONGEST_INTERVAL: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SingleStamp:
    """A stamp for one signature, over its value."""

    pending: PendingSignature
    signature: bytes = field(repr=False)
    """The signature document that the token goes into."""
    data: bytes = field(repr=False)
    """The octets to be stamped."""


@dataclass(frozen=True, slots=True)
class BatchStamp:
    """A stamp that several signatures share, over their hash chain result."""

    signature_ids: tuple[int, ...]
    data: bytes = field(repr=False)
    """The octets to be stamped: the hash chain result."""
    leaves: bytes = field(repr=False)
    """The digests that the hash chain joins, one after the other: each signature's at its place."""


PlannedStamp: TypeAlias = SingleStamp | BatchStamp


def plan_single(pending: PendingSignature, signature: bytes) -> SingleStamp:
    """Plan a signature's own stamp.

    Raises ``MalformedInput`` if it has no readable value or no place for a stamp; a stamp beside
    it can still prove it: see ``plan_batch``.
    """
    value = parse_signature(signature).value
    add_signature_timestamp(signature, b"\0")  # does it fit? The service is asked only if it does
    return SingleStamp(pending, signature, value)


def plan_batch(pending: Sequence[PendingSignature]) -> BatchStamp:
    """Plan a stamp that signatures share.

    A lone one, one that can't carry a stamp inside, is paired with itself, since a hash chain
    joins two digests at least.
    """
    digests = [one.signature_hash for one in pending]
    if len(digests) == 1:
        digests *= 2
    tree = HashTree(digests, SIGNATURE_DIGEST)
    return BatchStamp(
        tuple(one.id for one in pending), tree.result(TIMESTAMP_CHAIN_PART), b"".join(digests)
    )


def signatures_to_take(limit: int, *, is_failing: bool) -> int:
    """Return how many signatures the next stamp may cover."""
    return 1 if is_failing else limit


def stamping_interval(configured: timedelta, lowered_to: float | None) -> timedelta:
    """Return the time between two runs: the global configuration's, from a minute to a day.

    ``lowered_to`` (seconds, from the settings) may only make it shorter.
    """
    interval = min(max(configured, SHORTEST_INTERVAL), LONGEST_INTERVAL)
    return interval if lowered_to is None else min(interval, timedelta(seconds=lowered_to))


def next_run(
    interval: timedelta, *, is_failing: bool, more_waiting: bool, retry_delay: timedelta
) -> timedelta:
    """Return how long the job rests: not at all if a full batch left others waiting."""
    if is_failing:
        return min(interval, retry_delay)
    return timedelta(0) if more_waiting else interval


def order_services(urls: Iterable[str]) -> tuple[str, ...]:
    """Return the services in the order to ask them: the administrator's, each once."""
    return tuple(dict.fromkeys(url for url in urls if url))
