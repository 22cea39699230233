"""How do traces reach a collector: spans by OTLP over HTTP, sent by a thread of their own.

The only module that loads the tracing library, so import it only where traces are wanted. A full
queue drops its oldest spans; a collector that is slow, broken or gone costs exchanges nothing.
Sources: W3C Trace Context, OpenTelemetry protocol 1.x.
"""

from __future__ import annotations

import logging
from threading import Thread
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from postroad import __version__
from postroad.adapters.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer as SdkTracer

_MAX_TEXT: Final = 256
"""Characters of an attribute; identifiers of consumers may be longer."""
_BATCH: Final = 256
"""Spans sent at once: encoding them holds up the worker's other threads for some milliseconds."""
_TOLD_EVERY_NS: Final = 60_000_000_000
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Tracer:
    """Begins traces, and sends to ``endpoint`` (a URL) those that are sampled."""

    def __init__(
        self,
        endpoint: str,
        *,
        service_name: str,
        instance: str,
        sampling_ratio: float,
        queue_limit: int,
        interval: float,
        timeout: float,
    ) -> None:
        _tell_troubles_rarely()
        # A sampled context that is trusted stays sampled: half a trace is of no use.
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sampling_ratio)),
            resource=Resource.create(
                {
                    "service.name": service_name,
                    "service.version": __version__,
                    "service.instance.id": instance,
                }
            ),
            span_limits=SpanLimits(max_span_attribute_length=_MAX_TEXT),
            shutdown_on_exit=False,
        )
        self._timeout = timeout
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(endpoint, timeout=timeout),
                max_queue_size=queue_limit,
                schedule_delay_millis=interval * 1000,
                max_export_batch_size=min(_BATCH, queue_limit),
            )
        )
        self._tracer = self._provider.get_tracer("postroad", __version__)

    def begin(self, name: str, context: Sequence[tuple[str, str]], *, is_trusted: bool) -> Trace:
        """Begin a trace, as the continuation of a trusted context or with a link to another one.

        ``context`` are the W3C headers, names in lower case; what isn't well-formed counts as none.
        """
        links: list[Link] = []
        parent = _parent(context)
        if parent is not None and not is_trusted:
            links, parent = [Link(get_current_span(parent).get_span_context())], None
        return Trace(self._tracer, name, parent, links)

    def close(self) -> None:
        """Send what is waiting, for one timeout at most."""
        # The library would wait for half a minute.
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(self._timeout)


class Trace:
    """The trace of one exchange. What it notes becomes spans when the exchange is over."""

    def __init__(
        self, tracer: SdkTracer, name: str, parent: Context | None, links: list[Link]
    ) -> None:
        self._began = monotonic_ns()
        self._epoch = time_ns() - self._began
        self._tracer = tracer
        self._span = tracer.start_span(
            name,
            # An empty context: what is left of others in this thread plays no role.
            context=parent or {},  # type: ignore[arg-type]  # a Context is a dict
            kind=SpanKind.SERVER,
            links=links,
            start_time=self._epoch + self._began,
        )
        self._inside = set_span_in_context(self._span, {})  # type: ignore[arg-type]  # as above
        self._asked: Span | None = None
        self._steps: list[tuple[str, int]] = [("accept", self._began)]
        self.trace_id = format_trace_id(self._span.get_span_context().trace_id)

    def step(self, name: str) -> None:
        """A step begins, and the one before it ends."""
        self._steps.append((name, monotonic_ns()))

    def ask(self, name: str) -> tuple[tuple[str, str], ...]:
        """A request to another party begins; returns the W3C headers for it."""
        self._asked = self._tracer.start_span(
            name, context=self._inside, kind=SpanKind.CLIENT, start_time=self._now()
        )
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(self._asked, {}))  # type: ignore[arg-type]  # as above
        return tuple(carrier.items())

    def answered(self) -> None:
        """The other party has answered."""
        if self._asked is not None:
            self._asked.end(self._now())
            self._asked = None

    def end(self, attributes: Mapping[str, str | int], *, is_failed: bool, fault: str) -> None:
        """Make the spans, and leave them to the thread that sends them."""
        failure = Status(StatusCode.ERROR, fault) if is_failed else None
        ended = monotonic_ns()
        if self._asked is not None:
            if failure is not None:
                self._asked.set_status(failure)
            self.answered()
        if not self._span.is_recording():
            return
        self._span.set_attributes(attributes)
        ends = [began for _name, began in self._steps[1:]] + [ended]
        span: Span = self._span
        for (name, began), end in zip(self._steps, ends, strict=True):
            span = self._tracer.start_span(
                name, context=self._inside, start_time=self._epoch + began
            )
            if failure is not None and end == ended:
                span.set_status(failure)  # the step that it failed in
            span.end(self._epoch + end)
        if failure is not None:
            self._span.set_status(failure)
        self._span.end(self._epoch + ended)

    def _now(self) -> int:
        return self._epoch + monotonic_ns()


def _parent(context: Sequence[tuple[str, str]]) -> Context | None:
    carrier: dict[str, list[str]] = {}
    for name, value in context:
        carrier.setdefault(name, []).append(value)
    if len(carrier.get("traceparent", ())) != 1:
        return None  # W3C Trace Context 3.2.1: one, or none that counts
    return _PROPAGATOR.extract(carrier, {}) or None  # type: ignore[arg-type]  # as above


class _Troubles(logging.Handler):
    """Tells what keeps spans from their collector, once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to our log, or none."""
        now = monotonic_ns()
        if self._told is None or now - self._told >= _TOLD_EVERY_NS:
            self._told = now
            logger("tracing").warning("traces are lost", reason=record.getMessage()[:200])


def _tell_troubles_rarely() -> None:
    """The library's other complaints quote what callers send, so nobody hears them."""
    library = logging.getLogger("opentelemetry")
    library.propagate = False
    library.handlers = [logging.NullHandler()]
    for name in ("opentelemetry.sdk", "opentelemetry.exporter"):
        logging.getLogger(name).handlers = [_Troubles()]
