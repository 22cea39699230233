from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.exchange_report import ExchangeReport
from postroad.securityserver.exchange_trace import NO_TRACE, Tracing, with_context
from postroad.securityserver.settings import parse_settings

SERVER = '[server]\nidentifier = "TEST/COM/1/SS1"\n'
OURS = (("traceparent", "00-ours"),)


def test_without_a_section_nothing_is_traced_and_no_tracing_library_is_loaded() -> None:
    program = f"""
import sys
from pathlib import Path
from postroad.securityserver import app, worker
from postroad.securityserver.exchange_trace import NO_TRACE, Tracing
from postroad.securityserver.settings import parse_settings
settings = parse_settings({SERVER!r}, home=Path("/nowhere"))
assert Tracing(settings).begin("client", (("traceparent", "00-x"),)) is NO_TRACE
assert app._worker_modules(settings) == ("postroad.securityserver.worker",)
print([name for name in sys.modules if name.startswith(("opentelemetry", "google", "requests"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_workers_share_the_tracing_library_where_traces_are_wanted() -> None:
    from postroad.securityserver import app

    text = SERVER + '[telemetry]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n'
    settings = parse_settings(text, home=Path("/nowhere"))
    assert "postroad.adapters.tracing" in app._worker_modules(settings)


@pytest.mark.parametrize(
    "line",
    [
        'endpoint = "collector:4318"',
        'endpoint = "https://user:password@collector/v1/traces"',
        'endpoint = "file:///etc/passwd"',
        'endpoint = "http://c/"\nsampling_ratio = 1.5',
        'endpoint = "http://c/"\npeer_context = "believe"',
        'endpoint = "http://c/"\nqueue_limit = 0',
    ],
)
def test_a_section_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_settings(f"{SERVER}[telemetry]\n{line}\n", home=Path("/nowhere"))


def test_a_service_gets_our_context_unless_the_consumer_sent_one() -> None:
    plain = (("Accept", "*/*"),)
    assert with_context(plain, OURS) == (*plain, *OURS)
    assert with_context(plain, ()) is plain
    for own in (("Traceparent", "00-theirs"), ("TRACESTATE", "vendor=1")):
        assert with_context((*plain, own), OURS) == (*plain, own)


def test_an_error_while_tracing_reaches_no_exchange(capsys: pytest.CaptureFixture[str]) -> None:
    text = SERVER + '[telemetry]\nendpoint = "http://127.0.0.1:9/v1/traces"\n'
    tracing = Tracing(parse_settings(text, home=Path("/nowhere")))

    class Broken:
        trace_id = ""

        def begin(self, *args: object, **more: object) -> object:
            raise OSError("broken")

        end = begin

    tracing._tracer.close()
    tracing._tracer = Broken()  # a tracer that fails
    assert tracing.begin("client", ()) is NO_TRACE
    tracing.end(ExchangeReport(side="client", trace=Broken()))  # as above


def test_a_report_s_line_tells_the_trace_and_nothing_else_of_it() -> None:
    report = ExchangeReport(side="client", trace_id="ab" * 16)
    assert report.line() == {"side": "client", "trace_id": "ab" * 16}
