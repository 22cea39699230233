from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console

from postroad.cli.verify_report import Verdict, _duration, as_json, renderables, visible
from postroad.errors import FaultCode, TrustError
from postroad.evidence.container_verification import verify_container
from support.signing import REST_REQUEST, Bench


def shown(verdict: Verdict) -> str:
    out = io.StringIO()
    console = Console(file=out, width=200)
    for renderable in renderables(verdict):
        console.print(renderable)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain õ 漢", "plain õ 漢"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("line\nfeed\r", "line\\nfeed\\r"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_a_strangers_text_cannot_steer_the_terminal(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_markup_in_a_strangers_text_is_just_text() -> None:
    error = TrustError("[bold green]✔ VALID[/]\x1b[2J", code=FaultCode.INVALID_SIGNATURE_VALUE)
    text = shown(Verdict("[red]x[/red]\n.asice", error=error))
    assert "[bold green]✔ VALID[/]\\x1b[2J" in text
    assert "[red]x[/red]\\n.asice" in text
    assert "\x1b" not in text


def test_query_identifier_is_shown_visibly() -> None:
    bench = Bench.create()
    message = REST_REQUEST.replace(b"x-road-id:q-1", "x-road-id:q\u202e1".encode())
    report = verify_container(bench.container(message=message, batch=True), bench.globalconf)
    text = shown(Verdict("x.asice", report=report, extracted="out/x"))
    assert "q\\u202e1" in text
    assert "batch signature over a hash chain" in text
    assert "out/x" in text
    assert as_json(Verdict("x", report=report, extracted="o"))["extracted_to"] == "o"


def test_report_does_without_a_signing_time() -> None:
    from dataclasses import replace

    from msgspec.structs import replace as replace_in_struct

    bench = Bench.create()
    report = verify_container(bench.container(), bench.globalconf)
    silent = replace(report, signature=replace_in_struct(report.signature, signing_time=None))
    assert "Signed at" not in shown(Verdict("x", report=silent))
    gaps = as_json(Verdict("x", report=silent))["gaps"]
    assert isinstance(gaps, dict)
    assert gaps["signing_to_timestamp_seconds"] is None


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (timedelta(seconds=-1), "-1.0 s"),
        (timedelta(seconds=90), "90.0 s"),
        (timedelta(minutes=5), "5.0 min"),
        (timedelta(hours=26), "26.0 h"),
    ],
)
def test_gaps_are_told_in_a_fitting_unit(gap: timedelta, text: str) -> None:
    assert _duration(gap) == text


def test_says_what_could_not_be_judged() -> None:
    verdict = Verdict("x", problem="it is gone")
    assert verdict.word == "unknown"
    assert "it is gone" in shown(verdict)
    assert as_json(verdict) == {"file": "x", "verdict": "unknown", "problem": "it is gone"}
