"""Which moments of an exchange do traces tell, and who may continue whose trace?

The flows note moments and never wait for anything; without an endpoint below ``[telemetry]`` a
note is an empty call, and no line of the tracing library is loaded. With it a trace tells who asked
whom for what, when, and the fault: no bodies, no paths, no texts of faults, no addresses of
services.

A context that comes in (W3C Trace Context) is continued or, as its recommendation on privacy
advises where organisations meet, restarted: then the new trace has a link to it. To another server
ours goes as a header of the transport message. Servers read from there the headers that they know
(reference: ServerProxyHandler), and nothing of it is signed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from postroad.adapters.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.settings import Settings
    from postroad.wire.headers import HeaderList

CONTEXT_HEADERS: Final = frozenset({"traceparent", "tracestate"})
_SERVICE_NAME: Final = "postroad-security-server"
_T = TypeVar("_T")


class ExchangeTrace(Protocol):
    """Notes the moments of one exchange."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty when nothing is traced."""
        ...

    def step(self, name: str) -> None:
        """A step begins, and the one before it ends."""
        ...

    def ask(self, name: str) -> HeaderList:
        """A request to another party begins; returns the headers that let it go on with the trace.

        It may last for several steps, until ``answered``.
        """
        ...

    def answered(self) -> None:
        """The other party has answered as a whole."""
        ...

    def end(self, attributes: Mapping[str, str | int], *, is_failed: bool, fault: str) -> None:
        """The exchange is over; hands the trace on."""
        ...


class NoTrace:
    """What exchanges have that aren't traced."""

    __slots__ = ()
    trace_id = ""

    def step(self, name: str) -> None:
        """Note nothing."""

    def ask(self, _name: str) -> HeaderList:
        """Pass nothing on."""
        return ()

    def answered(self) -> None:
        """Note nothing."""

    def end(self, attributes: Mapping[str, str | int], *, is_failed: bool, fault: str) -> None:
        """Note nothing."""


NO_TRACE: Final = NoTrace()


class Tracing:
    """Begins and ends the traces of one worker; no error in here reaches an exchange."""

    def __init__(self, settings: Settings, worker: int = 0) -> None:
        self._section = settings.telemetry
        self._is_on = bool(self._section.endpoint)
        if not self._is_on:
            return
        # 14 MB and a third of a second, for those who want it.
        from postroad.adapters.tracing import Tracer  # noqa: PLC0415 - only where traces are sent

        self._tracer = Tracer(
            self._section.endpoint,
            service_name=_SERVICE_NAME,
            instance=f"{settings.server_id}/worker-{worker}",
            sampling_ratio=self._section.sampling_ratio,
            queue_limit=self._section.queue_limit,
            interval=self._section.export_interval,
            timeout=self._section.export_timeout,
        )

    def begin(self, side: str, headers: HeaderList) -> ExchangeTrace:
        """Begin the trace of an exchange in which this server plays ``side``."""
        if not self._is_on:
            return NO_TRACE
        section = self._section
        policy = section.consumer_context if side == "client" else section.peer_context
        context = [(name.lower(), value) for name, value in headers]
        trace = _harmless(
            partial(
                self._tracer.begin,
                f"{side} proxy",
                [pair for pair in context if pair[0] in CONTEXT_HEADERS],
                is_trusted=policy == "trust",
            )
        )
        return trace or NO_TRACE

    def end(self, report: ExchangeReport) -> None:
        """Hand the trace of an exchange on, with the facts of its report."""
        if report.trace is NO_TRACE:
            return
        is_failed = bool(report.fault or report.unexpected or not report.status)
        attributes = _attributes(report)
        _harmless(partial(report.trace.end, attributes, is_failed=is_failed, fault=report.fault))

    async def close(self) -> None:
        """Send what is waiting, and wait for that for no longer than one export may take."""
        if self._is_on:
            await asyncio.to_thread(self._tracer.close)


def _harmless(call: Callable[[], _T]) -> _T | None:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - no message may fail for its trace
        logger("tracing").warning("exchange not traced", error=type(error).__name__)
        return None


_ATTRIBUTES: Final = {
    "side": "xroad.side",
    "client": "xroad.client",
    "service": "xroad.service",
    "query_id": "xroad.query_id",
    "request_id": "xroad.request_id",
    "peer_server": "xroad.peer_server",
    "fault": "xroad.fault",
    "detail_id": "xroad.fault_detail",
    "unexpected": "error.type",
    "method": "http.request.method",
    "status": "http.response.status_code",
    "service_status": "xroad.service_status",
    "request_bytes": "xroad.request_bytes",
    "response_bytes": "xroad.response_bytes",
}
"""What of a report goes into a trace. By the identifiers of the request, which both servers know,
traces are found that the other server could not continue."""


def _attributes(report: ExchangeReport) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for name, attribute in _ATTRIBUTES.items():
        value = getattr(report, name)
        if value:
            found[attribute] = value
    return found


def with_context(headers: HeaderList, context: HeaderList) -> HeaderList:
    """Headers for a service; a context that its consumer sent goes to it as it was signed."""
    if not context or any(name.lower() in CONTEXT_HEADERS for name, _value in headers):
        return headers
    return (*headers, *context)
