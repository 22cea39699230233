"""Killing any process of a Security Server during load loses no acknowledged message.

Every answer that a consumer received has a container on both sides that verifies.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from postroad.demo.consumer import call, fetch_container
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.evidence import load_stored
from postroad.demo.layout import CONSUMER, PARTIES, PROVIDER, Party
from postroad.demo.processes import wait_until
from postroad.errors import UnavailablePeer
from postroad.evidence.asic import parse_container
from postroad.evidence.container_verification import verify_container

pytestmark = [pytest.mark.xdist_group("ecosystem"), pytest.mark.timeout(300)]

CHILDREN = ("signer", "logwriter", "worker-0", "background")
CONSUMERS = 4
MOMENT = 0.3
PAUSE = 0.03
"""Seconds: proving an exchange takes longer than having one."""


@pytest.fixture(scope="module")
def ecosystem(shared_ecosystem: Ecosystem) -> Ecosystem:
    return shared_ecosystem


class Load:
    """Consumers that call again and again, and remember what was acknowledged to them."""

    def __init__(self, ecosystem: Ecosystem) -> None:
        self._url = ecosystem.layout.client_url(CONSUMER)
        self.acknowledged: list[str] = []
        self.failures = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CONSUMERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                answer = call(self._url, "POST", "/applications", body=b"keep this")
            except UnavailablePeer:
                self.failures += 1
                time.sleep(0.02)
                continue
            if answer.status == 201:
                self.acknowledged.append(answer.query_id)
                time.sleep(PAUSE)
            else:
                assert answer.fault_code is not None
                self.failures += 1
                time.sleep(0.02)


def pid_of(ecosystem: Ecosystem, party: Party, child: str) -> int:
    """The process id of a child as its supervisor reports it; 0 while it isn't running."""
    status = json.loads((ecosystem.settings(party).run_path / "status.json").read_bytes())
    return next(entry["pid"] for entry in status["children"] if entry["name"] == child)


def works(ecosystem: Ecosystem) -> bool:
    try:
        answer = call(ecosystem.layout.client_url(CONSUMER), "GET", "/persons/1")
    except UnavailablePeer:
        return False
    return answer.status == 200


def kill(ecosystem: Ecosystem, party: Party, child: str) -> None:
    killed = pid_of(ecosystem, party, child)
    assert killed > 0
    os.kill(killed, signal.SIGKILL)
    wait_until(
        f"another {child}",
        lambda: pid_of(ecosystem, party, child) not in {0, killed} and works(ecosystem),
    )


def kill_supervisor(ecosystem: Ecosystem, party: Party) -> None:
    program = ecosystem.servers[party]
    os.kill(program.pid, signal.SIGKILL)
    program.stop()
    program.start()
    wait_until("the server again", lambda: works(ecosystem), programs=[program])


def containers(ecosystem: Ecosystem, party: Party, query_id: str) -> Iterator[bytes]:
    for response in (False, True):
        answer = fetch_container(
            ecosystem.layout.client_url(party), party.subsystem, query_id, response=response
        )
        assert answer.status == 200, (query_id, party.server_code, response, answer.body[:300])
        yield answer.body


def test_no_acknowledged_message_is_lost(ecosystem: Ecosystem) -> None:
    with Load(ecosystem) as load:
        for party in PARTIES:
            for child in CHILDREN:
                time.sleep(MOMENT)
                kill(ecosystem, party, child)
            time.sleep(MOMENT)
            kill_supervisor(ecosystem, party)
        time.sleep(MOMENT)
    acknowledged = load.acknowledged
    assert len(acknowledged) > 50

    last = acknowledged[-1]
    for party in PARTIES:
        wait_until(
            "the last time-stamp",
            lambda party=party: (
                fetch_container(
                    ecosystem.layout.client_url(party), party.subsystem, last, response=True
                ).status
                == 200
            ),
        )
        globalconf = load_stored(ecosystem.layout, party)
        for query_id in acknowledged:
            reports = [
                verify_container(parse_container(data), globalconf)
                for data in containers(ecosystem, party, query_id)
            ]
            signers = [report.signature.signer for report in reports]
            assert signers == [CONSUMER.subsystem, PROVIDER.subsystem]
