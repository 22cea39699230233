"""How do logged messages get their time-stamps?

``TimestampingJob`` takes what waits, asks the time-stamping services in their order until one gives
a token that verifies, and stores it through the log writer in small steps, so that messages are
logged meanwhile. A crash at any point is harmless: a token that nothing refers to hurts nothing,
and records that were not reached simply wait for the next stamp.
Sources: PR-SIGDOC and BATCH-TS; reference: ``AbstractTimestampRequest``, ``TimestamperWorker``.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from postroad.crypto.ocsp import DEFAULT_SKEW
from postroad.crypto.timestamps import (
    MAX_TOKEN_BYTES,
    VerifiedTimestamp,
    build_request,
    parse_response,
    verify_token,
    with_certificate,
)
from postroad.errors import (
    ConfigurationError,
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    TrustError,
)
from postroad.evidence.xades import add_signature_timestamp
from postroad.securityserver.messagelog.records import SIGNATURE_DIGEST, logging_failed
from postroad.securityserver.messagelog.stamping_plan import (
    BatchStamp,
    PlannedStamp,
    SingleStamp,
    next_run,
    order_services,
    plan_batch,
    plan_single,
    signatures_to_take,
    stamping_interval,
)
from postroad.securityserver.messagelog.stop_rule import (
    MAX_REASON,
    STATE_NAME,
    ServiceStatus,
    TimestampingState,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import HttpFetcher
    from postroad.securityserver.messagelog.reading import LogReader, PendingSignature

T = TypeVar("T")

REQUEST_TIMEOUT_S: Final = 60.0
APPLY_CHUNK: Final = 500
"""Signatures marked as stamped in one transaction; messages wait for one such step at most."""
CLOCK_REMARK: Final = timedelta(seconds=15)
"""A stamp further from our own time is worth a remark: one of the two clocks is wrong."""
CLOCK_TOLERANCE: Final = DEFAULT_SKEW
"""A stamp further from our own time is refused: OCSP responses are judged at the stamp's time, so
it could make the records it covers unverifiable for ever."""
LOOK_AGAIN: Final = timedelta(seconds=5)
"""When to look again for a configuration that isn't there yet."""
_REQUEST_TYPE: Final = (("Content-Type", "application/timestamp-query"),)


class StampStore(Protocol):
    """Where time-stamps go: the log writer (``LogClient``)."""

    async def insert_timestamp(
        self, token: bytes, hash_chain_result: bytes, leaves: bytes, *, at: datetime
    ) -> int:
        """Store a batch's time-stamp with the digests it joins, and return its record id."""
        ...

    async def apply_timestamps(
        self, timestamp_id: int, first_leaf: int, signature_ids: Sequence[int]
    ) -> int:
        """Mark signatures as stamped, from a leaf on; return how many were still waiting."""
        ...

    async def apply_single(
        self,
        signature_id: int,
        signature_hash: bytes,
        *,
        signature: bytes,
        token: bytes,
        at: datetime,
    ) -> bool:
        """Store a signature's own time-stamp; False if it wasn't waiting for it any more."""
        ...

    async def set_state(self, name: str, value: bytes) -> None:
        """Keep a named value in the log's database."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StampingRules:
    """What the settings say about time-stamping."""

    interval: float | None = None
    """Seconds; may only shorten the global configuration's interval."""
    retry_delay: float = 60.0
    records_limit: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StampingReport:
    """How one run went."""

    stamped: int
    """Signatures; those of one batch signature count as one."""
    next_in: float
    """Seconds until the next run is due."""
    state: TimestampingState
    error: PostroadError | None = None


class TimestampingJob:
    """Stamps what waits in the message log; one run at a time."""

    def __init__(
        self,
        *,
        reader: LogReader,
        log: StampStore,
        fetcher: HttpFetcher,
        configuration: Callable[[], Awaitable[GlobalConfiguration]],
        services: Callable[[], Sequence[str]],
        clock: Clock,
        rules: StampingRules,
    ) -> None:
        self._reader = reader
        self._log = log
        self._fetcher = fetcher
        self._configuration = configuration
        self._services = services
        self._clock = clock
        self._rules = rules
        self._one_at_a_time = asyncio.Lock()

    async def run_once(self) -> StampingReport:
        """Stamp up to ``records_limit`` signatures, and report to the log writer how it went.

        Raises ``ConfigurationError`` if the log can't be read or written.
        """
        async with self._one_at_a_time:
            before = TimestampingState.parse(await self._read(lambda log: log.state(STATE_NAME)))
            urls = order_services(self._services())
            round_ = await self._round(before, urls)
            after = self._state_after(before, urls, round_)
            if after != before:
                await self._log.set_state(STATE_NAME, after.encode())
            rest = next_run(
                timedelta(seconds=after.interval),
                is_failing=after.failing_since is not None,
                more_waiting=round_.more_waiting,
                retry_delay=timedelta(seconds=self._rules.retry_delay),
            )
            if not urls or round_.configuration_error is not None:
                rest = min(rest, LOOK_AGAIN)
            return StampingReport(
                stamped=round_.stamped,
                next_in=rest.total_seconds(),
                state=after,
                error=round_.configuration_error or round_.error,
            )

    async def stamp_now(self, record_ids: Sequence[int]) -> None:
        """Stamp certain records without waiting for the next run.

        Raises ``ConfigurationError`` (``timestamping_failed``) if no service gave a time-stamp.
        """
        async with self._one_at_a_time:
            pending = await self._read(lambda log: log.pending_among(record_ids))
            if not pending:
                return
            urls = order_services(self._services())
            if not urls:
                raise ConfigurationError(
                    "no time-stamping service is configured",
                    code=FaultCode.MLOG_NO_TIMESTAMPING_PROVIDER_FOUND,
                )
            try:
                await self._stamp(pending, urls, await self._configuration())
            except _NobodyStamped as failure:
                raise ConfigurationError(
                    f"the records can't be time-stamped now: {failure.last.message}",
                    code=FaultCode.TIMESTAMPING_FAILED,
                ) from failure

    async def _round(self, before: TimestampingState, urls: Sequence[str]) -> _Round:
        """Stamp once, and say how it went instead of raising."""
        interval = timedelta(seconds=before.interval)
        if not urls:
            return _Round(interval)
        try:
            globalconf = await self._configuration()
            interval = stamping_interval(globalconf.timestamping_interval, self._rules.interval)
        except PostroadError as error:
            return _Round(interval, services=before.services, configuration_error=error)
        limit = signatures_to_take(
            self._rules.records_limit, is_failing=before.failing_since is not None
        )
        pending = await self._read(lambda log: log.pending(limit))
        if not pending:
            return _Round(interval, services=before.services)
        try:
            stamped, services = await self._stamp(pending, urls, globalconf)
        except _NobodyStamped as failure:
            return _Round(interval, services=failure.statuses, error=failure.last)
        except PostroadError as error:
            return _Round(interval, services=before.services, error=error)
        # After a failure there is one signature per stamp, and the next may follow at once.
        return _Round(
            interval, stamped, services, more_waiting=stamped > 0 and len(pending) == limit
        )

    def _state_after(
        self, before: TimestampingState, urls: Sequence[str], round_: _Round
    ) -> TimestampingState:
        now = self._clock.now()
        failing_since: datetime | None
        if round_.error is not None:
            failing_since = before.failing_since or now
        elif round_.configuration_error is not None:
            failing_since = before.failing_since
        else:
            failing_since = None
        return TimestampingState(
            configured=bool(urls),
            failing_since=failing_since,
            last_success=now if round_.stamped else before.last_success,
            interval=round_.interval.total_seconds(),
            services=tuple(status for status in round_.services if status.url in urls),
        )

    async def _stamp(
        self,
        pending: Sequence[PendingSignature],
        urls: Sequence[str],
        globalconf: GlobalConfiguration,
    ) -> tuple[int, tuple[ServiceStatus, ...]]:
        plan = await self._plan(pending)
        token, statuses = await self._ask(plan.data, urls, globalconf)
        match plan:
            case SingleStamp():
                return await self._apply_single(plan, token), statuses
            case BatchStamp():
                return await self._apply_batch(plan, token), statuses

    async def _plan(self, pending: Sequence[PendingSignature]) -> PlannedStamp:
        if len(pending) > 1:
            return await asyncio.to_thread(plan_batch, pending)
        alone = pending[0]
        signature = await self._read(lambda log: log.signature(alone.id))
        if signature is not None and SIGNATURE_DIGEST.digest(signature) == alone.signature_hash:
            with contextlib.suppress(MalformedInput):
                return plan_single(alone, signature)
        # Failing would make this one an obstacle to all others, which wait behind it.
        return plan_batch([alone])

    async def _ask(
        self, data: bytes, urls: Sequence[str], globalconf: GlobalConfiguration
    ) -> tuple[bytes, tuple[ServiceStatus, ...]]:
        """Return the first token that verifies, and how the services asked for it did."""
        statuses: list[ServiceStatus] = []
        last: PostroadError | None = None
        for url in urls:
            try:
                token, verified = await self._fetch(url, data, globalconf)
            except PostroadError as error:
                last = error
                statuses.append(self._status(url, error.fault_code, error.message))
            else:
                remark = _remark(verified, self._clock.now())
                statuses.append(self._status(url, "", remark))
                return token, tuple(statuses)
        raise _NobodyStamped(
            last or logging_failed("no time-stamping service is configured"), tuple(statuses)
        )

    async def _fetch(
        self, url: str, data: bytes, globalconf: GlobalConfiguration
    ) -> tuple[bytes, VerifiedTimestamp]:
        imprint = SIGNATURE_DIGEST.digest(data)
        asked = self._clock.now()
        response = await self._fetcher.fetch(
            "POST",
            url,
            headers=_REQUEST_TYPE,
            body=build_request(imprint, SIGNATURE_DIGEST),
            timeout=REQUEST_TIMEOUT_S,
            max_body=MAX_TOKEN_BYTES,
        )
        if response.status != 200:
            raise RefusedRequest(
                f"the time-stamping service answered with HTTP status {response.status}",
                code=FaultCode.MLOG_TIMESTAMPING_NON_OK_RESPONSE,
            )
        token = parse_response(response.body, imprint=imprint, algorithm=SIGNATURE_DIGEST)
        verified = verify_token(token, data, globalconf.tsa_certificates())
        now = self._clock.now()
        if not asked - CLOCK_TOLERANCE <= verified.gen_time <= now + CLOCK_TOLERANCE:
            raise TrustError(
                f"the stamp is refused: {_clocks(verified, now)}",
                code=FaultCode.MLOG_TIMESTAMP_RESPONSE_VALIDATION_FAILED,
            )
        return with_certificate(token, verified.tsa), verified

    async def _apply_single(self, plan: SingleStamp, token: bytes) -> int:
        applied = await self._log.apply_single(
            plan.pending.id,
            plan.pending.signature_hash,
            signature=add_signature_timestamp(plan.signature, token),
            token=token,
            at=self._clock.now(),
        )
        return int(applied)

    async def _apply_batch(self, plan: BatchStamp, token: bytes) -> int:
        at = self._clock.now()
        timestamp_id = await self._log.insert_timestamp(token, plan.data, plan.leaves, at=at)
        applied = 0
        for start in range(0, len(plan.signature_ids), APPLY_CHUNK):
            chunk = plan.signature_ids[start : start + APPLY_CHUNK]
            applied += await self._log.apply_timestamps(timestamp_id, start, chunk)
        return applied

    async def _read(self, question: Callable[[LogReader], T]) -> T:
        return await asyncio.to_thread(question, self._reader)

    def _status(self, url: str, code: str, message: str) -> ServiceStatus:
        return ServiceStatus(
            url=url,
            ok=not code,
            at=self._clock.now(),
            code=code,
            message=message[:MAX_REASON],
        )


@dataclass(frozen=True, slots=True)
class _Round:
    """How one attempt went, whatever happened."""

    interval: timedelta
    stamped: int = 0
    services: tuple[ServiceStatus, ...] = ()
    more_waiting: bool = False
    error: PostroadError | None = None
    """Why nothing could be stamped."""
    configuration_error: PostroadError | None = None
    """Why nothing was tried: there is no valid global configuration."""


class _NobodyStamped(Exception):
    """No service gave a time-stamp; carries the last one's error and how all of them did."""

    def __init__(self, last: PostroadError, statuses: tuple[ServiceStatus, ...]) -> None:
        super().__init__(last.message)
        self.last = last
        self.statuses = statuses


def _remark(verified: VerifiedTimestamp, now: datetime) -> str:
    remarks = list(verified.warnings)
    if abs(verified.gen_time - now) > CLOCK_REMARK:
        remarks.append(_clocks(verified, now))
    return "; ".join(remarks)


def _clocks(verified: VerifiedTimestamp, now: datetime) -> str:
    return f"its clock says {verified.gen_time.isoformat()}, ours {now.isoformat()}"
