"""`python -m bench`: measure, write the results, say what was met."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from pathlib import Path

from bench import report, tools
from bench.run import PAGE, RESULTS, ROOT, Run
from bench.workloads import full_plan, quick_plan
from postroad.errors import PostroadError


def main() -> int:
    options = _options()
    plan = quick_plan(options.seconds or 1) if options.quick else full_plan(options.seconds or 10)
    systems = tuple(each for each in plan.systems if options.only in each[0].name)
    plan = dataclasses.replace(plan, systems=systems)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tools.require(with_postgresql=plan.needs_postgresql)
        results = Run(plan, options.home.absolute(), _say).carry_out()
    except (tools.MissingTools, PostroadError, TimeoutError) as error:
        print(f"\n✘ {error}", file=sys.stderr)
        return 1
    is_whole = not (options.quick or options.only)
    folder = options.output or (RESULTS if is_whole else options.home)
    name = f"{results['version']}-{str(results['at'])[:10]}{'' if is_whole else '-part'}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    for path in report.write(results, folder / name):
        print(f"written: {path}")
    if is_whole and not options.output:
        print(f"written: {report.write_page(RESULTS, PAGE)}")
    print(report.summary(results))
    failed = report.failures(results)
    if failed:
        print(f"✘ {failed} exchanges failed", file=sys.stderr)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than two minutes, no records")
    parser.add_argument("--seconds", type=float, help="of each measurement (10; quick: 1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="systems with this in the name")
    parser.add_argument("--home", type=Path, default=ROOT / "bench-home", help="where systems live")
    parser.add_argument("--output", type=Path, help="folder for the results (bench/results)")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
