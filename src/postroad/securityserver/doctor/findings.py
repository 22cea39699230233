"""What does a check say, and how is one root cause told once?

A check ends in findings. A finding that another check's failure explains isn't told as a fault of
its own: it becomes "not judged because …", so that a dead clock isn't ten dead services.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works now; somebody should act before it doesn't."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Not judged; the finding says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check says about one thing."""

    check: str
    verdict: Verdict
    seen: str
    advice: str = ""
    """What to do; empty when nothing is to be done."""
    subject: str = ""
    """Which certificate, service or port it is about, where a check looks at several."""
    symptom_of: tuple[str, ...] = ()
    """Checks whose failure explains this one."""
    because: str = ""
    """The check that does explain it."""
    blocks: bool = True
    """Whether the checks that need this one can't be judged when it isn't well."""

    @property
    def name(self) -> str:
        """The check, and what it looked at."""
        return f"{self.check} {self.subject}" if self.subject else self.check

    @property
    def is_sick(self) -> bool:
        """Whether it stands in the way of others."""
        return self.blocks and self.verdict in {Verdict.FAILED, Verdict.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Telling:
    """Makes the findings of one check, all under its name."""

    check: str

    def ok(self, seen: str, subject: str = "") -> Finding:
        """All is well."""
        return Finding(check=self.check, verdict=Verdict.OK, seen=seen, subject=subject)

    def warning(self, seen: str, advice: str, subject: str = "") -> Finding:
        """It works, and somebody should act."""
        return Finding(
            check=self.check, verdict=Verdict.WARNING, seen=seen, advice=advice, subject=subject
        )

    def failed(
        self, seen: str, advice: str, subject: str = "", symptom_of: Sequence[str] = ()
    ) -> Finding:
        """It doesn't work, unless one of the checks in ``symptom_of`` explains that."""
        return Finding(
            check=self.check,
            verdict=Verdict.FAILED,
            seen=seen,
            advice=advice,
            subject=subject,
            symptom_of=tuple(symptom_of),
        )

    def unknown(self, seen: str, advice: str = "", subject: str = "") -> Finding:
        """Nobody can tell."""
        return Finding(
            check=self.check, verdict=Verdict.UNKNOWN, seen=seen, advice=advice, subject=subject
        )

    def not_judged(self, because: str) -> Finding:
        """Another check has to be well first."""
        return Finding(
            check=self.check,
            verdict=Verdict.UNKNOWN,
            seen=f"not judged because of {because}",
            because=because,
        )


def explain(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Tell every root cause once: what follows from another finding is not judged.

    Of two that explain each other the later one stays.
    """
    told = list(findings)
    for at, finding in enumerate(told):
        failed = {other.check for other in told if other.verdict is Verdict.FAILED}
        told[at] = _explained(finding, failed)
    return tuple(_rooted(finding, told) for finding in told)


def _explained(finding: Finding, failed: set[str]) -> Finding:
    cause = next((name for name in finding.symptom_of if name in failed), None)
    if finding.verdict is not Verdict.FAILED or cause is None or cause == finding.check:
        return finding
    return replace(
        finding,
        verdict=Verdict.UNKNOWN,
        seen=f"not judged because of {cause} ({finding.seen})",
        advice="",
        because=cause,
    )


def _rooted(finding: Finding, told: Sequence[Finding]) -> Finding:
    """Name the first cause, not the last link to it."""
    root = finding.because
    for _link in range(len(told)):
        of_root = [other for other in told if other.check == root]
        if any(other.verdict is Verdict.FAILED for other in of_root):
            break
        further = next((other.because for other in of_root if other.because), "")
        if not further:
            break
        root = further
    if root == finding.because:
        return finding
    seen = finding.seen.replace(f"because of {finding.because}", f"because of {root}", 1)
    return replace(finding, because=root, seen=seen)


def exit_code(findings: Sequence[Finding]) -> int:
    """0 when all is well, 2 when something failed, 1 for warnings and what could not be judged."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.FAILED in verdicts:
        return 2
    return 1 if verdicts & {Verdict.WARNING, Verdict.UNKNOWN} else 0
