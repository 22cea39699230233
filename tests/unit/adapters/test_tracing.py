from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from postroad.adapters.tracing import Trace, Tracer

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def tracer() -> Iterator[Tracer]:
    made = Tracer(
        "http://127.0.0.1:9/v1/traces",
        service_name="test",
        instance="test",
        sampling_ratio=0.0,
        queue_limit=16,
        interval=60.0,
        timeout=0.1,
    )
    yield made
    made.close()


def begin(tracer: Tracer, *context: tuple[str, str], is_trusted: bool = True) -> Trace:
    return tracer.begin("client proxy", context, is_trusted=is_trusted)


def test_a_trusted_context_is_continued_and_an_untrusted_one_is_not(tracer: Tracer) -> None:
    assert begin(tracer, ("traceparent", PARENT)).trace_id == TRACE_ID
    assert begin(tracer, ("traceparent", PARENT), is_trusted=False).trace_id != TRACE_ID


@pytest.mark.parametrize(
    "context",
    [
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("traceparent", PARENT.upper())],
        [("traceparent", PARENT.replace(TRACE_ID, "0" * 32))],
        [("traceparent", "ff" + PARENT[2:])],
        [("traceparent", PARENT + "-more")],
        [("traceparent", "x" * 100_000)],
        [("tracestate", "vendor=1")],
    ],
)
def test_a_context_that_is_not_well_formed_counts_as_none(
    tracer: Tracer, context: list[tuple[str, str]]
) -> None:
    trace = begin(tracer, *context)
    assert trace.trace_id != TRACE_ID
    assert len(dict(trace.ask("peer"))) == 1


@pytest.mark.parametrize("state", ["a=" + "b" * 100_000, "x\x00=\n", "a=1,a=2", "=" * 400])
def test_a_state_that_is_too_large_or_not_well_formed_goes_no_further(
    tracer: Tracer, state: str
) -> None:
    trace = begin(tracer, ("traceparent", PARENT), ("tracestate", state))
    assert trace.trace_id == TRACE_ID
    assert set(dict(trace.ask("peer"))) == {"traceparent"}


def test_what_callers_send_is_not_quoted_in_any_log(
    tracer: Tracer, capfd: pytest.CaptureFixture[str]
) -> None:
    begin(tracer, ("traceparent", PARENT), ("tracestate", "canary-71;forged line"))
    told = capfd.readouterr()
    assert "canary" not in told.out + told.err


def test_lost_traces_are_told_once_a_minute(
    tracer: Tracer, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        logging.getLogger("opentelemetry.exporter.otlp").error("no answer %d", number)
    told = capfd.readouterr()
    assert (told.out + told.err).count("traces are lost") == 1


def test_the_context_for_another_party_names_the_span_of_asking_it(tracer: Tracer) -> None:
    trace = begin(tracer, ("traceparent", PARENT), ("tracestate", "vendor=1"))
    first = dict(trace.ask("peer"))
    trace.answered()
    assert first["traceparent"].split("-")[1] == TRACE_ID
    assert first["traceparent"].split("-")[2] != PARENT.split("-")[2]
    assert first["tracestate"] == "vendor=1"
