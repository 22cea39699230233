"""The provider's service hangs, resets, speaks nonsense, answers early, or answers without end."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
import uuid
from functools import partial

from bench.machine import MemoryWatch

from chaos.arena import Arena
from chaos.load import Reply, send
from chaos.provider import HANG_SECONDS, WAYS
from chaos.report import require
from postroad.demo.layout import PARTIES, Party

GROWTH_MB = 64.0
_SLOW_SECONDS, _SLOW_RATE = 15.0, 2e6
"""A slow consumer takes so many bytes a second for so long, and the rest as fast as it comes."""
_MB = 1_000_000


def broken_services(arena: Arena) -> dict[str, object]:
    """A service breaks HTTP in every way, with small and large requests; others are served."""
    names = [name for name in WAYS if name != "large"]
    found: dict[str, str] = {}
    door = arena.door("nasty")

    def call(name: str, body: bytes) -> None:
        connection = http.client.HTTPConnection(door.host, door.port, timeout=HANG_SECONDS + 60)
        with contextlib.closing(connection):
            reply = send(door, connection, f"/nasty/{name}", body, str(uuid.uuid4()))
        found[f"{name}, {len(body)} bytes"] = _told(reply)

    with arena.load(sizes=False) as load:
        began = time.monotonic()
        calls = [
            threading.Thread(target=call, args=(name, bytes(size)))
            for name in names
            for size in (100, 3 * _MB)
        ]
        for thread in calls:
            thread.start()
        for thread in calls:
            thread.join(HANG_SECONDS + 90)
        replies = load.since(began)
    missing = 2 * len(names) - len(found)
    require(not missing, f"{missing} calls never ended")
    served = [reply.status == 200 for reply in replies]
    require(served and all(served), f"{served.count(False)} of {len(served)} others not served")
    wrong = {
        name: told
        for name, told in found.items()
        if not told.startswith("server.serverproxy.service_failed")
        and not name.startswith(("early", "long"))
    }
    require(not wrong, f"not told as a failure of the service: {wrong}")
    slowest = max(reply.seconds for reply in replies)
    return {
        "ways": len(found),
        "others_served": len(served),
        "slowest_s": slowest,
        "told": _count(found),
    }


def _told(reply: Reply) -> str:
    return reply.fault or f"HTTP {reply.status}"


def _count(found: dict[str, str]) -> dict[str, int]:
    told = list(found.values())
    return {each: told.count(each) for each in sorted(set(told))}


def large_answers(arena: Arena) -> dict[str, object]:
    """A very large answer, taken slowly, then quickly: memory stays bounded, others are served."""
    size = (200 if arena.quick else 10_000) * _MB
    # What killed workers left is removed by age, an hour later.
    orphans = set(arena.spooled())
    facts: dict[str, object] = {"bytes": size}
    for name, rate in (("taken slowly", _SLOW_RATE), ("taken quickly", 0.0)):
        watch = {party: MemoryWatch(partial(_pids, arena, party)) for party in PARTIES}
        with contextlib.ExitStack() as stack:
            load = stack.enter_context(arena.load(sizes=False))
            time.sleep(2)
            for each in watch.values():
                stack.enter_context(each)
            before = {party: each.highest.proportional for party, each in watch.items()}
            began = time.monotonic()
            received = _receive(arena, size, rate)
            seconds = time.monotonic() - began
            replies = load.since(began)
        require(received == size, f"{received} of {size} bytes arrived")
        served = [reply.status == 200 for reply in replies]
        require(all(served), f"{served.count(False)} of {len(served)} others were not served")
        growth = {
            party.server_code: each.highest.proportional - before[party]
            for party, each in watch.items()
        }
        facts[name] = {
            "mb_per_s": size / _MB / seconds,
            "growth_mb": growth,
            "others_served": len(served),
            "slowest_s": max((reply.seconds for reply in replies), default=0.0),
        }
        require(max(growth.values()) < GROWTH_MB, f"memory grew by {growth} MB")
    arena.wait(lambda: set(arena.spooled()) <= orphans, "the spool to be empty again", 30)
    return facts


def _receive(arena: Arena, size: int, rate: float) -> int:
    """Fetch a large answer, slowly at first if there is a rate; how many bytes it has."""
    door = arena.door("nasty")
    with socket.create_connection((door.host, door.port), timeout=900) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(
            f"POST /r1/{door.service}/nasty/large/{size} HTTP/1.1\r\nHost: a\r\n"
            f"X-Road-Client: {door.client}\r\nContent-Length: 0\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65536)
            require(data, f"no answer: {head[:300]!r}")
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        require(head.startswith(b"HTTP/1.1 200"), f"refused: {head[:300]!r}")
        received = len(rest)
        began = time.monotonic()
        while data := connection.recv(1 << 18):
            received += len(data)
            passed = time.monotonic() - began
            if rate and passed < _SLOW_SECONDS:
                time.sleep(max(0.0, min(received / rate - passed, 1.0)))
    return received


def _pids(arena: Arena, party: Party) -> list[int]:
    return list(arena.children(party).values())


SCENARIOS = (broken_services, large_answers)
