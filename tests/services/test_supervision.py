"""A supervisor with real children: restarts, order of stopping, readiness, death of the parent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import os, signal, sys, time
from functools import partial
from pathlib import Path
from postroad.adapters.supervision import Child, Supervisor

home = Path(sys.argv[1])

def note(text):
    with open(home / "events", "a") as file:
        file.write(text + "\\n")

def serve(name, ignore=False):
    def stop(*_):
        note(f"stopped {name}")
        sys.exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignore else stop)
    if name.startswith("reloading"):
        signal.signal(signal.SIGHUP, lambda *_: note(f"reloaded {name}"))
    note(f"started {name}")
    while True:
        time.sleep(0.02)

def fail():
    note("failed")
    raise RuntimeError("broken child")

def child(name, target=None, **options):
    return Child(name, target or partial(serve, name), **options)

supervisor = Supervisor(
    children=CHILDREN,
    status_path=home / "status.json",
    report=lambda event, facts: note(f"{event} {facts.get('name', '')}".strip()),
)
sys.exit(supervisor.run())
"""


class Running:
    """A supervisor in a process of its own."""

    def __init__(self, home: Path, children: str, environment: dict[str, str]) -> None:
        self.home = home
        script = textwrap.dedent(SCRIPT).replace("CHILDREN", children)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(home)],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
        )

    def events(self) -> list[str]:
        path = self.home / "events"
        return path.read_text().splitlines() if path.exists() else []

    def status(self) -> dict[str, Any]:
        path = self.home / "status.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"state": None}

    def child(self, name: str) -> dict[str, Any]:
        return next(dict(c) for c in self.status()["children"] if c["name"] == name)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(children: str, **environment: str) -> Running:
        started.append(Running(tmp_path, children, environment))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


def test_restarts_a_killed_child_and_tells_it(run: Callable[..., Running]) -> None:
    running = run('[child("a"), child("b")]')
    wait_for(lambda: running.status()["state"] == "running")
    first, other = running.child("a")["pid"], running.child("b")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: running.events().count("started a") == 2)
    wait_for(lambda: running.child("a")["state"] == "running")
    assert running.child("a")["pid"] not in {0, first}
    assert running.child("a")["restarts"] == 1
    assert running.child("a")["last_end"] == "signal 9"
    assert running.child("b")["pid"] == other
    assert running.stop() == 0


def test_failing_child_is_restarted_with_growing_delays(run: Callable[..., Running]) -> None:
    running = run('[child("broken", fail), child("a")]')
    wait_for(lambda: running.events().count("failed") == 2)
    assert running.child("broken")["last_end"] == "exit code 1"
    began = time.monotonic()
    wait_for(lambda: running.events().count("failed") == 3)
    assert time.monotonic() - began > 0.5
    assert running.events().count("started a") == 1
    assert running.stop() == 0


def test_stops_children_in_their_order(run: Callable[..., Running]) -> None:
    running = run('[child("c", stop_order=2), child("a", stop_order=0), child("b", stop_order=1)]')
    wait_for(lambda: sum(event.startswith("started") for event in running.events()) == 3)
    assert running.stop() == 0
    stopped = [event for event in running.events() if event.startswith("stopped")]
    assert stopped == ["stopped a", "stopped b", "stopped c"]
    assert running.status()["state"] == "stopping"
    assert {child["state"] for child in running.status()["children"]} == {"stopped"}


def test_kills_a_child_that_does_not_stop(run: Callable[..., Running]) -> None:
    running = run('[child("deaf", partial(serve, "deaf", ignore=True), stop_timeout=0.3)]')
    wait_for(lambda: "started deaf" in running.events())
    assert running.stop() == 1
    assert "process killed deaf" in running.events()


def test_who_reloads_is_told_to_and_nobody_dies_of_it(run: Callable[..., Running]) -> None:
    running = run('[child("a"), child("deaf", reloads=True), child("reloading", reloads=True)]')
    wait_for(lambda: sum(event.startswith("started") for event in running.events()) == 3)
    wait_for(lambda: running.status()["state"] == "running")
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded reloading" in running.events())
    assert [child["restarts"] for child in running.status()["children"]] == [0, 0, 0]
    assert running.stop() == 0
    assert not [event for event in running.events() if event.startswith("process ended")]


def test_children_end_when_the_supervisor_is_killed(run: Callable[..., Running]) -> None:
    running = run('[child("a")]')
    wait_for(lambda: "started a" in running.events())
    running.process.kill()
    wait_for(lambda: "stopped a" in running.events())


def test_is_ready_when_every_child_is(run: Callable[..., Running], tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        running = run(
            '[child("a", is_ready=lambda: (home / "ready").exists())]', NOTIFY_SOCKET=address
        )
        wait_for(lambda: running.status()["state"] == "starting")
        (tmp_path / "ready").touch()
        assert listener.recv(100) == b"READY=1"
        wait_for(lambda: running.status()["state"] == "running")
        assert running.stop() == 0
        assert listener.recv(100) == b"STOPPING=1"


def test_a_child_works_while_modules_of_later_ones_are_imported(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "heavy_module.py").write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "events = Path(sys.argv[1]) / 'events'\n"
        "until = time.monotonic() + 20\n"
        "while 'started a' not in events.read_text().splitlines() and time.monotonic() < until:\n"
        "    time.sleep(0.02)\n"
        "with events.open('a') as file:\n"
        "    file.write('imported\\n')\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    running = run('[child("a"), child("b", modules=("heavy_module",))]', PYTHONPATH=path)
    wait_for(lambda: "started b" in running.events())
    events = running.events()
    assert events.index("started a") < events.index("imported") < events.index("started b")
    assert running.stop() == 0
