"""What was sent, delivered and acknowledged, and does it stand, verified, in both logs?

The counting rule: every message acknowledged to a consumer exists, verified, in both logs; every
message delivered to the provider exists, verified, in the provider side's log; what was delivered
is exactly what a consumer sent, once.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from postroad.adapters.files import read_tree
from postroad.errors import PostroadError
from postroad.evidence.container_verification import verify_container
from postroad.globalconf.stored import load
from postroad.identifiers import ClientId, MemberId
from postroad.securityserver.messagelog.export import build_container
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import Direction

_CONFIGURATION_BYTES = 64 * 1024 * 1024
_PORTION = 200
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class SideLog:
    """One server's message log and what is needed to judge it."""

    name: str
    database: str
    globalconf: Path
    party: ClientId
    signers: dict[Direction, MemberId]
    """Who must have signed requests and responses."""


@dataclass(slots=True)
class Count:
    """What one check of the ledger found."""

    sent: int = 0
    acknowledged: int = 0
    delivered: int = 0
    refused: int = 0
    containers: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Count what another check found, too."""
        self.sent += other.sent
        self.acknowledged += other.acknowledged
        self.delivered += other.delivered
        self.refused += other.refused
        self.containers += other.containers
        self.problems += other.problems


class Ledger:
    """Both ends' view of every message; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, bytes] = {}
        self._delivered: list[tuple[str, bytes]] = []
        self._acknowledged: list[str] = []
        self._refused: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._checked = Count()

    def sending(self, query_id: str, body: bytes) -> None:
        """A consumer is about to send a message."""
        with self._lock:
            self._sent[query_id] = hashlib.sha256(body).digest()

    def acknowledged(self, query_id: str, digest: str) -> None:
        """A consumer got the provider's answer, which says what the provider received."""
        with self._lock:
            self._acknowledged.append(query_id)
            if bytes.fromhex(digest) != self._sent[query_id]:
                self._wrong.append(f"{query_id}: the answer belongs to another message")

    def refused(self, reason: str) -> None:
        """A consumer got a fault, or no answer."""
        with self._lock:
            self._refused[reason] += 1

    def wrong(self, what: str) -> None:
        """A consumer got an answer that must not be."""
        with self._lock:
            self._wrong.append(what)

    def delivered(self, query_id: str, body: bytes) -> None:
        """The provider was called."""
        with self._lock:
            self._delivered.append((query_id, hashlib.sha256(body).digest()))

    @property
    def deliveries(self) -> int:
        with self._lock:
            return len(self._delivered)

    @property
    def acknowledgements(self) -> int:
        with self._lock:
            return len(self._acknowledged)

    def refusals(self) -> Counter[str]:
        with self._lock:
            return Counter(self._refused)

    def check(self, consumer: SideLog, provider: SideLog) -> Count:
        """Judge everything since the last check against both logs (all of it stamped by now)."""
        with self._lock:
            before = self._checked
            acknowledged = self._acknowledged[before.acknowledged :]
            delivered = self._delivered[before.delivered :]
            problems, self._wrong = self._wrong, []
            sent = dict(self._sent)
            self._checked = Count(
                sent=len(sent),
                acknowledged=len(self._acknowledged),
                delivered=len(self._delivered),
                refused=self._refused.total(),
            )
            times = Counter(query_id for query_id, _ in self._delivered)
        for query_id, digest in delivered:
            if query_id not in sent:
                problems.append(f"{query_id!r} was delivered, but nobody sent it")
            elif digest != sent[query_id]:
                problems.append(f"{query_id} was delivered with another body")
            elif times[query_id] > 1:
                problems.append(f"{query_id} was delivered {times[query_id]} times")
        answered = set(acknowledged)
        both = frozenset(Direction)
        wanted_here = dict.fromkeys(acknowledged, both)
        wanted_there = {
            query_id: both if query_id in answered else frozenset({Direction.REQUEST})
            for query_id in [*(query_id for query_id, _ in delivered), *acknowledged]
        }
        containers = 0
        for side, wanted in ((consumer, wanted_here), (provider, wanted_there)):
            found, wrong = _verify_all(side, wanted)
            containers += found
            problems += wrong
        return Count(
            sent=self._checked.sent - before.sent,
            acknowledged=len(acknowledged),
            delivered=len(delivered),
            refused=self._checked.refused - before.refused,
            containers=containers,
            problems=problems,
        )


Wanted = dict[str, frozenset[Direction]]


def _verify_all(side: SideLog, wanted: Wanted) -> tuple[int, list[str]]:
    """Verify the records of many messages, on two cores; containers seen, and what is wrong."""
    items = list(wanted.items())
    portions = [dict(items[at : at + _PORTION]) for at in range(0, len(items), _PORTION)]
    if not portions:
        return 0, []
    containers = 0
    problems: list[str] = []
    with ProcessPoolExecutor(2) as pool:
        for found, wrong in pool.map(_verify_portion, [side] * len(portions), portions):
            containers += found
            problems += wrong
    return containers, problems


def _verify_portion(side: SideLog, wanted: Wanted) -> tuple[int, list[str]]:
    globalconf = load(read_tree(side.globalconf, _CONFIGURATION_BYTES))
    reader = LogReader.open(side.database)
    containers = 0
    problems: list[str] = []
    try:
        for query_id, directions in wanted.items():
            seen: Counter[Direction] = Counter()
            for found in reader.find(query_id, side.party):
                where = f"{query_id} {found.direction.name.lower()} in the {side.name}'s log"
                record = reader.load(found.id)
                if record is None:
                    problems.append(f"{where} vanished")
                    continue
                try:
                    report = verify_container(build_container(record), globalconf)
                except PostroadError as error:
                    problems.append(f"{where}: {error.fault_code}: {error.message}")
                    continue
                containers += 1
                seen[found.direction] += 1
                if report.signature.signer.member != side.signers[found.direction]:
                    problems.append(f"{where} is signed by {report.signature.signer}")
            problems += [
                f"{query_id}: no {direction.name.lower()} in the {side.name}'s log"
                for direction in directions
                if not seen[direction]
            ]
    finally:
        reader.close()
    return containers, problems
