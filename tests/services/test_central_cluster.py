"""Two Central Server processes on one database: writers everywhere, and nodes that are killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.node import NewInstance, initialize_node, join_node, open_node
from postroad.centralserver.registry import servers, trust_services
from postroad.centralserver.registry.change import (
    details_of,
    list_change_log,
    verify_change_log,
)
from postroad.centralserver.registry.nodes import NodeState
from postroad.centralserver.registry.published import PUBLICATION, log_position
from postroad.centralserver.registry.sources import SourceType, load_anchor
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.directory import verify_directory
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.identifiers import SubsystemId
from postroad.management.requests import ClientRegistration
from postroad.trustlab.authority import TrustLab
from support.central_server import MANAGEMENT, OTHER_SERVER, PIN, fill
from support.management import Asker, Letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroad.centralserver.node import CentralServerNode
    from support.postgresql import PostgresqlServer

_SETTINGS = """\
[central]
node_name = "{name}"
[database]
url = "{url}"
[configuration]
generation_interval = 0.5
[distribution]
host = "127.0.0.1"
http_port = 0
https = false
[registration_service]
enabled = false
[management_service]
port = 0
requests_per_minute = 100000
[management_requests]
auto_approve_client_registrations = true
[management_api]
enabled = false
"""
_GENERATING = (
    "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
    " AND ((classid::int8 << 32) | objid::int8) = %s"
)
_LOCK_OF_FIRST = int.from_bytes(hashlib.sha256(b"generation:a").digest()[:8], signed=True)
_WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database() AND query LIKE '%change_log_head%'"
)


_FRESH = timedelta(seconds=20)
"""Twice the age at which a node counts as late: machines that run tests are slow."""


def wait_until(what: str, condition: Callable[[], bool], *, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


@dataclass
class Member:
    """A node's home, and its process while one runs."""

    home: Path
    process: subprocess.Popen[str] | None = None
    http: str = ""
    management: str = ""

    def start(self) -> None:
        environment = {**os.environ, "POSTROAD_CENTRAL_PIN": PIN}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "postroad", "central", "run", "--home", str(self.home)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def wait(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        port = self.process.stdout.readline().split()[4]
        self.http = f"http://127.0.0.1:{port}"
        port = self.process.stdout.readline().split()[-1]
        self.management = f"https://127.0.0.1:{port}/managementservice/manage/"

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def register(self, letter: Letter) -> bool:
        """Whether the node acknowledged the registration."""
        content_type, body = letter.sent
        try:
            answer = httpx.post(
                self.management,
                content=body,
                headers={"Content-Type": content_type},
                verify=False,
                timeout=15,
            )
        except httpx.HTTPError:
            return False
        return answer.status_code == 200


@dataclass(frozen=True)
class Seen:
    """What a client that verifies everything was served by a node, and when."""

    at: datetime
    expires_at: datetime

    @property
    def age(self) -> timedelta:
        """How old the configuration was then."""
        return self.at - (self.expires_at - timedelta(seconds=600))


@dataclass
class Cluster:
    """The nodes, what was acknowledged, and what was seen published meanwhile."""

    url: str
    nodes: list[Member]
    opened: list[CentralServerNode]
    asker: Asker
    acknowledged: set[str] = field(default_factory=set)
    seen: dict[int, list[Seen]] = field(default_factory=lambda: {0: [], 1: []})

    def letter(self, code: str) -> Letter:
        client = SubsystemId("DEV", "GOV", "2", code)
        return self.asker.signed(ClientRegistration(OTHER_SERVER, client))

    def ask(self, node: int, code: str) -> None:
        if self.nodes[node].register(self.letter(code)):
            self.acknowledged.add(code)

    def published(self, node: int) -> tuple[datetime, SharedParameters]:
        """What a client makes of a node's configuration now."""
        with self.opened[0].reading() as session:
            anchor = Anchor.parse(load_anchor(session, SourceType.INTERNAL, "a"))
        known = [key for source in anchor.sources for key in source.verification_certificates]
        base = self.nodes[node].http
        directory = httpx.get(f"{base}/internalconf?version=6").raise_for_status().content
        now = SystemClock().now()
        verified = verify_directory(directory, known, at=now)  # refuses what has expired
        part = next(part for part in verified.parts if part.identifier == "SHARED-PARAMETERS")
        data = httpx.get(base + part.location).raise_for_status().content
        assert part.matches(data)
        self.seen[node].append(Seen(now, verified.expires_at))
        return verified.expires_at, SharedParameters.parse(data, 6)

    def codes(self, node: int) -> set[str]:
        _expires_at, shared = self.published(node)
        clients = next(each.clients for each in shared.security_servers if each.code == "SS2")
        return {client.subsystem_code for client in clients if isinstance(client, SubsystemId)}

    def wait_for_head(self) -> None:
        """Until every node has published all that is in the change log now."""
        with self.opened[0].reading() as session:
            head = log_position(session).sequence
        wait_until(
            f"both nodes publish entry {head}",
            lambda: all(node.log_sequence >= head for node in self.opened[0].nodes()),
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody downloads from the second node all the time; nothing may ever be wrong."""
        over = threading.Event()
        failures: list[Exception] = []

        def watch() -> None:
            while not over.wait(0.2):
                try:
                    self.published(1)
                except Exception as error:  # noqa: BLE001 - for the test, not for this thread
                    failures.append(error)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()
        assert failures == [], "the other node always serves what verifies and is valid"

    @contextlib.contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection


@pytest.fixture
def cluster(
    postgresql_server: PostgresqlServer,
    tmp_path: Path,
) -> Iterator[Cluster]:
    url = postgresql_server.create_database()
    lab = TrustLab.create(at=SystemClock().now())
    nodes: list[Member] = []
    opened: list[CentralServerNode] = []
    for name in ("a", "b"):
        home = tmp_path / name
        home.mkdir()
        (home / "central.toml").write_text(_SETTINGS.format(name=name, url=url))
        node = open_node(home)
        new = NewInstance(
            instance="DEV", address=f"{name}.example", pin=PIN, algorithm=KeyAlgorithm.EC
        )
        (join_node if opened else initialize_node)(node, new, "tester")
        nodes.append(Member(home))
        opened.append(node)
    with opened[0].changing("tester") as change:
        fill(change)
        settings = trust_services.CaSettings(certificate_profile_info="FiVRK")
        ca = trust_services.add_approved_ca(change, lab.root.certificate.pem, settings)
        issuing = trust_services.add_intermediate_ca(change, ca.id, lab.ca_certificate.der)
        trust_services.add_ocsp_responder(
            change, issuing, "http://ocsp.example/", certificate=lab.ocsp_certificate.der
        )
    for member in nodes:
        member.start()
    try:
        for member in nodes:
            member.wait()
        cluster = Cluster(url, nodes, opened, Asker(lab, OTHER_SERVER, MANAGEMENT))
        wait_until(
            "both nodes publish",
            lambda: all(node.state is NodeState.OK for node in opened[0].nodes()),
        )
        yield cluster
    finally:
        for member in nodes:
            member.kill()
        for node in opened:
            node.close()


def test_no_acknowledged_registration_is_lost_when_nodes_are_killed(cluster: Cluster) -> None:
    with cluster.watched():
        kill_in_the_middle_of_everything(cluster)
    served = cluster.seen[1]
    assert len(served) > 10
    assert all(each.age < _FRESH for each in served), "never later than its rule"

    with cluster.opened[0].reading() as session:
        verify_change_log(session)
        registered = servers.load_server(session, OTHER_SERVER).clients
        assert len(registered) == len(cluster.codes(1))
        entries = [e for e in list_change_log(session, limit=9999) if e.event == PUBLICATION]
    for name in ("a", "b"):
        notes = [details_of(entry) for entry in reversed(entries)]
        stamps = [str(note["stamp"]) for note in notes if note["haNode"] == name]
        assert len(stamps) >= 2
        assert stamps == sorted(stamps), "a generation never goes back"
        known = [int(str(note["logSequence"])) for note in notes if note["haNode"] == name]
        assert known == sorted(known)
    for node in (0, 1):
        cluster.published(node)
        expiries = [each.expires_at for each in cluster.seen[node]]
        assert expiries == sorted(expiries)


def kill_in_the_middle_of_everything(cluster: Cluster) -> None:
    first, second = cluster.nodes

    def write(node: int, prefix: str) -> None:
        for number in range(5):
            cluster.ask(node, f"{prefix}{number}")

    writers = [
        threading.Thread(target=write, args=(at, f"{name}{at}"))
        for at in (0, 1)
        for name in ("x", "y")
    ]
    for writer in writers:
        writer.start()
    # In the middle of a generation: its lock is held, and goes with the node.
    with cluster.database() as database:
        wait_until(
            "a generation",
            lambda: database.execute(_GENERATING, [_LOCK_OF_FIRST]).fetchone() is not None,
        )
        first.kill()
    for writer in writers:
        writer.join()
    everything = {f"{name}1{number}" for name in "xy" for number in range(5)}
    assert everything <= cluster.acknowledged, "the other node goes on"
    wait_until(
        "the other node publishes what was acknowledged, also by the dead one",
        lambda: cluster.codes(1) >= cluster.acknowledged,
        seconds=_FRESH.total_seconds(),
    )

    # In the middle of a registration: it waits for its turn, and is killed before it has it.
    first.start()
    first.wait()
    letter = cluster.letter("interrupted")
    outcome: list[bool] = []
    with psycopg.connect(cluster.url) as holder, cluster.database() as database:
        holder.execute("SELECT 1 FROM change_log_head FOR UPDATE")
        asking = threading.Thread(target=lambda: outcome.append(first.register(letter)))
        asking.start()
        wait_until("the wait", lambda: database.execute(_WAITING).fetchone() is not None)
        first.kill()
        asking.join()
        holder.rollback()
    assert outcome == [False], "what isn't durable isn't acknowledged"
    assert second.register(letter), "the same message counts at the other node"
    cluster.acknowledged.add("interrupted")

    first.start()
    first.wait()
    cluster.ask(0, "afterwards")
    assert "afterwards" in cluster.acknowledged
    cluster.wait_for_head()
    assert cluster.codes(0) == cluster.codes(1) >= cluster.acknowledged
