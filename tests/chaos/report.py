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


def write(
    folder: Path,
    stamp: str,
    machine: dict[str, object],
    results: list[Result],
    *,
    arguments: dict[str, object],
) -> tuple[Path, Path]:
    """Write both files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"chaos-{stamp}.json"
    table = folder / f"chaos-{stamp}.md"
    document = {
        "machine": machine,
        "arguments": arguments,
        "totals": totals(results),
        "scenarios": [asdict(result) for result in results],
    }
    data.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    table.write_text(render(machine, results, arguments))
    return data, table


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


def render(machine: dict[str, object], results: list[Result], arguments: dict[str, object]) -> str:
    """The table."""
    lines = ["# Fault suite", ""]
    lines += [f"- {name}: {value}" for name, value in {**machine, **arguments}.items()]
    lines += ["", "| scenario | outcome | acknowledged | delivered | refused | found |"]
    lines += ["|---|---|---:|---:|---:|---|"]
    for result in results:
        count = result.count
        facts = "; ".join(f"{name} {_short(value)}" for name, value in result.facts.items())
        found = " ".join(filter(None, (result.reason, facts))).replace("|", "/")
        lines.append(
            f"| {result.name} | {result.outcome} | {count.acknowledged} | {count.delivered} "
            f"| {count.refused} | {found} |"
        )
    lines += ["", "Totals: " + ", ".join(f"{k} {v}" for k, v in totals(results).items()) + ".", ""]
    return "\n".join(lines)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_short(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "none"
    return str(value)
