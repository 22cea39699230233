"""Which waiting records share the next time-stamp, over which octets, and when is the next one due?

Two or more records share one: a hash chain joins the digests of their signatures, and its result is
stamped. A lone record is stamped by itself: the stamp is over its signature value and goes into the
signature. After a failure records are tried one at a time, so that a single unusual one can't keep
all others waiting. Sources: PR-SIGDOC and BATCH-TS; reference: ``TimestamperWorker``,
``TaskQueue``, ``TimestamperJob``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.xades import add_signature_timestamp
from postroad.evidence.xades_parsing import parse_signature
from postroad.securityserver.messagelog.store import SIGNATURE_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroad.securityserver.messagelog.reading import PendingRecord

SHORTEST_INTERVAL: Final = timedelta(seconds=60)
LONGEST_INTERVAL: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SingleStamp:
    """A stamp for one record, over the value of its signature."""

    record: PendingRecord
    signature: bytes = field(repr=False)
    """The signature document that the token goes into."""
    data: bytes = field(repr=False)
    """The octets to be stamped."""


@dataclass(frozen=True, slots=True)
class BatchStamp:
    """A stamp that several records share, over their hash chain result."""

    records: tuple[PendingRecord, ...]
    data: bytes = field(repr=False)
    """The octets to be stamped: the hash chain result."""
    chains: tuple[bytes, ...] = field(repr=False)
    """The hash chain of each record, in the same order."""


PlannedStamp: TypeAlias = SingleStamp | BatchStamp


def plan_single(record: PendingRecord, signature: bytes) -> SingleStamp:
    """Plan a record's own stamp.

    Raises ``MalformedInput`` if its signature has no readable value or no place for a stamp; a
    batch can still prove it.
    """
    value = parse_signature(signature).value
    add_signature_timestamp(signature, b"\0")  # does it fit? The service is asked only if it does
    return SingleStamp(record, signature, value)


def plan_batch(records: Sequence[PendingRecord]) -> BatchStamp:
    """Plan a stamp for two records or more."""
    chains = build_hash_chains(
        [
            [PartDigest(SIGNATURES_PART, SIGNATURE_DIGEST, record.signature_hash)]
            for record in records
        ],
        SIGNATURE_DIGEST,
        chain_file=TIMESTAMP_CHAIN_PART,
    )
    return BatchStamp(tuple(records), chains.result, chains.chains)


def records_to_take(limit: int, *, is_failing: bool) -> int:
    """Return how many records the next stamp may cover."""
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
