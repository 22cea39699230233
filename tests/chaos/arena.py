"""The system under test: the demo's ecosystem with a provider that notes everything.

It is started once; scenarios break it and must leave it whole. ``settle`` waits until all is
stamped and judges the ledger against both logs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Self, cast

from bench.machine import process_tree

from chaos.ledger import Count, Ledger, SideLog
from chaos.load import TIMEOUT, Door, Exchange, Load, Reply, exchange
from chaos.provider import ChaosProvider
from chaos.report import ChaosFailure
from chaos.soap import SERVICE as SOAP_SERVICE
from chaos.soap import exchange_soap
from postroad.adapters.files import write_atomic
from postroad.adapters.signer_protocol import KeyAlgorithm
from postroad.demo.ecosystem import Ecosystem, Options
from postroad.demo.layout import CONSUMER, PARTIES, PROVIDER, Layout, Party
from postroad.demo.processes import Program, answers
from postroad.demo.softhsm import find_library
from postroad.errors import PostroadError
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import Direction

_JSON = {"Content-Type": "application/json"}
RETRY_DELAY = 2
"""Seconds between attempts at a time-stamp after a failure; normally 60."""
_PROVIDER_NUMBER = 22
_SERVICES = """
[[client.service]]
code = "ledger"
url = "http://{address}:8000"

[[client.service.endpoint]]
method = "POST"
path = "/ledger"
allow = ["{client}"]

[[client.service]]
code = "nasty"
url = "http://{address}:8000"
timeout = 5

[[client.service.endpoint]]
method = "*"
path = "/nasty/**"
allow = ["{client}"]

[[client.service]]
code = "{soap}"
type = "WSDL"
description = "http://{address}:8000/ledger.wsdl"
url = "http://{address}:8000/soap"
allow = ["{client}"]
"""
_KINDS: dict[Exchange, int] = {exchange: 4, exchange_soap: 1}


class Arena:
    """Two Security Servers, lab, Central Server, provider, ledger; a context manager."""

    def __init__(
        self, layout: Layout, *, quick: bool, seed: int, say: Callable[[str], None]
    ) -> None:
        self.quick = quick
        self.say = say
        self.chance = random.Random(seed)
        self.layout = layout
        options = Options(
            algorithm=KeyAlgorithm.EC_P256,
            workers=1 if quick else 2,
            softhsm=find_library() is not None,
        )
        self.ecosystem = Ecosystem(self.layout, options)
        self.ledger = Ledger()
        self.provider: ChaosProvider | None = None
        self.last_reply = ""
        self._early: list[Count] = []

    def __enter__(self) -> Self:
        try:
            address = self.layout.address(_PROVIDER_NUMBER)
            self.provider = ChaosProvider(address, 8000, self.ledger)
            self.ecosystem.start(self.say)
            self._declare(address)
            for party in PARTIES:
                self.change_settings(party, message_log={"timestamp_retry_delay": RETRY_DELAY})
                self.ecosystem.servers[party].stop(patience=60)
                self.ecosystem.servers[party].start()
            self.await_works()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything."""
        self.ecosystem.stop()
        if self.provider is not None:
            self.provider.stop()
            self.provider = None

    def _declare(self, address: str) -> None:
        home = self.layout.server_home(PROVIDER)
        text = (home / "services.toml").read_text()
        client = CONSUMER.subsystem.encoded()
        text += _SERVICES.format(address=address, client=client, soap=SOAP_SERVICE)
        file = home / "services-chaos.toml"
        file.write_text(text)
        command = [sys.executable, "-m", "postroad", "server", "apply", str(file), "--home"]
        subprocess.run([*command, str(home)], check=True, stdout=subprocess.DEVNULL, timeout=60)

    # ---- talking

    def door(self, service: str = "ledger", party: Party = CONSUMER) -> Door:
        """How consumers reach a service."""
        return Door(
            self.layout.address(party.number),
            8080,
            CONSUMER.subsystem.encoded(),
            f"{PROVIDER.subsystem.encoded()}/{service}",
        )

    def load(self, consumers: int = 4, pause: float = 0.03, *, sizes: bool = True) -> Load:
        """Consumers that call while the context is open."""
        return Load(self.door(), self.ledger, consumers, pause, _KINDS, sizes)

    def once(self) -> Reply:
        """One exchange of the ledger on a connection of its own."""
        door = self.door()
        connection = http.client.HTTPConnection(door.host, door.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            reply = exchange(door, self.ledger, connection, 100)
        self.last_reply = f"the last reply was {reply.status} {reply.fault} {reply.body[:200]!r}"
        return reply

    def works(self) -> bool:
        """Whether an exchange succeeds now."""
        return self.once().status == 200

    def await_works(self, patience: float = 90.0) -> float:
        """Wait until exchanges succeed; seconds it took."""
        return self.wait(self.works, "exchanges to succeed again", patience)

    def wait(self, holds: Callable[[], bool], what: str, patience: float = 60.0) -> float:
        """Wait for something; seconds it took. ``ChaosFailure`` if it doesn't come."""
        started = time.monotonic()
        while not holds():
            if time.monotonic() - started > patience:
                raise ChaosFailure(f"waited {patience:g} s in vain for {what}; {self.last_reply}")
            time.sleep(0.05)
        return time.monotonic() - started

    # ---- processes

    def children(self, party: Party) -> dict[str, int]:
        """The processes of a server by name, as its supervisor tells; those that run."""
        path = self.ecosystem.settings(party).run_path / "status.json"
        try:
            status = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return {}
        found = {"supervisor": int(status["pid"])}
        found |= {entry["name"]: int(entry["pid"]) for entry in status["children"]}
        return {name: pid for name, pid in found.items() if pid}

    def kill(self, party: Party, name: str) -> bool:
        """``kill -9`` one process; a supervisor is started again. Whether there was one."""
        pid = self.children(party).get(name, 0)
        if not pid:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if name == "supervisor":
            self.start_again(party)
        return True

    @property
    def servers(self) -> tuple[Party, ...]:
        """Everybody with a Security Server, that of the management services among them."""
        return self.layout.cast.servers

    def kill_all(self) -> None:
        """``kill -9`` every process of all servers at once, and start them again."""
        pids = [pid for party in self.servers for pid in self.children(party).values()]
        for pid in [*pids, *process_tree(self.ecosystem.central.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._start_central_again()
        for party in self.servers:
            self.start_again(party)

    def kill_central(self) -> bool:
        """``kill -9`` the Central Server and start it again."""
        for pid in process_tree(self.ecosystem.central.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._start_central_again()
        return True

    def _start_central_again(self) -> None:
        self.ecosystem.central.stop()
        self.ecosystem.central.start()

    def await_whole(self) -> None:
        """Wait until every process that a server needs runs, and the Central Server answers."""
        for party in self.servers:
            self.wait(partial(self._is_whole, party), f"all processes of {party.server_code}")
        self._await_central()

    def _is_whole(self, party: Party) -> bool:
        path = self.ecosystem.settings(party).run_path / "status.json"
        try:
            status = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return False
        pids = [int(status["pid"]), *(int(entry["pid"]) for entry in status["children"])]
        return all(pid and _lives(pid) for pid in pids)

    def start_again(self, party: Party) -> None:
        """Start a server whose supervisor died (its children follow it)."""
        program = self.ecosystem.servers[party]
        children = self.children(party)
        program.stop()
        self.wait(lambda: not any(map(_lives, children.values())), "orphans to end", 60)
        program.start()

    def restart(
        self,
        party: Party,
        environment: Mapping[str, str] | None = None,
        *,
        working: bool = True,
    ) -> None:
        """Stop and start a server in good order, with other environment variables perhaps."""
        old = self.ecosystem.servers[party]
        old.stop(patience=60)
        if environment is not None:
            hsm = self.ecosystem.hsm if self.has_device(party) else None
            arguments = ["server", "run", "--home", str(self.layout.server_home(party))]
            self.ecosystem.servers[party] = Program(
                old.name,
                arguments,
                log=self.layout.log / f"{old.name}.log",
                environment={**environment, **(hsm.environment if hsm else {})},
            )
        self.ecosystem.servers[party].start()
        if working:
            self.await_works()

    def restart_central(self, environment: Mapping[str, str]) -> None:
        """Stop and start the Central Server with other environment variables."""
        self.ecosystem.central.stop(patience=60)
        self.ecosystem.central = Program(
            "central",
            ["central", "run", "--home", str(self.layout.central_home)],
            log=self.layout.log / "central.log",
            environment=environment,
        )
        self.ecosystem.central.start()
        self._await_central()

    def _await_central(self) -> None:
        url = f"http://{self.layout.central_address}/"
        self.wait(partial(answers, url), "the Central Server to answer")

    @contextlib.contextmanager
    def stopped_processes(self, *pids: int) -> Iterator[None]:
        """Hold processes still (SIGSTOP), as a machine that hangs does."""
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def spooled(self) -> list[Path]:
        """The bodies that lie in the spools of both servers."""
        return [
            path
            for party in PARTIES
            for path in self.ecosystem.settings(party).spool_path.iterdir()
        ]

    # ---- settings

    def has_device(self, party: Party) -> bool:
        """Whether a server's signing keys are in a hardware token, with a process of its own."""
        return bool(self.ecosystem.settings(party).devices)

    def change_settings(self, party: Party, **sections: Mapping[str, object]) -> None:
        """Change keys of ``server.toml``; takes effect with the next start."""
        path = self.layout.server_home(party) / "server.toml"
        settings: dict[str, dict[str, object]] = tomllib.loads(path.read_text())
        for name, device in settings.pop("devices", {}).items():
            settings[f"devices.{name}"] = cast("dict[str, object]", device)
        for section, values in sections.items():
            settings[section] = settings.get(section, {}) | dict(values)
        text = "\n\n".join(
            f"[{section}]\n"
            + "\n".join(f"{key} = {json.dumps(value)}" for key, value in pairs.items())
            for section, pairs in settings.items()
        )
        write_atomic(path, f"{text}\n".encode())

    # ---- the lab

    def lab(self, plan: Mapping[str, Mapping[str, object]] | None) -> None:
        """Let the lab's services misbehave; None ends it."""
        host, _, port = self.layout.lab_url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        with contextlib.closing(connection):
            if plan is None:
                connection.request("DELETE", "/lab/faults")
            else:
                connection.request("POST", "/lab/faults", json.dumps(plan), _JSON)
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 300:
            raise ChaosFailure(f"the lab refused {plan}: {answer!r}")

    # ---- judging

    def settle_early(self) -> None:
        """Judge within a scenario whose logs are gone after it; ``settle`` adds this."""
        self._early.append(self._settle())

    def settle(self) -> Count:
        """Wait until both logs are stamped, then judge everything since the last time."""
        early, self._early = self._early, []
        total = self._settle()
        for count in early:
            total.add(count)
        return total

    def await_stamped(self) -> None:
        """Wait until every record of both logs is stamped."""
        for party in PARTIES:
            self.wait(partial(self._is_stamped, party), "all to be stamped", 120)

    def await_monitored(self, party: Party) -> int:
        """Wait until a new exchange is in the operational monitoring; all that are there."""
        before = self._count_monitored(party)
        self.await_works()
        self.wait(lambda: self._count_monitored(party) > before, "an exchange to be monitored")
        return self._count_monitored(party)

    def _count_monitored(self, party: Party) -> int:
        path = self.ecosystem.settings(party).opmonitoring_url.removeprefix("sqlite:///")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        with contextlib.closing(connection) as database:
            (count,) = database.execute("SELECT count(*) FROM operational_data").fetchone()
        return int(count)

    def _settle(self) -> Count:
        self.await_stamped()
        return self.ledger.check(self._side(CONSUMER), self._side(PROVIDER))

    def _is_stamped(self, party: Party) -> bool:
        reader = LogReader.open(self.ecosystem.settings(party).messagelog_url)
        try:
            return reader.count_pending() == 0
        except PostroadError:
            return False
        finally:
            reader.close()

    def _side(self, party: Party) -> SideLog:
        settings = self.ecosystem.settings(party)
        return SideLog(
            party.name,
            settings.messagelog_url,
            settings.globalconf_path,
            party.subsystem,
            {Direction.REQUEST: CONSUMER.owner, Direction.RESPONSE: PROVIDER.owner},
        )


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
