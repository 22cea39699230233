"""The whole system under measurement: two Security Servers and everything they need.

It is the demo's ecosystem, founded once for each kind of key. What else differs between
configurations (workers, database, batching) is written into ``server.toml``, as an operator would.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from bench import machine
from bench.load import Load, Target
from postroad.adapters.files import write_atomic
from postroad.adapters.signer_protocol import KeyAlgorithm
from postroad.demo.consumer import call
from postroad.demo.ecosystem import Ecosystem, Options
from postroad.demo.layout import CONSUMER, PARTIES, PROVIDER, Layout, Party
from postroad.demo.processes import Program, wait_until
from postroad.errors import PostroadError, UnavailablePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bench.neighbours import Postgresql, Provider
    from bench.workloads import Configuration

NETWORK = "127.78.0"
PROVIDER_ADDRESS = f"{NETWORK}.22"
PAIR_ADDRESSES = (f"{NETWORK}.31", f"{NETWORK}.32")
GET_SERVICE = "bench-get"
POST_SERVICE = "bench-post"
SIDES = {CONSUMER: "consumer", PROVIDER: "provider"}
KINDS = ("worker", "signer", "logwriter", "background", "supervisor", "database")
"""The processes of a Security Server; ``database`` is PostgreSQL's part for it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What has been used so far."""

    cpu_s: dict[tuple[str, str], float]
    """By side and kind of process; beside the servers: (``others``, name)."""
    written: dict[str, int]
    """Bytes sent to the disk, by side."""
    busy_s: float
    """CPU seconds of the whole machine."""

    def since(self, earlier: Usage) -> Usage:
        return Usage(
            {key: value - earlier.cpu_s.get(key, 0.0) for key, value in self.cpu_s.items()},
            {side: value - earlier.written.get(side, 0) for side, value in self.written.items()},
            self.busy_s - earlier.busy_s,
        )


@dataclass(slots=True)
class System:
    """Two Security Servers of one configuration; a context manager that runs them."""

    home: Path
    configuration: Configuration
    provider: Provider
    postgresql: Postgresql | None = None
    say: Callable[[str], None] = print
    ecosystem: Ecosystem = field(init=False)

    def __post_init__(self) -> None:
        keys = self.configuration.keys
        layout = Layout(self.home / keys.lower(), NETWORK)
        self.ecosystem = Ecosystem(layout, Options(algorithm=KeyAlgorithm(keys)))

    @property
    def layout(self) -> Layout:
        return self.ecosystem.layout

    def __enter__(self) -> Self:
        try:
            if not self.ecosystem.is_prepared:
                self.say(f"  founding an ecosystem with {self.configuration.keys} keys")
                self.ecosystem.start(lambda _step: None)
                self._declare_services()  # while what describes the demo's services answers
                self.ecosystem.stop()
            for party in PARTIES:
                self._write_settings(party)
            self.ecosystem.start(lambda _step: None)
            wait_until("the services of the benchmark", self.exchanges, patience=30)
            if self.configuration.cores:
                self.pin(range(self.configuration.cores))
        except BaseException:
            self.ecosystem.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.ecosystem.stop()

    # ---- set-up

    def _write_settings(self, party: Party) -> None:
        path = self.layout.server_home(party) / "server.toml"
        settings = tomllib.loads(path.read_text())
        wanted = self.configuration
        settings["server"] |= {"workers": wanted.workers, "batch_signatures": wanted.batching}
        settings["configuration_client"] = {"update_interval": 60}
        settings["message_log"] = {
            "timestamp_interval": wanted.timestamp_interval,
            "database": self._new_database(party),
        }
        write_atomic(path, _toml(settings).encode())

    def _new_database(self, party: Party) -> str:
        """Begin with an empty message log, whatever the database."""
        if self.postgresql is not None and self.configuration.database == "postgresql":
            return self.postgresql.create(party.server_code.lower())
        for path in (self.layout.server_home(party) / "db").glob("messagelog.sqlite*"):
            path.unlink()
        return ""

    def _declare_services(self) -> None:
        """Declare the services of the benchmark beside the demo's."""
        home = self.layout.server_home(PROVIDER)
        text = (home / "services.toml").read_text()
        for code, target, method, path in (
            (GET_SERVICE, self.provider.get, "GET", "/get/*"),
            (POST_SERVICE, self.provider.post, "POST", "/post"),
        ):
            text += (
                f'\n[[client.service]]\ncode = "{code}"\nurl = "{target.url}"\n'
                f'\n[[client.service.endpoint]]\nmethod = "{method}"\npath = "{path}"\n'
                f'allow = ["{CONSUMER.subsystem.encoded()}"]\n'
            )
        file = home / "services-bench.toml"
        file.write_text(text)
        command = [sys.executable, "-m", "postroad", "server", "apply", str(file), "--home"]
        subprocess.run([*command, str(home)], check=True, stdout=subprocess.DEVNULL, timeout=60)

    # ---- doors

    def target(self, method: str) -> Target:
        """Where consumers send requests of this method."""
        service = GET_SERVICE if method == "GET" else POST_SERVICE
        return Target(
            self.layout.address(CONSUMER.number),
            8080,
            f"/r1/{PROVIDER.subsystem.encoded()}/{service}",
            CONSUMER.subsystem.encoded(),
        )

    def exchanges(self) -> bool:
        """Whether an exchange succeeds now."""
        try:
            return call(self.layout.client_url(CONSUMER), "GET", "/persons/1").status == 200
        except UnavailablePeer:
            return False

    def check(self) -> None:
        """Raise ``ConfigurationError`` if a program has ended."""
        self.ecosystem.check()

    # ---- processes

    def server(self, party: Party) -> Program:
        return self.ecosystem.servers[party]

    def children(self, party: Party) -> dict[str, int]:
        """The processes of a Security Server by name, the supervisor among them."""
        path = self.layout.server_home(party) / "run" / "status.json"
        status = json.loads(path.read_bytes())
        return {"supervisor": status["pid"]} | {
            child["name"]: child["pid"] for child in status["children"] if child["pid"]
        }

    def pids(self, party: Party) -> list[int]:
        return list(self.children(party).values())

    def all_pids(self) -> list[int]:
        """Everything that takes part in an exchange, but for the load generator."""
        roots = [program.pid for program in self.ecosystem.programs] + self.provider.pids
        if self.postgresql is not None:
            roots.append(self.postgresql.pid)
        return [pid for root in roots for pid in machine.process_tree(root)]

    def pin(self, cores: Iterable[int]) -> None:
        machine.pin(self.all_pids(), cores)

    def usage(self) -> Usage:
        """What every process has used since it began."""
        cpu: Counter[tuple[str, str]] = Counter()
        written: Counter[str] = Counter()
        for party, side in SIDES.items():
            for name, pid in self.children(party).items():
                cpu[side, name.partition("-")[0]] += machine.cpu_seconds(pid)
                written[side] += machine.written_bytes(pid)
        for pid in self._roots("lab", "central"):
            cpu["others", "lab and central server"] += machine.cpu_seconds(pid)
        for root in self.provider.pids:
            for pid in machine.process_tree(root):
                cpu["others", "provider"] += machine.cpu_seconds(pid)
        if self.configuration.database == "postgresql":
            self._count_database(cpu, written)
        return Usage(dict(cpu), dict(written), machine.busy_seconds())

    def _roots(self, *names: str) -> list[int]:
        return [
            pid
            for program in self.ecosystem.programs
            if program.name in names
            for pid in machine.process_tree(program.pid)
        ]

    def _count_database(self, cpu: Counter[tuple[str, str]], written: Counter[str]) -> None:
        """Give each server its own backends, and half of what PostgreSQL does for all."""
        if self.postgresql is None:
            return
        for pid in machine.process_tree(self.postgresql.pid):
            title = machine.command_line(pid)
            owners = [side for party, side in SIDES.items() if party.server_code.lower() in title]
            for side in owners or SIDES.values():
                share = 1 if owners else len(SIDES)
                cpu[side, "database"] += machine.cpu_seconds(pid) / share
                written[side] += machine.written_bytes(pid) // share

    # ---- things to happen during a measurement

    def restart_background(self, party: Party) -> None:
        """End the background process; the supervisor starts it again, and it stamps at once."""
        pid = self.children(party)["background"]
        subprocess.run(["kill", "-TERM", str(pid)], check=False)

    def measure_start(self) -> float:
        """Stop the consumer's Security Server; seconds from its start to its first exchange."""
        program = self.server(CONSUMER)
        program.stop()
        started = time.monotonic()
        program.start()
        until = started + 60
        while not self.exchanges():
            program.check()
            if time.monotonic() > until:
                raise PostroadError("the Security Server was not ready within a minute")
            time.sleep(0.01)
        return time.monotonic() - started


def _toml(settings: dict[str, dict[str, object]]) -> str:
    lines = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Used:
    """CPU and disk of one measurement, per exchange."""

    cpu_us: dict[str, dict[str, float]]
    """Microseconds by side (``consumer``, ``provider``, ``others``) and kind of process."""
    written_bytes: dict[str, float]
    cores_busy: float
    """How many cores were busy on average."""
    cores_foreign: float
    """How many of them with something that is not part of the measurement."""
    wall_s: float

    @property
    def all_us(self) -> float:
        return sum(sum(kinds.values()) for kinds in self.cpu_us.values())


def per_exchange(usage: Usage, load: Load, wall_s: float, own_cpu_s: float) -> Used:
    """Divide what was used by the exchanges that were made.

    ``own_cpu_s`` is what the benchmark itself used, which is nobody's cost.
    """
    count = max(1, load.requests)
    sides: dict[str, dict[str, float]] = {"consumer": {}, "provider": {}, "others": {}}
    for (side, kind), seconds in usage.cpu_s.items():
        sides[side][kind] = seconds / count * 1e6
    sides["others"]["load generator"] = load.generator_cpu_s / count * 1e6
    known = sum(usage.cpu_s.values()) + load.generator_cpu_s + own_cpu_s
    return Used(
        cpu_us=sides,
        written_bytes={side: value / count for side, value in usage.written.items()},
        cores_busy=usage.busy_s / wall_s,
        cores_foreign=max(0.0, usage.busy_s - known) / wall_s,
        wall_s=wall_s,
    )
