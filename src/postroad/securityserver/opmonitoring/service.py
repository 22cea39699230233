"""What does the background process do with observations, and what does it answer for them?

It completes and stores them, one batch a transaction, and answers questions of the workers'
monitoring services. Whoever asks has been found allowed to by the worker. Reference:
OpMonitorDaemonRequestHandler, OperationalDataRecordManager.
"""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import msgspec

from postroad.adapters.ipc import IpcServer
from postroad.adapters.logs import logger
from postroad.adapters.network_interfaces import internal_address
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, PostroadError
from postroad.identifiers import client_id
from postroad.messages.soap_monitoring import health_content
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.opmonitoring import protocol
from postroad.securityserver.opmonitoring.completing import Completing
from postroad.securityserver.opmonitoring.health_statistics import HealthStatistics
from postroad.securityserver.opmonitoring.record import json_fields
from postroad.securityserver.opmonitoring.store import OperationalStore
from postroad.securityserver.serverconf.snapshot import SnapshotFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from postroad.clock import Clock
    from postroad.identifiers import ClientId
    from postroad.securityserver.globalconf_files import CurrentConfiguration
    from postroad.securityserver.opmonitoring.record import Observation, OperationalRecord
    from postroad.securityserver.settings import Settings

_T = TypeVar("_T")
Answer: TypeAlias = "Callable[[bytes], Awaitable[object]]"
"""Answers a call by its argument."""

CHECKPOINT_RECORDS: Final = 2000
"""Records after which the write-ahead log is moved to the database's file."""
ADDRESS_SECONDS: Final = 600.0
"""How long the address of this machine is believed (reference: IP_RESOLUTION_CACHE_DURATION)."""
MAX_QUESTIONS: Final = 16
"""Questions that are answered or wait for it: every client may ask."""
DAY: Final = 86_400


class WorkerStates:
    """What the proxy workers have last said of themselves."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[float, protocol.WorkerState]] = {}

    def note(self, state: protocol.WorkerState) -> None:
        """A worker said something."""
        self._states[state.index] = (monotonic(), state)

    def lately(self, seconds: float) -> list[protocol.WorkerState]:
        """The workers that have said something within so many seconds."""
        since = monotonic() - seconds
        return [state for heard, state in self._states.values() if heard >= since]


class MonitoringService:
    """Operational monitoring as the background process has it."""

    def __init__(  # noqa: PLR0917 - what it asks, and who hears of it
        self,
        settings: Settings,
        configuration: CurrentConfiguration,
        clock: Clock,
        workers: WorkerStates,
        others: Mapping[str, Answer] | None = None,
        count: Callable[[list[Observation]], None] | None = None,
    ) -> None:
        """``others`` are answered on the same socket; ``count`` sees every observation once."""
        self._settings = settings
        self._section = settings.monitoring
        self._configuration = configuration
        self._clock = clock
        self._workers = workers
        self._count = count
        self._serverconf = SnapshotFile(settings.snapshot_path)
        self._store = OperationalStore(settings.opmonitoring_url)
        self._reading_store = OperationalStore(settings.opmonitoring_url, read_only=True)
        # One thread a connection: a long answer holds up neither the loop nor what is stored.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opmonitoring")
        self._reading_thread = ThreadPoolExecutor(1, thread_name_prefix="opmonitoring-reading")
        self._questions = 0
        self._address = ""
        self._address_until = 0.0
        self._unmoved = 0
        self._health = HealthStatistics(
            started=int(clock.now().timestamp() * 1000),
            period=self._section.health_statistics_period,
        )
        self._log = logger("opmonitoring")
        self._methods: dict[str, Answer] = {
            **(others or {}),
            protocol.STORE: self._take,
            protocol.QUERY: self._answer,
            protocol.HEALTH: self._tell_health,
        }
        self._server = IpcServer(settings.monitoring_socket, self._handle)

    async def start(self) -> None:
        """Answer on the socket; a database that can't be used now may be usable later."""
        with suppress(ConfigurationError):
            await self._in_thread(self._store.prepare)
        await self._server.start()

    async def stop(self) -> None:
        """Answer no more, and close the database."""
        await self._server.stop()
        self._thread.shutdown()
        self._reading_thread.shutdown()
        self._store.close()
        self._reading_store.close()

    async def clean(self) -> Outcome:
        """A job: remove records that are too old."""
        keep = round(self._section.keep_records_for * DAY)
        removed = await self._in_thread(self._remove, self._now() - keep)
        return Outcome(self._section.clean_interval, {"removed": removed})

    def _remove(self, before: int) -> int:
        removed = self._store.remove_before(before)
        self._store.checkpoint()
        return removed

    async def _handle(self, method: str, argument: bytes) -> object:
        try:
            answer = self._methods[method]
        except KeyError:
            raise ConfigurationError(f"monitoring has no method {method!r}") from None
        try:
            return await answer(argument)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedInput(
                f"the argument of {method} can't be read: {error}", code=FaultCode.INTERNAL_ERROR
            ) from error

    # ---- storing

    async def _take(self, argument: bytes) -> None:
        batch = msgspec.msgpack.decode(argument, type=protocol.StoreArgument)
        self._workers.note(batch.worker)
        if batch.observations:
            completing = await self._completing()
            refused = await self._in_thread(self._add, completing, batch.observations)
            if self._count is not None:
                self._count(batch.observations)
            if refused:
                self._log.warning("the database refused records", records=refused)

    async def _completing(self) -> Completing:
        try:
            globalconf = await self._configuration.get()
        except PostroadError:
            globalconf = None  # an outdated configuration is a reason to look at records, too
        with suppress(PostroadError):
            await asyncio.to_thread(self._serverconf.refresh)
        now = asyncio.get_running_loop().time()
        if now >= self._address_until:
            self._address = await asyncio.to_thread(internal_address)
            self._address_until = now + ADDRESS_SECONDS
        own = self._settings.server_id
        return Completing(own, globalconf, self._serverconf.view, self._address)

    def _add(self, completing: Completing, observations: list[Observation]) -> int:
        records: list[OperationalRecord] = [completing.complete(each) for each in observations]
        now = self._now()
        refused = self._store.add(records, now)
        for record in records:  # once they are stored: what isn't comes again
            self._health.note(record, now)
        self._unmoved += len(records)
        if self._unmoved >= CHECKPOINT_RECORDS:
            self._unmoved = 0
            self._store.checkpoint()
        return refused

    # ---- answering

    async def _answer(self, argument: bytes) -> protocol.QueryResult:
        question = msgspec.msgpack.decode(argument, type=protocol.QueryArgument)
        if self._questions >= MAX_QUESTIONS:
            raise ConfigurationError("too many questions for monitoring data at a time")
        self._questions += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._reading_thread, self._find, question)
        except ConfigurationError as error:
            self._log.warning("no answer from the database", why=error.message)
            raise ConfigurationError("failed to get records for the response") from error
        finally:
            self._questions -= 1

    def _find(self, question: protocol.QueryArgument) -> protocol.QueryResult:
        page = self._reading_store.find(question, self._section.max_records_in_payload)
        columns = page.columns
        if question.columns:  # the time of storing is told only to who asked for it
            columns = tuple(column for column in columns if column in question.columns)
        records = [json_fields(columns, row[: len(columns)]) for row in page.rows]
        payload = gzip.compress(msgspec.json.encode({"records": records}), compresslevel=6)
        return protocol.QueryResult(len(records), payload, page.next_from)

    async def _tell_health(self, argument: bytes) -> str:
        parts = msgspec.msgpack.decode(argument, type=tuple[str, ...])
        provider = client_id(*parts) if parts else None
        return await self._in_thread(self._health_of, provider)

    def _health_of(self, provider: ClientId | None) -> str:
        services = self._health.of_provider(provider, self._now())
        return health_content(self._health.started, self._health.period, services)

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
