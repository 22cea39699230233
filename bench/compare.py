"""Which measurements became worse from one result to another?

``python -m bench.compare OLD.json NEW.json``; exit code 1 if something did. What is compared does
not depend on the machine's pace where that can be avoided: CPU in units of the same run's bare
signature and verification, latency in units of p50, body throughput in units of the nginx pair.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.targets import SIDES, Results, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE = 10.0
"""Per cent that a measurement may get worse before it counts: two runs never agree entirely."""


def figures(results: Results) -> Iterator[tuple[str, float, bool]]:
    """Everything worth comparing: name, value, whether less is better."""
    for verdict in verdicts(results):
        if verdict.measured is not None:
            yield f"target: {verdict.area}, {verdict.what}", verdict.measured, verdict.at_most
    for system in results["systems"]:
        bare = results["floors"]["keys"][system["configuration"]["keys"]]["pair_us"]
        for step in system["steps"]:
            kept = "" if step["keep_alive"] else ", new connections"
            name = f"{system['name']}: {step['workload']}, {step['consumers']}{kept}"
            for side in SIDES:
                used = sum(step["used"]["cpu_us"][side].values())
                yield f"{name}: CPU of the {side}'s server / bare", used / bare, True
                yield f"{name}: kB written, {side}", step["used"]["written_bytes"][side] / 1e3, True
            if step["load"]["p50_ms"]:
                ratio = step["load"]["p99_ms"] / step["load"]["p50_ms"]
                yield f"{name}: p99 / p50", ratio, True
            yield f"{name}: exchanges/s x bare", step["load"]["per_second"] * bare / 1e6, False


def compare(old: Results, new: Results, tolerance: float) -> tuple[list[str], int]:
    """Lines to show, and how many figures became worse."""
    before = {name: value for name, value, _less in figures(old)}
    lines, worse = [], 0
    for name, value, less in figures(new):
        if name not in before or not before[name]:
            continue
        change = (value / before[name] - 1) * 100
        if abs(change) <= tolerance:
            continue
        is_worse = (change > 0) == less
        worse += is_worse
        mark = "worse " if is_worse else "better"
        lines.append(f"{mark}  {name}: {before[name]:.2f} -> {value:.2f} ({change:+.0f} %)")
    return sorted(lines, reverse=True), worse


def main() -> int:
    parser = argparse.ArgumentParser(description="Show what became worse between two results.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="in per cent (10)")
    options = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
    if old["machine"] != new["machine"]:
        print("! these were measured on different machines or libraries")
    lines, worse = compare(old, new, options.tolerance)
    print("\n".join(lines) or f"nothing changed by more than {options.tolerance:g} %")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
