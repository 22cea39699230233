"""What must be reached, and was it? Every target of the project with the figure measured.

A figure is a ratio wherever that is possible; a target whose measurement is missing in the results
says so instead of passing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Results = dict[str, Any]
Step = dict[str, Any]
SIDES = ("consumer", "provider")
ENOUGH = 200
"""Exchanges that a figure per exchange needs; those under way at the end are not counted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what is asked for, what was measured, and how it follows."""

    area: str
    what: str
    limit: float
    measured: float | None
    unit: str
    at_most: bool = True
    how: str = ""
    """The figures behind the one that is judged."""

    @property
    def is_met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    @property
    def mark(self) -> str:
        return {True: "met", False: "**missed**", None: "not measured"}[self.is_met]

    @property
    def asked(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}{self.unit}"

    @property
    def found(self) -> str:
        return "-" if self.measured is None else f"{self.measured:.2f}{self.unit}"


def find_step(
    results: Results,
    workload: str,
    consumers: int,
    *,
    keep_alive: bool = True,
    **configuration: Any,
) -> Step | None:
    """The step of the first system with this configuration (defaults: the main one)."""
    wanted = {
        "keys": "RSA-2048",
        "database": "sqlite",
        "batching": True,
        "workers": 1,
        "cores": 0,
    } | configuration
    for system in results["systems"]:
        if any(system["configuration"][name] != value for name, value in wanted.items()):
            continue
        for step in system["steps"]:
            key = (step["workload"], step["consumers"], step["keep_alive"])
            if key == (workload, consumers, keep_alive):
                return dict(step)
    return None


def cpu_ratio(results: Results, step: Step | None, keys: str) -> tuple[float | None, str]:
    """A server's CPU per exchange in units of one signature and one verification."""
    if step is None:
        return None, ""
    if step["load"]["requests"] < ENOUGH:
        return None, f"only {step['load']['requests']} exchanges were made"
    bare = results["floors"]["keys"][keys]["pair_us"]
    used = {side: sum(step["used"]["cpu_us"][side].values()) for side in SIDES}
    parts = ", ".join(
        f"{kind} {us:.0f}"
        for kind, us in sorted(
            step["used"]["cpu_us"]["provider"].items(), key=lambda item: -item[1]
        )
        if us >= 1
    )
    how = (
        f"consumer's server {used['consumer']:.0f} µs, provider's {used['provider']:.0f} µs "
        f"({parts}); bare {bare:.0f} µs"
    )
    return max(used.values()) / bare, how


def verdicts(results: Results) -> list[Verdict]:
    """Judge all targets."""
    return [
        verdict
        for judge in (_cpu, _throughput, _latency, _large_bodies, _memory, _start)
        for verdict in judge(results)
    ]


def _cpu(results: Results) -> Iterator[Verdict]:
    for keys, database, batching, limit in (
        ("RSA-2048", "sqlite", True, 2.0),
        ("RSA-2048", "postgresql", True, 2.0),
        ("RSA-2048", "sqlite", False, 3.0),
        ("EC-P256", "sqlite", True, 4.5),
        ("EC-P256", "postgresql", True, 4.5),
    ):
        step = find_step(results, "get-1k", 64, keys=keys, database=database, batching=batching)
        measured, how = cpu_ratio(results, step, keys)
        title = f"GET 1 kB, 64 consumers: {keys}, {database}{'' if batching else ', no batches'}"
        yield Verdict("CPU", title, limit, measured, " x", how=how)


def _throughput(results: Results) -> Iterator[Verdict]:
    pinned = find_step(results, "get-1k", 64, workers=2, cores=2)
    step = pinned or find_step(results, "get-1k", 64)
    measured, how = None, ""
    if step is not None and step["load"]["requests"] >= ENOUGH:
        used, machine_cores = step["used"], results["machine"]["cores"]
        cores = 2 if pinned else machine_cores
        foreign = used["cores_foreign"] if cores == machine_cores else 0.0
        allowed = (cores - foreign) * 1e6 / used["all_us"]
        rate = step["load"]["requests"] / used["wall_s"]
        measured = rate / allowed * 100
        how = (
            f"{rate:.0f}/s of {allowed:.0f}/s that {used['all_us']:.0f} µs for everything (load "
            f"generator and provider too) allow on {cores} cores, less {foreign:.2f} foreign"
        )
    what = "64 consumers, of what the CPU allows"
    yield Verdict("Throughput", what, 85, measured, " %", at_most=False, how=how)
    one = find_step(results, "get-1k", 64, workers=1, cores=1)
    two = find_step(results, "get-1k", 64, workers=2, cores=2)
    measured, how = None, ""
    if one is not None and two is not None:
        measured = two["load"]["per_second"] / one["load"]["per_second"]
        how = f"{one['load']['per_second']:.0f}/s and {two['load']['per_second']:.0f}/s"
    yield Verdict(
        "Throughput",
        "two workers on two cores, against one on one",
        1.7,
        measured,
        " x",
        at_most=False,
        how=how,
    )


def _latency(results: Results) -> Iterator[Verdict]:
    step = find_step(results, "get-1k", 1)
    measured, how = None, ""
    direct = results["floors"]["direct"].get("get-1k@1")
    if step is not None and direct is not None:
        key = results["floors"]["keys"]["RSA-2048"]
        commit = results["floors"]["commit_ms"]["sqlite"]
        serial = direct["p50_ms"] + 2 * key["pair_us"] / 1e3 + 4 * commit
        measured = step["load"]["p50_ms"] / serial
        how = (
            f"p50 {step['load']['p50_ms']:.2f} ms; serial {serial:.2f} ms = direct call "
            f"{direct['p50_ms']:.2f} + 2 x (sign and verify) {key['pair_us'] / 1e3:.2f} "
            f"+ 4 x commit {commit:.2f}"
        )
    yield Verdict(
        "Latency", "p50 at one consumer, of its serial steps", 2.0, measured, " x", how=how
    )
    for what, load in (
        ("p99 of p50 at 64 consumers", (find_step(results, "get-1k", 64) or {}).get("load")),
        ("the same while a backlog is stamped", results.get("stamping", {}).get("load")),
    ):
        measured, how = None, ""
        if load is not None and load["p50_ms"]:
            measured = load["p99_ms"] / load["p50_ms"]
            how = f"p50 {load['p50_ms']:.1f} ms, p99 {load['p99_ms']:.1f} ms"
            if "stamped" in what:
                backlog, left = results["stamping"]["backlog"], results["stamping"]["left"]
                how += f"; waiting before {min(backlog.values())}, after {max(left.values())}"
        yield Verdict("Latency", what, 5.0, measured, " x", how=how)


def _large_bodies(results: Results) -> Iterator[Verdict]:
    pair, modern = (results["floors"][name] for name in ("nginx_pair", "nginx_pair_modern"))
    for workload, title in (("get-10m", "10 MB down"), ("post-10m", "10 MB up")):
        step, floor = find_step(results, workload, 4), pair.get(f"{workload}@4")
        measured, how = None, ""
        if step is not None and floor is not None:
            ours, theirs = (each["per_second"] * 10 for each in (step["load"], floor))
            measured = ours / theirs * 100
            faster = modern[f"{workload}@4"]["per_second"] * 10
            how = (
                f"{ours:.0f} MB/s, nginx {theirs:.0f} MB/s, 4 at once; "
                f"nginx with the suite it prefers {faster:.0f}"
            )
        yield Verdict(
            "Large bodies",
            f"{title}, of the nginx pair",
            50,
            measured,
            " %",
            at_most=False,
            how=how,
        )
    large = results.get("large", {})
    floors = results["floors"]["large"]
    for direction in ("down", "up"):
        measured, how = None, ""
        if direction in large:
            ours, theirs = large[direction]["mb_per_second"], floors["nginx_streaming"][direction]
            measured = ours / theirs * 100
            how = (
                f"{ours:.0f} MB/s; nginx streaming {theirs:.0f}, "
                f"nginx buffering {floors['nginx_buffered'][direction]:.0f}; "
                f"nginx with the suite it prefers {floors['nginx_modern'][direction]:.0f}"
            )
        size = large.get(direction, {}).get("bytes", 1_000_000_000) / 1e6
        title = f"{size:.0f} MB {direction}, of the nginx pair"
        yield Verdict("Large bodies", title, 50, measured, " %", at_most=False, how=how)


def _memory(results: Results) -> Iterator[Verdict]:
    main = next((system for system in results["systems"] if "idle" in system), None)
    measured, how = None, ""
    if main is not None:
        worst = max((main["idle"][side] for side in SIDES), key=lambda one: one["proportional"])
        measured = worst["proportional"]
        how = (
            f"every page counted once; {worst['resident']:.0f} MB if pages that processes share "
            "count for each of them"
        )
    yield Verdict("Memory", "a Security Server at rest", 150, measured, " MB", how=how)
    added: list[tuple[str, float, Callable[[], dict[str, Any] | None]]] = [
        ("one large body down adds", 64, lambda: results.get("large", {}).get("down")),
        ("one large body up adds", 64, lambda: results.get("large", {}).get("up")),
        ("slow consumers add", 100, lambda: results.get("slow_consumers")),
    ]
    for what, limit, get in added:
        values = get()
        measured, how = None, ""
        if values is not None:
            by_side = {side: values["memory_added_mb"][side]["proportional"] for side in SIDES}
            measured = max(by_side.values())
            how = ", ".join(f"{side}'s server {mb:.0f} MB" for side, mb in by_side.items())
            if "consumers" in values:
                how += f"; {values['still_open']} of {values['consumers']} stayed to the end"
        yield Verdict("Memory", what, limit, measured, " MB", how=how)
    soak = results.get("soak")
    measured, how = None, "run `python -m bench.soak`"
    if soak is not None:
        sizes = [
            sum(sample["memory"][side]["proportional"] for side in SIDES)
            for sample in soak["samples"]
        ]
        measured = (sizes[-1] / sizes[1] - 1) * 100
        hourly = sum(sample["load"]["requests"] for sample in soak["samples"])
        how = (
            f"both servers in {soak['minutes']:.0f} minutes: "
            + ", ".join(f"{size:.0f}" for size in sizes)
            + f" MB; {hourly} exchanges ({soak['commit']}, {soak['at'][:10]})"
        )
    yield Verdict("Memory", "growth under load", 3, measured, " %", how=how)


def _start(results: Results) -> Iterator[Verdict]:
    how = "from the start of the process to its first exchange"
    yield Verdict("Start", "start to ready", 3.0, results.get("start_s"), " s", how=how)
