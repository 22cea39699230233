from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator

import pytest
import structlog

from postroad.adapters.logs import FrequentLog, configure_logging, logger


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(monkeypatch: pytest.MonkeyPatch, style: str, **event: object) -> str:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    configure_logging(process="worker-0", style=style)
    logger("exchange").info("exchange", **event)
    return out.getvalue()


def test_a_line_is_one_event_with_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    line = lines(monkeypatch, "text", client="A/B", seconds=0.5, fault=None, message='say "x" now')
    assert line.count("\n") == 1
    assert " info exchange " in line
    assert "client=A/B seconds=0.5 fault=None" in line
    assert 'message="say \\"x\\" now"' in line


def test_a_value_cannot_forge_another_line_or_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    line = lines(monkeypatch, "text", client="a\n2026 info forged", other="x=1 fault=none")
    assert line.count("\n") == 1
    assert 'client="a\\n2026 info forged"' in line
    assert 'other="x=1 fault=none"' in line


def test_json_lines_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    event = json.loads(lines(monkeypatch, "json", client="A/B", status=200))
    assert (event["event"], event["client"], event["status"]) == ("exchange", "A/B", 200)
    assert event["process"] == "worker-0"


@pytest.mark.parametrize("style", ["text", "json"])
def test_secrets_and_bytes_are_kept_out(monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    line = lines(monkeypatch, style, pin="canary-pin", body=b"canary-body", data=b"canary-data")
    assert "canary" not in line
    assert "[redacted]" in line
    assert "[11 bytes]" in line


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    configure_logging(process="p")
    logger("c").info("lost")


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"client": "A/B", "status": 200, "seconds": 0.25, "fault": None},
        {"message": 'say "x"\nnow', "path": "a b", "name": "üks", "warnings": ("a", "b c")},
        {"pin": "canary-pin", "client": "A/B"},
        {"event_name": "x=1", "empty": "", "yes": True},
    ],
)
def test_a_frequent_line_is_the_line_of_the_logger(
    monkeypatch: pytest.MonkeyPatch, style: str, fields: dict[str, object]
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    configure_logging(process="worker-0", style=style)
    logger("exchange").info("exchange", **fields)
    FrequentLog("exchange", "exchange").write(fields)
    slow, fast = [re.sub(r"[0-9T:.-]{19,26}Z", "TIME", line) for line in lines_of(out)]
    assert fast == slow
    assert "TIME" in fast
    assert "canary" not in fast


def lines_of(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()
