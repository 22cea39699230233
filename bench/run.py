"""How does one run of the benchmark go, from the floors to the results?"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import floors, machine, measure
from bench.neighbours import NginxPair, Postgresql, Provider
from bench.system import PAIR_ADDRESSES, PROVIDER_ADDRESS, System
from bench.workloads import MAIN
from postroad import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.workloads import Configuration, Plan

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
SCHEMA = 1
_LONG_INTERVAL = 3600.0


class Run:
    """Carries out a plan; the results are plain values for JSON."""

    def __init__(self, plan: Plan, home: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._home = home
        self._say = say
        self._costs: dict[str, list[floors.KeyCost]] = {}
        self.results: measure.Values = {}

    def carry_out(self) -> measure.Values:
        """Measure everything; raises what goes wrong."""
        plan, home = self._plan, self._home
        started = time.monotonic()
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        self.results = {
            "schema": SCHEMA,
            "version": __version__,
            "commit": commit(),
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),  # noqa: TID251
            "quick": plan.quick,
            "seconds_per_step": plan.seconds,
            "machine": machine.describe(),
            "load_before": os.getloadavg()[0],
        }
        with contextlib.ExitStack() as stack:
            provider = Provider(home, PROVIDER_ADDRESS, plan.large_bytes)
            stack.callback(provider.stop)
            postgresql = stack.enter_context(Postgresql()) if plan.needs_postgresql else None
            self._measure_floors(provider, postgresql)
            systems: list[measure.Values] = []
            self.results["systems"] = systems
            for configuration, steps in plan.systems:
                self._say(f"System: {configuration.name}")
                system = System(home, configuration, provider, postgresql, self._say)
                self._note_cost(configuration)
                with system:
                    entry: measure.Values = {
                        "name": configuration.name,
                        "configuration": dataclasses.asdict(configuration),
                    }
                    systems.append(entry)
                    if configuration == MAIN:
                        entry["idle"] = measure.memory_of(system)
                    entry["steps"] = [self._step(system, step) for step in steps]
                    if configuration == MAIN:
                        self._measure_main(system)
                self._note_cost(configuration)
            if any(configuration == MAIN for configuration, _steps in plan.systems):
                self._measure_stamping(provider, postgresql)
        self.results["floors"]["keys"] = {
            keys: measure.key_floor(costs) for keys, costs in self._costs.items()
        }
        self.results["seconds"] = time.monotonic() - started
        return self.results

    def _note_cost(self, configuration: Configuration) -> None:
        """Measure the bare crypto before and after each system: machines change their pace."""
        cost = floors.key_cost(configuration.keys)
        self._costs.setdefault(configuration.keys, []).append(cost)

    def _measure_floors(self, provider: Provider, postgresql: Postgresql | None) -> None:
        plan = self._plan
        self._say("Floors: commits, hashing, direct calls, a pair of nginx")
        pair = NginxPair(self._home, PAIR_ADDRESSES, provider, MAIN.keys)
        try:
            self.results["floors"] = {
                "commit_ms": measure.commit_floors(self._home, postgresql, plan.floor_seconds),
                "sha512_mb_per_second": floors.sha512_mb_per_second(),
                **measure.neighbour_floors(plan, provider, pair),
                "large": measure.large_floors(plan, provider, pair),
            }
        finally:
            pair.stop()

    def _step(self, system: System, step: measure.Step) -> measure.Values:
        values = measure.run_step(system, step, self._plan.seconds)
        load = values["load"]
        used = values["used"]
        self._say(
            f"  {measure.name_of(step):28} {load['per_second']:8.1f}/s  "
            f"p50 {load['p50_ms']:7.1f}  p99 {load['p99_ms']:7.1f} ms  "
            f"failed {sum(load['errors'].values())}  foreign load {used['cores_foreign']:.2f}"
        )
        return values

    def _measure_main(self, system: System) -> None:
        """What is measured with one configuration only."""
        plan = self._plan
        self._say("  one large body each way")
        self.results["large"] = {
            direction: measure.large_body(system, direction, plan.large_bytes)
            for direction in ("up", "down")
        }
        self._say(f"  {plan.slow_consumers} slow consumers")
        self.results["slow_consumers"] = measure.slow_consumers(
            system, plan.slow_consumers, plan.slow_seconds
        )
        self._say("  start to ready")
        starts = [system.measure_start() for _ in range(1 if plan.quick else 3)]
        self.results["start_s"] = statistics.median(starts)

    def _measure_stamping(self, provider: Provider, postgresql: Postgresql | None) -> None:
        plan = self._plan
        self._say(f"Stamping a backlog of {plan.stamped_records} records under load")
        configuration = dataclasses.replace(MAIN, timestamp_interval=_LONG_INTERVAL)
        with System(self._home, configuration, provider, postgresql, self._say) as system:
            self.results["stamping"] = measure.while_stamping(
                system, plan.stamped_records, plan.seconds
            )


def commit() -> str:
    """The commit that is measured, "" when nobody can tell."""
    git = shutil.which("git")
    if git is None:
        return ""
    finished = subprocess.run(
        [git, "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    return finished.stdout.strip()
