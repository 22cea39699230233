"""One root cause is told once, whatever it brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.doctor.examination import Check, examine
from postroad.securityserver.doctor.findings import Finding, Telling, Verdict, exit_code, explain
from postroad.securityserver.doctor.patient import Patient
from postroad.securityserver.doctor.table import CHECKS

NOBODY = cast("Patient", SimpleNamespace())


def failed(check: str, *symptom_of: str) -> Finding:
    return Telling(check).failed("seen", "advice", symptom_of=symptom_of)


def verdicts(findings: Sequence[Finding]) -> dict[str, tuple[str, str]]:
    return {each.check: (each.verdict.value, each.because) for each in findings}


def test_a_symptom_is_not_judged_because_of_its_cause() -> None:
    told = verdicts(explain([failed("a"), failed("b", "a"), failed("c")]))
    assert told == {"a": ("failed", ""), "b": ("unknown", "a"), "c": ("failed", "")}


def test_a_symptom_stays_when_its_cause_is_well() -> None:
    told = verdicts(explain([Telling("a").ok("seen"), failed("b", "a")]))
    assert told["b"] == ("failed", "")


def test_the_first_cause_is_named_not_the_last_link() -> None:
    findings = explain(
        [failed("b", "c"), Telling("a").not_judged("b"), failed("d", "b"), failed("c")]
    )
    assert verdicts(findings)["a"] == ("unknown", "c")
    assert "because of c" in findings[1].seen


def test_two_that_explain_each_other_are_not_both_explained_away() -> None:
    told = verdicts(explain([failed("a", "b"), failed("b", "a")]))
    assert told == {"a": ("unknown", "b"), "b": ("failed", "")}


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([Telling("a").ok("")], 0),
        ([Telling("a").ok(""), Telling("b").warning("", "")], 1),
        ([Telling("a").unknown("")], 1),
        ([Telling("a").warning("", ""), failed("b")], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


def answering(check: str, *needs: str, verdict: str = "ok") -> Check:
    async def answer(_patient: Patient) -> Sequence[Finding]:
        return [Finding(check=check, verdict=Verdict(verdict), seen="seen")]

    return Check(check, answer, needs)


def test_a_check_is_not_made_when_one_it_needs_is_not_well() -> None:
    checks = (answering("a", verdict="failed"), answering("b", "a"), answering("c", "b"))
    told = verdicts(asyncio.run(examine(NOBODY, checks)))
    assert told == {"a": ("failed", ""), "b": ("unknown", "a"), "c": ("unknown", "a")}


def test_a_check_that_breaks_or_never_ends_is_told_and_hides_no_other() -> None:
    async def refused(_patient: Patient) -> Sequence[Finding]:
        raise ConfigurationError("no")

    async def broken(_patient: Patient) -> Sequence[Finding]:
        raise ZeroDivisionError

    async def endless(_patient: Patient) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return ()

    checks = (
        Check("refused", refused),
        Check("broken", broken),
        Check("endless", endless),
        answering("well"),
    )
    told = verdicts(asyncio.run(examine(NOBODY, checks, seconds=0.05)))
    assert told == {
        "refused": ("unknown", ""),
        "broken": ("unknown", ""),
        "endless": ("unknown", ""),
        "well": ("ok", ""),
    }


def test_every_check_stands_after_those_it_needs() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check.name
        seen.add(check.name)
    assert len(seen) == len(CHECKS)
