"""Which exchanges are measured, and in what systems?"""

from __future__ import annotations

from dataclasses import dataclass, field

SIZES = {
    "1k": 1_000,
    "2k": 2_000,
    "10k": 10_000,
    "100k": 100_000,
    "1m": 1_000_000,
    "2m": 2_000_000,
    "10m": 10_000_000,
}
"""Bodies that the provider serves, by name."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one kind; paths are taken as often as their weights say."""

    name: str
    title: str
    method: str
    paths: tuple[tuple[str, int], ...]
    body_bytes: int = 0


def _get(size: str) -> Workload:
    return Workload(f"get-{size}", f"GET {size}", "GET", ((f"/get/{size}", 1),))


def _post(size: str) -> Workload:
    return Workload(f"post-{size}", f"POST {size}", "POST", (("/post", 1),), SIZES[size])


GET_1K = _get("1k")
GET_10M = _get("10m")
POST_10K = _post("10k")
POST_1M = _post("1m")
POST_10M = _post("10m")
MIX = Workload(
    "mix",
    "response mix",
    "GET",
    (("/get/2k", 300), ("/get/10k", 600), ("/get/100k", 90), ("/get/2m", 9), ("/get/10m", 1)),
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What both Security Servers of a system are like."""

    keys: str = "RSA-2048"
    database: str = "sqlite"
    batching: bool = True
    workers: int = 1
    cores: int = 0
    """Cores that everything is pinned to, load generator included; 0: not pinned."""
    timestamp_interval: float = 5.0

    @property
    def name(self) -> str:
        parts = [self.keys, self.database]
        if not self.batching:
            parts.append("no batches")
        if self.cores:
            parts.append(f"{self.workers} worker on 1 core" if self.cores == 1 else "")
            parts[-1] = parts[-1] or f"{self.workers} workers on {self.cores} cores"
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement."""

    workload: Workload
    consumers: int
    keep_alive: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one run of the benchmark measures."""

    seconds: float
    systems: tuple[tuple[Configuration, tuple[Step, ...]], ...]
    large_bytes: int
    slow_consumers: int
    slow_seconds: float
    stamped_records: int
    floor_seconds: float
    quick: bool = False
    nginx_steps: tuple[Step, ...] = field(
        default=(Step(GET_1K, 1), Step(GET_1K, 64), Step(GET_10M, 4), Step(POST_10M, 4))
    )
    """What is also sent straight to the provider and through a pair of nginx."""

    @property
    def needs_postgresql(self) -> bool:
        return any(each.database == "postgresql" for each, _steps in self.systems)


MAIN = Configuration()
CONSUMERS = (1, 8, 64, 256)
_PAIR = (Step(GET_1K, 1), Step(GET_1K, 64))
_MAIN_STEPS = (
    *(Step(GET_1K, count) for count in CONSUMERS),
    Step(GET_1K, 64, keep_alive=False),
    *(Step(POST_10K, count) for count in CONSUMERS),
    Step(POST_10K, 64, keep_alive=False),
    *(Step(POST_1M, count) for count in (1, 8, 64)),
    *(Step(MIX, count) for count in CONSUMERS),
    Step(GET_10M, 4),
    Step(POST_10M, 4),
)


def full_plan(seconds: float) -> Plan:
    """Everything; about 15 minutes with 10 seconds each."""
    return Plan(
        seconds=seconds,
        systems=(
            (MAIN, _MAIN_STEPS),
            (Configuration(batching=False), _PAIR),
            (Configuration(database="postgresql"), (*_PAIR, Step(POST_10K, 64), Step(MIX, 64))),
            (Configuration(workers=1, cores=1), (Step(GET_1K, 64),)),
            (Configuration(workers=2, cores=2), (Step(GET_1K, 64),)),
            (Configuration(keys="EC-P256"), (*_PAIR, Step(POST_10K, 64))),
            (Configuration(keys="EC-P256", database="postgresql"), _PAIR),
            (Configuration(keys="RSA-3072"), _PAIR),
        ),
        large_bytes=1_000_000_000,
        slow_consumers=256,
        slow_seconds=15,
        stamped_records=10_000,
        floor_seconds=2.0,
    )


def quick_plan(seconds: float) -> Plan:
    """Whether everything still works: one system, few steps, smaller bodies."""
    return Plan(
        seconds=seconds,
        systems=(
            (
                MAIN,
                (
                    Step(GET_1K, 1),
                    Step(GET_1K, 64),
                    Step(GET_1K, 8, keep_alive=False),
                    Step(POST_10K, 8),
                    Step(MIX, 8),
                    Step(GET_10M, 4),
                ),
            ),
        ),
        large_bytes=64_000_000,
        slow_consumers=32,
        slow_seconds=2,
        stamped_records=400,
        floor_seconds=0.3,
        quick=True,
        nginx_steps=(Step(GET_1K, 1), Step(GET_1K, 64), Step(GET_10M, 4)),
    )
