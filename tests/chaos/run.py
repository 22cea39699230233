"""Run the fault suite: ``make chaos`` (ARGS="--quick", ARGS="--only kill_rounds --seed 7").

Results go to bench/results/chaos-<version>-<date>.json and .md after every scenario, so that a run
that is cut leaves what it found. Exit code 1 when anything didn't hold.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.machine import describe

from chaos import databases, kills, peers, secrecy, services, storage, trust
from chaos.arena import Arena
from chaos.report import ChaosFailure, Record, Result, Skipped, totals
from postroad import __version__
from postroad.demo.layout import Layout
from postroad.errors import PostroadError

Scenario = Callable[[Arena], dict[str, object]]

RESULTS = Path(__file__).parents[2] / "bench" / "results"
SCENARIOS: tuple[Scenario, ...] = (
    *kills.SCENARIOS,
    *storage.SCENARIOS,
    *databases.SCENARIOS,
    *trust.SCENARIOS,
    *peers.SCENARIOS,
    *services.SCENARIOS,
    *secrecy.SCENARIOS,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says."""
    options = _parser().parse_args(arguments)
    if options.list:
        for scenario in SCENARIOS:
            print(f"{scenario.__name__:28}{_what(scenario)}")
        return 0
    wanted = [each for each in SCENARIOS if not options.only or each.__name__ in options.only]
    if not wanted:
        print(f"there is no scenario {options.only}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))  # so that nothing is left running
    record = _record(options, len(wanted))
    is_kept = not options.only or options.write
    with tempfile.TemporaryDirectory(prefix="postroad-chaos-", ignore_cleanup_errors=True) as home:
        place = Path(home) / "home"
        try:
            with _arena(place, options) as arena:
                for scenario in wanted:
                    result = _run(arena, scenario)
                    _tell(result)
                    if is_kept:
                        record.note(result)
                    else:
                        record.results.append(result)
        finally:
            if options.keep_logs:
                shutil.copytree(place / "log", options.keep_logs, dirs_exist_ok=True)
    counted = totals(record.results)
    print(", ".join(f"{name} {value}" for name, value in counted.items()))
    if is_kept:
        print(f"written: {record.stem}.json, .md")
    return 1 if counted["failed"] or counted["lost_or_forged"] else 0


def _arena(place: Path, options: argparse.Namespace) -> Arena:
    layout = Layout(place, options.network)
    return Arena(layout, quick=options.quick, seed=options.seed, say=_say)


def _record(options: argparse.Namespace, wanted: int) -> Record:
    mode = "quick" if options.quick else "full"
    date = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")  # noqa: TID251 - a file name
    name = f"chaos-{__version__}-{date}"
    if mode != "full" or options.only:
        name += "-part"  # the record of a whole run stays
    about = {"version": __version__, "mode": mode, "seed": options.seed, "date": date}
    return Record(options.results / name, {**about, **describe()}, wanted)


def _run(arena: Arena, scenario: Scenario) -> Result:
    """Run one scenario and judge the ledger after it, whatever happened."""
    result = Result(scenario.__name__.replace("_", " "), _what(scenario), "held")
    print(f"{result.name}: {result.what}", flush=True)
    started = time.monotonic()
    try:
        result.facts = scenario(arena)
    except Skipped as skipped:
        result.outcome, result.reason = "skipped", str(skipped)
    except (ChaosFailure, PostroadError, OSError) as failure:
        traceback.print_exc()
        result.outcome, result.reason = "failed", f"{type(failure).__name__}: {failure}"
    try:
        arena.await_works()
        result.count = arena.settle()
        result.spooled = len(arena.spooled())
    except (ChaosFailure, PostroadError) as failure:
        result.outcome, result.reason = "failed", f"{result.reason} afterwards: {failure}".strip()
    if result.count.problems:
        result.outcome = "failed"
        shown = "; ".join(result.count.problems[:5])
        result.reason = f"{result.reason} {len(result.count.problems)} messages: {shown}".strip()
    result.seconds = time.monotonic() - started
    return result


def _tell(result: Result) -> None:
    count = result.count
    print(
        f"  {result.outcome} in {result.seconds:.0f} s: {count.acknowledged} acknowledged, "
        f"{count.delivered} delivered, {count.refused} refused, {count.containers} containers "
        f"verified, {result.spooled} bodies spooled {result.reason}\n  {result.facts}",
        flush=True,
    )


def _what(scenario: Scenario) -> str:
    return (scenario.__doc__ or "").splitlines()[0]


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller forms, some minutes")
    parser.add_argument("--only", nargs="+", help="names of scenarios (see --list)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--network", default="127.79.0", help="three octets of a loopback network")
    parser.add_argument("--write", action="store_true", help="write results with --only, too")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--keep-logs", type=Path, help="copy the processes' logs to this folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
