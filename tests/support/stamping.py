"""A time-stamping job over a real store, with time-stamping services in memory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError, PostroadError, UnavailablePeer
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.view import GlobalConfiguration
from postroad.identifiers import MemberId
from postroad.ports import FetchedResponse
from postroad.securityserver.messagelog.records import Direction, InlineBody, Side
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState
from postroad.securityserver.messagelog.store import PreparedAttachment, PreparedRecord
from postroad.securityserver.messagelog.timestamping import StampingRules, TimestampingJob
from support.central_server import MovingClock
from support.messagelog import OpenLog, open_log, record
from support.signing import CLIENT, NOW, REST_REQUEST, SHA512, Bench, message_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.trustlab.authority import TrustLab

TSA = "http://tsa.test"
PRIVATE = PrivateParameters(
    "TEST",
    ManagementService("http://cs.test", MemberId("TEST", "GOV", "0")),
    timestamping_interval_seconds=300,
)


def with_private(configuration: GlobalConfiguration) -> GlobalConfiguration:
    """The configuration as a server of the instance has it: with private parameters."""
    own = replace(configuration.own, private=PRIVATE)
    return GlobalConfiguration(configuration.own_instance, [own])


@dataclass
class Services:
    """An ``HttpFetcher`` before time-stamping services; ``answers`` overrules one by its URL."""

    lab: TrustLab
    clock: MovingClock
    answers: dict[str, FetchedResponse | PostroadError | bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        assert (method, dict(headers)) == ("POST", {"Content-Type": "application/timestamp-query"})
        self.asked.append(url)
        answer = self.answers.get(url)
        if isinstance(answer, PostroadError):
            raise answer
        if isinstance(answer, FetchedResponse):
            return answer
        data = answer or self.lab.answer_timestamp(body, at=self.clock.now())
        return FetchedResponse(200, (), data)


@dataclass
class DirectLog:
    """``StampStore`` straight over the store; ``fail_after`` calls it breaks."""

    log: OpenLog
    fail_after: int = 10**9
    chunks: list[int] = field(default_factory=list)

    def _count(self) -> None:
        if self.fail_after <= 0:
            raise ConfigurationError("the log writer went away")
        self.fail_after -= 1

    async def insert_timestamp(
        self, token: bytes, hash_chain_result: bytes, leaves: bytes, *, at: datetime
    ) -> int:
        self._count()
        return self.log.store.insert_timestamp(token, hash_chain_result, leaves, at=at)

    async def apply_timestamps(
        self, timestamp_id: int, first_leaf: int, signature_ids: Sequence[int]
    ) -> int:
        self._count()
        self.chunks.append(len(signature_ids))
        return self.log.store.apply_timestamps(timestamp_id, first_leaf, signature_ids)

    async def apply_single(
        self,
        signature_id: int,
        signature_hash: bytes,
        *,
        signature: bytes,
        token: bytes,
        at: datetime,
    ) -> bool:
        self._count()
        return self.log.store.apply_single(
            signature_id, signature_hash, signature=signature, token=token, at=at
        )

    async def set_state(self, name: str, value: bytes) -> None:
        self._count()
        self.log.store.set_state(name, value)


@dataclass
class StampingBench:
    """Signed records in a log, and the job that stamps them."""

    signing: Bench
    log: OpenLog
    clock: MovingClock
    services: Services
    direct: DirectLog
    urls: list[str]
    globalconf: GlobalConfiguration | PostroadError
    rules: StampingRules = field(default_factory=StampingRules)

    def job(self) -> TimestampingJob:
        async def configuration() -> GlobalConfiguration:
            if isinstance(self.globalconf, PostroadError):
                raise self.globalconf
            return self.globalconf

        return TimestampingJob(
            reader=self.log.reader,
            log=self.direct,
            fetcher=self.services,
            configuration=configuration,
            services=lambda: self.urls,
            clock=self.clock,
            rules=self.rules,
        )

    def append(
        self,
        body: bytes | None = None,
        *,
        keep_body: bool = True,
        query_id: str = "q-1",
        direction: Direction = Direction.REQUEST,
        at: datetime = NOW,
    ) -> int:
        """Log a message with a valid signature."""
        attachments = [] if body is None else [body]
        document = self.signing.sign(message_parts(REST_REQUEST, attachments))
        logged = record(
            *(InlineBody(body) for body in attachments),
            party=CLIENT,
            query_id=query_id,
            direction=direction,
            side=Side.CLIENT,
            message=REST_REQUEST,
            signature=document.signature,
            hash_chain_result=document.hash_chain_result,
            hash_chain=document.hash_chain,
            created_at=at,
        )
        prepared = [
            PreparedAttachment(SHA512.digest(data), len(data), data if keep_body else None)
            for data in attachments
        ]
        (record_id,) = self.log.store.write([PreparedRecord(logged, tuple(prepared))])
        return record_id

    def state(self) -> TimestampingState:
        return TimestampingState.parse(self.log.store.get_state(STATE_NAME))


@contextlib.contextmanager
def stamping_bench(url: str, signing: Bench) -> Iterator[StampingBench]:
    with open_log(url) as log:
        clock = MovingClock(NOW + timedelta(seconds=30))
        yield StampingBench(
            signing,
            log,
            clock,
            Services(signing.lab, clock),
            DirectLog(log),
            [TSA],
            with_private(signing.globalconf),
        )


def unreachable(url: str = TSA) -> UnavailablePeer:
    return UnavailablePeer(f"no answer from {url}")


def sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory}/messagelog.sqlite"
