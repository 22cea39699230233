"""What is one proxy worker process made of, and how does it start and end?

Several workers share the ports; each judges by its own snapshots of configuration, keys and OCSP
responses. What the proxies are made of is in ``worker_parts``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from typing import TYPE_CHECKING, Final

import uvloop

from postroad.adapters import machine
from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_server import HttpServer
from postroad.adapters.kernel import forbid_memory_dumps, keep_freed_memory
from postroad.adapters.log_client import LogClient
from postroad.adapters.logs import FrequentLog, configure_logging, logger
from postroad.adapters.random_ids import new_uuid
from postroad.adapters.tls import information_system_context
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, PostroadError, UnavailablePeer
from postroad.messages.faults import PROVIDER_SIDE, encode_soap_fault, fault_of
from postroad.securityserver.client_proxy import (
    REST_PREFIX,
    refuse_consumer,
    serve_consumer,
)
from postroad.securityserver.exchange_report import ExchangeReport
from postroad.securityserver.exchange_trace import Tracing
from postroad.securityserver.messagelog.stamping_job import build_stamping
from postroad.securityserver.ocsp_responder import OcspResponder
from postroad.securityserver.opmonitoring import protocol as monitoring
from postroad.securityserver.opmonitoring.collecting import ObservationBuffer
from postroad.securityserver.other_requests import is_other, serve_other
from postroad.securityserver.server_proxy import serve_peer
from postroad.securityserver.settings import load_settings
from postroad.securityserver.settings_reload import reloaded
from postroad.securityserver.worker_parts import WorkerParts, peer_client_limits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.adapters.http_server import Listener
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import MessageLogPort, SignerPort
    from postroad.securityserver.messagelog.timestamping import TimestampingJob
    from postroad.securityserver.settings import Settings

DRAIN_SECONDS: Final = 30.0
"""How long running exchanges may take to finish after SIGTERM."""
LOOK_INTERVAL: Final = 1.0
GC_THRESHOLDS: Final = (20_000, 20, 5)
TROUBLED_LOOK_INTERVAL: Final = 0.1
"""Seconds until the next look while something is missing, as at every start."""
KEY_INTERVAL: Final = 5.0
"""Seconds between two looks at files, and at the authentication key."""


class Worker:
    """One proxy worker: the client proxy, the server proxy and the OCSP port."""

    def __init__(
        self,
        settings: Settings,
        index: int,
        *,
        signer: SignerPort | None = None,
        message_log: MessageLogPort | None = None,
    ) -> None:
        self.settings = settings
        self.index = index
        self.parts = WorkerParts(settings, signer=signer, message_log=message_log)
        self.clock = self.parts.clock
        self.snapshots = self.parts.snapshots
        self.log = logger("worker")
        self.access_log = FrequentLog("exchange", "exchange")
        self.tracing = Tracing(settings, index)
        self._known_certificates: frozenset[bytes] = frozenset()
        self._stamping: TimestampingJob | None = None
        self._https: Listener | None = None
        self._peer_port: Listener | None = None
        self.client_server = HttpServer(
            self._serve_consumer,
            _client_limits(settings),
            on_failure=self._failed,
        )
        self.peer_server = HttpServer(
            self._serve_peer,
            _peer_limits(settings),
            on_failure=self._failed,
        )
        self.ocsp_server = HttpServer(OcspResponder(self._find_ocsp), on_failure=self._failed)
        self.observations = self._make_buffer()
        self.client_proxy = self.parts.make_client_proxy(settings)
        self.server_proxy = self.parts.make_server_proxy(settings)

    def _make_buffer(self) -> ObservationBuffer:
        section = self.settings.monitoring

        async def send(batch: monitoring.StoreArgument) -> None:
            await self.parts.monitoring.call(monitoring.STORE, batch, type(None))

        return ObservationBuffer(
            send,
            self._state,
            self.clock,
            size=section.buffer_size,
            batch=section.max_records_in_message,
            interval=section.sending_interval,
        )

    def _state(self) -> monitoring.WorkerState:
        return monitoring.WorkerState(
            self.index,
            os.getpid(),
            self.client_server.connections + self.peer_server.connections,
            self.client_proxy.signer.waiting + self.server_proxy.signer.waiting,
            machine.open_files(),
            self.observations.dropped,
        )

    # ---- life

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let running exchanges finish."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self.start()
        self.log.info("worker started", worker=self.index)
        try:
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(self._keep_looking())
                sending = tasks.create_task(self.observations.run())
                await stop.wait()
                await self.stop()
                looking.cancel()
                sending.cancel()
            await self.observations.send_all()
        finally:
            self.close()
            self.log.info("worker stopped", worker=self.index)

    def reload(self) -> None:
        """Read the settings again; running exchanges end with those they began with.

        Settings that can't be read change nothing. Keys, certificates, rights and the global
        configuration need no signal: they are followed all the time.
        """
        try:
            read = load_settings(self.settings.home_path)
        except PostroadError as error:
            self.log.warning("settings not changed", why=error.message)
            return
        self.settings, waiting = reloaded(self.settings, read)
        self.client_proxy = self.parts.make_client_proxy(self.settings)
        self.server_proxy = self.parts.make_server_proxy(self.settings)
        self.client_server.limits = _client_limits(self.settings)
        self.peer_server.limits = _peer_limits(self.settings)
        self.parts.peers.limits = peer_client_limits(self.settings)
        self.log.info("settings read again", want_restart=list(waiting))

    async def start(self) -> None:
        """Open the ports that aren't 0; that for peers waits until the signer has lent the key."""
        for path in (self.settings.spool_path, self.settings.ocsp_path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.snapshots.refresh()
        client, server = self.settings.client_proxy, self.settings.server_proxy
        if client.http_port:
            await self.client_server.listen(client.host, client.http_port)
        if client.https_port:
            self._https = await self.client_server.listen(
                client.host, client.https_port, tls=self._consumer_context()
            )
        if server.ocsp_port:
            await self.ocsp_server.listen(server.ocsp_host, server.ocsp_port)
        await self._look_at_authentication_key()

    async def stop(self) -> None:
        """Accept nothing new, let running exchanges finish: consumers' first, then peers'."""
        await asyncio.gather(
            self.client_server.drain(DRAIN_SECONDS),
            self.peer_server.drain(DRAIN_SECONDS),
            self.ocsp_server.drain(DRAIN_SECONDS),
        )
        await self.tracing.close()

    def close(self) -> None:
        """Cut what is left."""
        self.parts.close()

    async def _keep_looking(self) -> None:
        """Follow changes of configuration, keys and certificates."""
        loop = asyncio.get_running_loop()
        next_key_look = 0.0
        problems: dict[str, str] = {}
        while True:
            troubled = self.snapshots.problems or self._peer_port is None
            await asyncio.sleep(TROUBLED_LOOK_INTERVAL if troubled else LOOK_INTERVAL)
            await self.snapshots.refresh()
            if loop.time() >= next_key_look or self._peer_port is None:
                next_key_look = loop.time() + KEY_INTERVAL
                await self._look_at_authentication_key()
            self._follow_consumer_certificates()
            found = {what: error.message for what, error in self.snapshots.problems.items()}
            if found and found != problems:
                self.log.warning("problems", **found)
            elif found != problems:
                self.log.info("all problems are solved")
            if found != problems:
                problems = found

    async def _look_at_authentication_key(self) -> None:
        try:
            authorities = self.snapshots.current().globalconf.ca_certificates()
            changed = await self.parts.auth_key.refresh(authorities)
        except PostroadError as error:
            self.snapshots.problems["authentication key"] = error
            return
        self.snapshots.problems.pop("authentication key", None)
        context = self.parts.auth_key.server_context
        section = self.settings.server_proxy
        if context is None or not section.port:
            return
        if self._peer_port is None:
            self._peer_port = await self.peer_server.listen(section.host, section.port, tls=context)
            self.log.info("server port open", port=self._peer_port.port)
        elif changed:
            self._peer_port.switch_tls(context)

    def _consumer_context(self) -> ssl.SSLContext:
        return information_system_context(
            self.parts.internal.key_pem,
            self.parts.internal.chain_pem,
            [*self._known_certificates, self.parts.internal.certificate.der],
        )

    def _follow_consumer_certificates(self) -> None:
        """Let the HTTPS port know every registered certificate of information systems."""
        try:
            clients = self.snapshots.current().serverconf.clients
        except PostroadError:
            return
        known = frozenset(der for client in clients for der in client.certificates)
        if known != self._known_certificates and self._https is not None:
            self._known_certificates = known
            self._https.switch_tls(self._consumer_context())

    # ---- requests

    async def _stamp_now(self, record_ids: Sequence[int]) -> None:
        """Time-stamp log records at once, beside the background process that does it in time."""
        if not isinstance(self.parts.message_log, LogClient):
            raise ConfigurationError("the log can't be stamped", code=FaultCode.TIMESTAMPING_FAILED)

        async def configuration() -> GlobalConfiguration:
            return self.snapshots.current().globalconf

        if self._stamping is None:
            self._stamping = build_stamping(
                self.settings,
                log=self.parts.message_log,
                fetcher=self.parts.services,
                configuration=configuration,
                clock=self.clock,
            )
        await self._stamping.stamp_now(record_ids)

    def _find_ocsp(self, certificate_hash: bytes) -> bytes | None:
        """The OCSP response of one of our authentication certificates, by SHA-1 or SHA-256.

        Not of the one in use alone: while a new certificate takes over, peers ask for what another
        worker, or this one a moment ago, has shown them.
        """
        for certificate in self._authentication_certificates():
            if certificate_hash in {certificate.sha1, certificate.sha256}:
                return self.snapshots.ocsp.responses.get(certificate.sha1)
        return None

    def _authentication_certificates(self) -> Iterator[Certificate]:
        yield self.parts.auth_key.certificate
        try:
            keys = self.snapshots.current().keys
        except PostroadError:
            return
        for key in keys:
            if key.usage == "AUTHENTICATION" and key.active:
                yield Certificate.from_der(key.der)

    async def _serve_consumer(self, request: Request, responder: Responder) -> None:
        if not request.target.startswith(REST_PREFIX) and is_other(request.method, request.target):
            await serve_other(self.client_proxy, request, responder, stamp_now=self._stamp_now)
            return
        report = self._new_report("client", request)
        await self._observed(
            serve_consumer(self.client_proxy, request, responder, report),
            report,
            lambda error: refuse_consumer(self.client_proxy, request, responder, report, error),
        )

    async def _serve_peer(self, request: Request, responder: Responder) -> None:
        report = self._new_report("server", request)
        if self.settings.server_proxy.close_after_response:
            responder.keep_alive = False

        async def refuse(error: Exception) -> None:
            fault = fault_of(
                error,
                side_prefix=PROVIDER_SIDE,
                detail_id=new_uuid(),
                dialect=self.parts.dialect,
            )
            report.fault, report.message, report.detail_id = fault.code, fault.string, fault.detail
            if responder.started:
                raise error  # the server cuts the connection: half an answer is none
            content_type = ("Content-Type", "text/xml;charset=utf-8")
            await responder.respond(200, (content_type,), encode_soap_fault(fault))

        await self._observed(
            serve_peer(self.server_proxy, request, responder, report),
            report,
            refuse,
        )

    def _new_report(self, side: str, request: Request) -> ExchangeReport:
        trace = self.tracing.begin(side, request.headers)
        remote = request.peer.address
        return ExchangeReport(side=side, remote=remote, trace=trace, trace_id=trace.trace_id)

    async def _observed(
        self,
        serving: Awaitable[None],
        report: ExchangeReport,
        refuse: Callable[[Exception], Awaitable[None]],
    ) -> None:
        """Await one exchange and write its line to the access log, whatever happens."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await serving
        except UnavailablePeer as error:
            report.message = report.message or error.message  # the caller went away
            raise
        except Exception as error:  # noqa: BLE001 - the edge: a defect must not leave a caller alone
            self._report_defect(report, error)
            await refuse(error)
        finally:
            report.seconds = round(loop.time() - started, 6)
            self.access_log.write(report.line())
            self.observations.take(report)
            self.tracing.end(report)

    def _report_defect(self, report: ExchangeReport, error: Exception) -> None:
        report.unexpected = type(error).__name__
        self.log.error("unexpected error", request_id=report.request_id, exc_info=error)

    def _failed(self, request: Request, error: Exception) -> None:
        self.log.debug("request failed", target=request.target[:200], error=str(error))


def _client_limits(settings: Settings) -> ServerLimits:
    """What information systems may ask of a worker."""
    return ServerLimits(max_connections_per_address=settings.client_proxy.connections_per_address)


def _peer_limits(settings: Settings) -> ServerLimits:
    """What other servers may ask of it."""
    section = settings.server_proxy
    return ServerLimits(
        max_connections_per_address=section.connections_per_address,
        idle_timeout=section.idle_timeout,
    )


def run_worker(settings: Settings, index: int) -> None:
    """Run one proxy worker in this process until it is told to stop."""
    configure_logging(process=f"worker-{index}", style=settings.server.log_format)

    async def main() -> None:
        await Worker(settings, index).run()

    forbid_memory_dumps()  # the authentication key is in our memory
    keep_freed_memory()
    # What is here now stays: the collector need not look at it, and messages make few cycles.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main())
