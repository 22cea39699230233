"""`make profile`: where does the CPU time of an exchange go?

Two answers: by stage and function of our own code, sampled inside the server's processes, and by
library, from ``perf`` where that is installed (package linux-perf) and allowed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from bench import machine, tools
from bench.load import run_wrk
from bench.neighbours import Postgresql, Provider
from bench.run import ROOT
from bench.system import PROVIDER_ADDRESS, SIDES, System, per_exchange
from bench.workloads import GET_1K, GET_10M, MIX, POST_1M, POST_10K, POST_10M, Configuration
from postroad.errors import PostroadError

SAMPLING = Path(__file__).with_name("sampling")
WORKLOADS = {each.name: each for each in (GET_1K, POST_10K, POST_1M, POST_10M, GET_10M, MIX)}
STAGES = (
    ("log lines", ("structlog", "adapters/logs", "exchange_report", "logging/")),
    ("verifying signatures", ("evidence/verification", "evidence/xades_", "evidence/hashchain_")),
    ("certificates, OCSP", ("crypto/", "peer_certificates", "provider_judgement", "ocsp")),
    ("signing", ("securityserver/signing", "evidence/xades.", "evidence/hashchain.", "signer")),
    ("message log", ("log_client", "messagelog", "log_record", "evidence/logged", "log_protocol")),
    ("process talk", ("adapters/ipc",)),
    ("reading XML", ("wire/xml",)),
    (
        "multipart",
        ("messages/encoder", "messages/decoder", "wire/mime", "securityserver/transport"),
    ),
    ("REST message", ("messages/", "wire/", "identifiers")),
    ("bodies", ("spool", "http_body")),
    (
        "HTTP in",
        ("http_server", "http_connection", "http_request", "http_exchange", "http_outflow"),
    ),
    ("HTTP out", ("http_client", "http_dialing", "peer_connector", "service_caller", "outgoing")),
    ("HTTP both", ("http_",)),
    ("global configuration", ("globalconf", "snapshots", "serverconf")),
    ("rights", ("authorization",)),
    ("exchange", ("client_proxy", "server_proxy", "securityserver/worker", "routing")),
    ("TLS recipes", ("adapters/tls", "authentication_key")),
)
"""What part of an exchange a file belongs to; the innermost file of a stack that fits decides."""
ENOUGH_US = 20_000
"""Less CPU time than this says nothing about where it went."""


def stage_of(stack: list[str]) -> str:
    """The part of an exchange that a stack belongs to."""
    for entry in stack:
        if "postroad/" not in entry and "structlog" not in entry:
            continue
        path = entry.rpartition("postroad/")[2]
        for stage, marks in STAGES:
            if any(mark in path for mark in marks):
                return stage
    return "event loop and others"


def tell(title: str, counts: Counter[str], us_per_sample: float, most: int) -> None:
    """Print the largest counts as microseconds per exchange."""
    total = sum(counts.values()) or 1
    print(f"\n  {title}")
    for name, count in counts.most_common(most):
        print(f"    {count / total:6.1%} {count * us_per_sample:9.1f} µs  {name}")


def tell_process(folder: Path, pid: int, name: str, cpu_us: float, most: int) -> None:
    """Print where one process's time went; ``cpu_us`` is what it used per exchange."""
    path = folder / f"{pid}.json"
    if not path.exists():
        return
    stages: Counter[str] = Counter()
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for count, stack in json.loads(path.read_bytes()):
        stages[stage_of(stack)] += count
        named = [_short(entry) for entry in stack]
        if named and named[0].startswith("<string>"):  # made by dataclasses: who makes the value?
            caller = next((each for each in named if not each.startswith("<string>")), "?")
            named[0] = f"the __init__ of a dataclass, in {caller}"
        own[named[0] if named else "?"] += count
        for each in set(named):
            within[each] += count
    samples = sum(stages.values())
    if samples < ENOUGH_US:
        return
    per_sample = cpu_us / samples
    print(f"\n{name}: {cpu_us:.0f} µs per exchange ({samples / 1e6:.1f} s sampled)")
    tell("by stage", stages, per_sample, most)
    tell("by function, itself", own, per_sample, most)
    print("\n  by function, with what it calls")
    inner = [(each, count) for each, count in within.most_common() if count < 0.97 * samples]
    for each, count in inner[: most * 2]:
        print(f"    {count / samples:6.1%} {count * per_sample:9.1f} µs  {each}")


def _short(entry: str) -> str:
    path, _, function = entry.rpartition(":")
    for mark in ("/src/", "/site-packages/", "/lib/python3"):
        if mark in path:
            return f"{path.rpartition(mark)[2]}:{function}"
    return entry


class Perf:
    """``perf record`` of one process for a while; says which libraries it spent its time in."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._data = folder / f"perf-{pid}.data"
        self._program = shutil.which("perf")
        self._process: subprocess.Popen[bytes] | None = None
        if self._program is not None:
            self._process = subprocess.Popen(
                [
                    self._program,
                    "record",
                    "-q",
                    "-e",
                    "cpu-clock",
                    "-p",
                    str(pid),
                    "-o",
                    self._data,
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)

    def tell(self, name: str) -> None:
        """Print shares by library and by function of libraries."""
        if self._program is None or not self._data.exists():
            print(f"\n{name}: no figures by library (perf isn't installed or not allowed)")
            return
        for keys, title, least in (("dso", "by library", 1.0), ("dso,symbol", "by symbol", 1.5)):
            report = [self._program, "report", "-q", "--stdio", "-i", str(self._data)]
            finished = subprocess.run(
                [*report, "--sort", keys, "--percent-limit", str(least), "-g", "none"],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            lines = [line.rstrip() for line in finished.stdout.splitlines() if line.strip()]
            print(f"\n{name}, {title} (perf)")
            print("\n".join(f"  {line}" for line in lines[:25]) or "  nothing")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tools.require(with_postgresql=options.database == "postgresql")
        return _profile(options)
    except (tools.MissingTools, PostroadError, TimeoutError) as error:
        print(f"\n✘ {error}", file=sys.stderr)
        return 1


def _profile(options: argparse.Namespace) -> int:
    home = options.home.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        samples = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="samples-")))
        provider = Provider(home, PROVIDER_ADDRESS, 1)
        stack.callback(provider.stop)
        postgresql = None
        if options.database == "postgresql":
            postgresql = stack.enter_context(Postgresql())
        os.environ |= {"BENCH_SAMPLES": str(samples), "PYTHONPATH": str(SAMPLING)}
        system = stack.enter_context(
            System(
                home,
                Configuration(
                    keys=options.keys, database=options.database, batching=not options.no_batches
                ),
                provider,
                postgresql,
            )
        )
        _measure(system, options, samples)
    return 0


def _measure(system: System, options: argparse.Namespace, samples: Path) -> None:
    workload = WORKLOADS[options.workload]
    target = system.target(workload.method)
    run_wrk(target, workload, consumers=options.consumers, seconds=2)
    for file in samples.glob("*.json"):
        file.unlink()
    run_wrk(target, workload, consumers=options.consumers, seconds=2)  # a write begins anew
    processes = {
        (side, name): pid
        for party, side in SIDES.items()
        for name, pid in system.children(party).items()
        if name.startswith(options.process) and side in options.side
    }
    before, own = system.usage(), time.process_time()
    started = time.monotonic()
    perfs: dict[tuple[str, str], Perf] = {}
    timer = threading.Timer(
        0.2, lambda: perfs.update({key: Perf(pid, samples) for key, pid in processes.items()})
    )
    if not options.no_perf:
        timer.start()
    load = run_wrk(target, workload, consumers=options.consumers, seconds=options.seconds)
    wall = time.monotonic() - started
    used = per_exchange(system.usage().since(before), load, wall, time.process_time() - own)
    timer.cancel()
    for perf in perfs.values():
        perf.stop()
    print(
        f"{workload.title}, {options.consumers} consumers, {system.configuration.name}: "
        f"{load.per_second:.0f} exchanges/s, p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms "
        "(slower than without sampling)"
    )
    for side, kinds in used.cpu_us.items():
        parts = ", ".join(f"{kind} {us:.0f}" for kind, us in kinds.items())
        print(f"  {side}: {sum(kinds.values()):.0f} µs per exchange ({parts})")
    print(f"  {used.cores_busy:.2f} cores busy, {used.cores_foreign:.2f} of them with other things")
    for (side, name), pid in processes.items():
        kind = name.partition("-")[0]
        title = f"{name} of the {side}'s server"
        tell_process(samples, pid, title, used.cpu_us[side].get(kind, 0.0), options.most)
        if (side, name) in perfs:
            perfs[side, name].tell(title)
    shown = machine.describe()
    print(f"\n{shown['cpu']}, Python {shown['python']}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description=__doc__)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default=GET_1K.name)
    parser.add_argument("--consumers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--keys", default="RSA-2048", choices=["RSA-2048", "RSA-3072", "EC-P256"])
    parser.add_argument("--database", default="sqlite", choices=["sqlite", "postgresql"])
    parser.add_argument("--no-batches", action="store_true")
    parser.add_argument("--no-perf", action="store_true", help="sample our own code only")
    parser.add_argument("--process", default="worker", help="worker, signer, logwriter, background")
    parser.add_argument("--side", nargs="+", default=["consumer", "provider"])
    parser.add_argument("--most", type=int, default=18, help="lines of each table")
    parser.add_argument("--home", type=Path, default=ROOT / "bench-home")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
