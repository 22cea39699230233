"""What a scenario found, and how a run is written down: JSON for machines, a table for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos.ledger import Count


class ChaosFailure(AssertionError):
    """The system didn't do what it must."""


class Skipped(Exception):
    """This machine can't show it; says why."""


def require(holds: object, what: str) -> None:
    """Raise ``ChaosFailure`` unless it holds."""
    if not holds:
        raise ChaosFailure(what)


@dataclass(slots=True)
class Result:
    """One scenario."""

    name: str
    what: str
    outcome: str
    """``held``, ``failed`` or ``skipped``."""
    seconds: float = 0.0
    reason: str = ""
    facts: dict[str, object] = field(default_factory=dict)
    count: Count = field(default_factory=Count)
    spooled: int = 0
    """Bodies that lie in the servers' spools afterwards: those of killed workers, for an hour."""


@dataclass(slots=True)
class Record:
    """What a run found so far, in two files that are written anew after every scenario."""

    stem: Path
    """Both files without their endings."""
    about: dict[str, object]
    """The machine, the version, how the suite was called, and when."""
    wanted: int
    """How many scenarios there are to run; a cut run has fewer."""
    results: list[Result] = field(default_factory=list)

    def note(self, result: Result) -> tuple[Path, Path]:
        """Add what a scenario found; returns the paths of both files."""
        self.results.append(result)
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        data, table = (self.stem.parent / f"{self.stem.name}.{kind}" for kind in ("json", "md"))
        document = {
            **self.about,
            "complete": self.is_complete,
            "totals": totals(self.results),
            "scenarios": [asdict(each) for each in self.results],
        }
        data.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        table.write_text(self.render())
        return data, table

    @property
    def is_complete(self) -> bool:
        """Whether every scenario has ended."""
        return len(self.results) == self.wanted

    def render(self) -> str:
        """The table."""
        lines = ["# Fault suite", ""]
        lines += [f"- {name}: {value}" for name, value in self.about.items()]
        if not self.is_complete:
            lines += [f"- cut: {len(self.results)} of {self.wanted} scenarios ended"]
        lines += ["", "| scenario | outcome | acknowledged | delivered | refused | found |"]
        lines += ["|---|---|---:|---:|---:|---|"]
        lines += map(_row, self.results)
        counted = ", ".join(f"{name} {value}" for name, value in totals(self.results).items())
        return "\n".join([*lines, "", f"Totals: {counted}.", ""])


def totals(results: list[Result]) -> dict[str, int]:
    """Everything counted, over all scenarios."""
    return {
        "scenarios": len(results),
        "held": sum(result.outcome == "held" for result in results),
        "failed": sum(result.outcome == "failed" for result in results),
        "skipped": sum(result.outcome == "skipped" for result in results),
        "acknowledged": sum(result.count.acknowledged for result in results),
        "delivered": sum(result.count.delivered for result in results),
        "refused": sum(result.count.refused for result in results),
        "containers_verified": sum(result.count.containers for result in results),
        "lost_or_forged": sum(len(result.count.problems) for result in results),
    }


def _row(result: Result) -> str:
    count = result.count
    facts = "; ".join(f"{name} {_short(value)}" for name, value in result.facts.items())
    found = " ".join(filter(None, (result.reason, facts))).replace("|", "/").replace("\n", " ")
    return (
        f"| {result.name} | {result.outcome} | {count.acknowledged} | {count.delivered} "
        f"| {count.refused} | {found} |"
    )


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_short(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "none"
    return str(value)
