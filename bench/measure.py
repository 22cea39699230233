"""How is a plan carried out? One function per kind of measurement; all return plain values."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from bench import floors, machine
from bench.load import SlowConsumers, fetch_large, run_wrk, send_large
from bench.system import SIDES, System, per_exchange
from bench.workloads import GET_1K, Step
from postroad.demo.layout import PARTIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bench.load import Load, Target, Transfer
    from bench.neighbours import NginxPair, Postgresql, Provider
    from bench.workloads import Plan

Values = dict[str, object]
WARM_UP = 1.0
SETTLE = 0.3
"""Seconds for what was under way at the end of the warming up."""


def load_values(load: Load) -> Values:
    """What wrk said, as plain values."""
    values = asdict(load)
    values["per_second"] = load.per_second
    values["mb_per_second"] = load.mb / load.seconds
    return values


# ---- floors


def commit_floors(home: Path, postgresql: Postgresql | None, seconds: float) -> Values:
    """Milliseconds of one durable commit, by database."""
    values: Values = {"sqlite": 1e3 / floors.sqlite_commits_per_second(home, seconds=seconds)}
    if postgresql is not None:
        url = postgresql.create("floor")
        values["postgresql"] = 1e3 / floors.postgresql_commits_per_second(url, seconds=seconds)
    return values


def key_floor(keys: Iterable[floors.KeyCost]) -> Values:
    """The median of what signing and verifying cost, from several moments of the run."""
    costs = list(keys)
    sign = statistics.median(cost.sign_us for cost in costs)
    verify = statistics.median(cost.verify_us for cost in costs)
    return {"sign_us": sign, "verify_us": verify, "pair_us": sign + verify}


def neighbour_floors(plan: Plan, provider: Provider, pair: NginxPair) -> Values:
    """The same requests straight to the provider, and through two nginx."""
    direct: Values = {}
    proxied: Values = {}
    modern: Values = {}
    for step in plan.nginx_steps:
        straight = provider.get if step.workload.method == "GET" else provider.post
        direct[name_of(step)] = _plain(straight, step, plan.floor_seconds, [])
        proxied[name_of(step)] = _plain(pair.streaming, step, plan.floor_seconds, pair.pids)
        modern[name_of(step)] = _plain(pair.modern, step, plan.floor_seconds, pair.pids)
    return {"direct": direct, "nginx_pair": proxied, "nginx_pair_modern": modern}


def _plain(target: Target, step: Step, seconds: float, pids: list[int]) -> Values:
    def used() -> float:
        return sum(machine.cpu_seconds(each) for pid in pids for each in machine.process_tree(pid))

    run_wrk(target, step.workload, consumers=step.consumers, seconds=1)
    before = used()
    load = run_wrk(target, step.workload, consumers=step.consumers, seconds=seconds)
    values = load_values(load)
    if pids:
        values["cpu_us"] = (used() - before) / max(1, load.requests) * 1e6
    return values


def large_floors(plan: Plan, provider: Provider, pair: NginxPair) -> Values:
    """MB/s of one huge body, each way."""
    size = plan.large_bytes
    return {
        "direct": {
            "up": send_large(provider.post, "/post", size).mb_per_second,
            "down": fetch_large(provider.get, "/get/large").mb_per_second,
        },
        "nginx_streaming": {
            "up": send_large(pair.streaming, "/post", size).mb_per_second,
            "down": fetch_large(pair.streaming, "/get/large").mb_per_second,
        },
        "nginx_buffered": {
            "up": send_large(pair.buffered, "/post", size).mb_per_second,
            "down": fetch_large(pair.buffered, "/get/large").mb_per_second,
        },
        "nginx_modern": {
            "up": send_large(pair.modern, "/post", size).mb_per_second,
            "down": fetch_large(pair.modern, "/get/large").mb_per_second,
        },
    }


# ---- the system


def name_of(step: Step) -> str:
    """A step's key in the results."""
    return f"{step.workload.name}@{step.consumers}{'' if step.keep_alive else ' no keep-alive'}"


@contextlib.contextmanager
def own_affinity(cores: int) -> Iterator[None]:
    """Run what we start meanwhile (wrk) on the first ``cores`` cores; 0 changes nothing."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, set(range(cores)))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run_step(system: System, step: Step, seconds: float) -> Values:
    """Measure one workload at one number of consumers."""
    target = system.target(step.workload.method)
    arguments = {"consumers": step.consumers, "keep_alive": step.keep_alive}
    with own_affinity(system.configuration.cores):
        run_wrk(target, step.workload, seconds=WARM_UP, **arguments)
        time.sleep(SETTLE)
        before, own_before = system.usage(), time.process_time()
        started = time.monotonic()
        with _Midway(seconds / 2, system) as midway:
            load = run_wrk(target, step.workload, seconds=seconds, **arguments)
        wall = time.monotonic() - started
        own = time.process_time() - own_before
        used = per_exchange(system.usage().since(before), load, wall, own)
    system.check()
    return {
        "workload": step.workload.name,
        "consumers": step.consumers,
        "keep_alive": step.keep_alive,
        "load": load_values(load),
        "used": {**asdict(used), "all_us": used.all_us},
        "memory": midway.memory,
    }


class _Midway:
    """Measures the memory of both servers once, in the middle of a load."""

    def __init__(self, delay: float, system: System) -> None:
        self._timer = threading.Timer(delay, self._look)
        self._system = system
        self.memory: Values = {}

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def _look(self) -> None:
        self.memory = memory_of(self._system)


def memory_of(system: System) -> Values:
    """Memory of both servers now, in all and by process."""
    values: Values = {}
    for party, side in SIDES.items():
        children = system.children(party)
        values[side] = asdict(machine.memory(children.values())) | {
            "processes": {name: asdict(machine.memory([pid])) for name, pid in children.items()}
        }
    return values


def large_body(system: System, direction: str, size: int) -> Values:
    """One huge body: how fast, and how much memory it takes on each side."""
    before = {party: machine.memory(system.pids(party)) for party in PARTIES}
    usage, own = system.usage(), time.process_time()
    with contextlib.ExitStack() as stack:
        watches = {
            party: stack.enter_context(machine.MemoryWatch(lambda party=party: system.pids(party)))
            for party in PARTIES
        }
        transfer = _transfer(system, direction, size)
    system.check()
    used = system.usage().since(usage)
    megabytes = size / 1e6
    return {
        "bytes": transfer.bytes,
        "status": transfer.status,
        "seconds": transfer.seconds,
        "mb_per_second": transfer.mb_per_second,
        "client_cpu_s": time.process_time() - own,
        "cpu_ms_per_mb": {
            side: sum(s for (where, _kind), s in used.cpu_s.items() if where == side)
            / megabytes
            * 1e3
            for side in SIDES.values()
        },
        "written_bytes_per_byte": {side: used.written[side] / size for side in SIDES.values()},
        "memory_added_mb": {
            SIDES[party]: {
                "resident": watches[party].highest.resident - before[party].resident,
                "proportional": watches[party].highest.proportional - before[party].proportional,
            }
            for party in PARTIES
        },
    }


def _transfer(system: System, direction: str, size: int) -> Transfer:
    if direction == "up":
        return send_large(system.target("POST"), "/post", size)
    return fetch_large(system.target("GET"), "/get/large")


def slow_consumers(system: System, count: int, seconds: float) -> Values:
    """Memory that many slow consumers take."""
    slow = SlowConsumers(system.target("GET"), system.target("POST"), "/get/1m", "/post", 1_000_000)
    before = {party: machine.memory(system.pids(party)) for party in PARTIES}
    watches = {
        party: machine.MemoryWatch(lambda party=party: system.pids(party)) for party in PARTIES
    }

    def look() -> None:
        for watch in watches.values():
            watch.look()

    alive = slow.hold(count, seconds, look)
    return {
        "consumers": count,
        "still_open": alive,
        "memory_added_mb": {
            SIDES[party]: {
                "resident": watch.highest.resident - before[party].resident,
                "proportional": watch.highest.proportional - before[party].proportional,
            }
            for party, watch in watches.items()
        },
    }


def while_stamping(system: System, records: int, seconds: float) -> Values:
    """Latency at 64 consumers while a backlog of ``records`` is time-stamped on both sides.

    The system must have a long interval between time-stamps: the backlog is what a few seconds of
    load leave. Restarting the background processes makes them stamp at once.
    """
    target = system.target("GET")
    run_wrk(target, GET_1K, consumers=64, seconds=WARM_UP)
    until = time.monotonic() + 180
    while min(waiting(system).values()) < records and time.monotonic() < until:
        run_wrk(target, GET_1K, consumers=64, seconds=2)
    backlog = waiting(system)
    timer = threading.Timer(1.0, lambda: [system.restart_background(each) for each in PARTIES])
    timer.start()
    load = run_wrk(target, GET_1K, consumers=64, seconds=max(seconds, 3))
    timer.join()
    return {"backlog": backlog, "left": waiting(system), "load": load_values(load)}


def waiting(system: System) -> dict[str, int]:
    """How many records wait for a time-stamp, by side; SQLite only."""
    values = {}
    for party, side in SIDES.items():
        path = system.layout.server_home(party) / "db" / "messagelog.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            query = "SELECT count(*) FROM waiting_signature"
            values[side] = database.execute(query).fetchone()[0]
    return values
