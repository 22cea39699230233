"""`python -m bench.soak`: do the servers grow while they work for an hour?

A pair of servers under a steady load; what they hold in memory is noted ten times. The load is
GET 1 kB: an hour of larger messages at full speed would fill a hundred gigabytes with evidence.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import machine, measure, report, tools
from bench.load import run_wrk
from bench.neighbours import Provider
from bench.run import PAGE, RESULTS, ROOT, commit
from bench.system import PROVIDER_ADDRESS, SIDES, System
from bench.workloads import GET_1K, MAIN
from postroad import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = 10
CONSUMERS = 64


def soak(system: System, minutes: float, say: Callable[[str], None]) -> list[measure.Values]:
    """Memory of both servers, and what they did, after each tenth of so many minutes."""
    samples: list[measure.Values] = []
    for number in range(1, SAMPLES + 1):
        seconds = minutes * 60 / SAMPLES
        load = run_wrk(system.target("GET"), GET_1K, consumers=CONSUMERS, seconds=seconds)
        memory = measure.memory_of(system)
        samples.append({"load": measure.load_values(load), "memory": memory})
        megabytes = sum(memory[side]["proportional"] for side in SIDES.values())
        say(
            f"{number}/{SAMPLES}: {load.per_second:.0f}/s, {load.failed} failed, "
            f"both servers {megabytes:.0f} MB"
        )
    return samples


def main() -> int:
    options = _options()
    tools.require(with_postgresql=False)
    home = options.home.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    results: measure.Values = {
        "version": __version__,
        "commit": commit(),
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),  # noqa: TID251
        "machine": machine.describe(),
        "minutes": options.minutes,
        "consumers": CONSUMERS,
    }
    provider = Provider(home, PROVIDER_ADDRESS, large_bytes=1)
    try:
        with System(home, MAIN, provider, None, _say) as system:
            results["samples"] = soak(system, options.minutes, _say)
    finally:
        provider.stop()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"soak-{results['version']}-{results['at'][:10]}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    _say(f"written: {path}")
    if options.output == RESULTS:
        _say(f"written: {report.write_page(RESULTS, PAGE)}")
    return 1 if any(sum(each["load"]["errors"].values()) for each in results["samples"]) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--home", type=Path, default=ROOT / "bench-home", help="where systems live")
    parser.add_argument("--output", type=Path, default=RESULTS, help="a folder")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
