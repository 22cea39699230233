"""Consumers that call without end and write down what was acknowledged to them."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from chaos.ledger import Ledger

TIMEOUT = 60.0
_SMALL, _SPOOLED, _BEYOND_THE_LOG = 300, 150_000, 11_000_000


@dataclass(frozen=True, slots=True)
class Door:
    """Where and as whom a consumer calls."""

    host: str
    port: int
    client: str
    """The client's identifier, as in the header."""
    service: str
    """The service's identifier, as in the path."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, or ``status`` 0 when there was none."""

    status: int
    fault: str
    body: bytes
    seconds: float
    content_type: str = ""


def post(
    connection: http.client.HTTPConnection, target: str, headers: dict[str, str], body: bytes
) -> Reply:
    """POST once; never raises for what the network or the server does."""
    started = time.monotonic()
    try:
        connection.request("POST", target, body=body, headers=headers)
        response = connection.getresponse()
        received = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return Reply(0, type(error).__name__, b"", time.monotonic() - started)
    fault, kind = (response.getheader(name, "") for name in ("X-Road-Error", "Content-Type"))
    return Reply(response.status, fault, received, time.monotonic() - started, kind)


def send(
    door: Door, connection: http.client.HTTPConnection, path: str, body: bytes, query_id: str
) -> Reply:
    """POST once to a REST service."""
    headers = {"X-Road-Client": door.client, "X-Road-Id": query_id}
    return post(connection, f"/r1/{door.service}{path}", headers, body)


def counted_body(query_id: str, size: int) -> bytes:
    """A body of about that size which no other message has."""
    return (query_id.encode() + b" ") * (size // 37 + 1)


def exchange(
    door: Door, ledger: Ledger, connection: http.client.HTTPConnection, size: int
) -> Reply:
    """One message of the ledger over REST."""
    query_id = str(uuid.uuid4())
    body = counted_body(query_id, size)
    ledger.sending(query_id, body)
    reply = send(door, connection, "/ledger", body, query_id)
    if reply.status == 200:
        ledger.acknowledged(query_id, json.loads(reply.body)["sha256"])
    else:
        ledger.refused(reply.fault or f"HTTP {reply.status}")
    return reply


Exchange = Callable[[Door, Ledger, http.client.HTTPConnection, int], Reply]


@dataclass(slots=True)
class Load:
    """A context manager: consumers call while its body runs."""

    door: Door
    ledger: Ledger
    consumers: int = 4
    pause: float = 0.03
    kinds: Mapping[Exchange, int] = field(default_factory=lambda: {exchange: 1})
    """What consumers do, and how often of each other."""
    sizes: bool = True
    """Whether some bodies are large enough for the spool."""
    replies: list[tuple[float, Reply]] = field(default_factory=list)
    """Each with the moment (monotonic) when it came."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in range(self.consumers):
            thread = threading.Thread(target=self._call, args=(number,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 10)

    def _call(self, number: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection(self.door.host, self.door.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            while not self._stop.wait(self.pause * chance.uniform(0.2, 1.8)):
                (act,) = chance.choices(list(self.kinds), list(self.kinds.values()))
                reply = act(self.door, self.ledger, connection, self._size(chance))
                self.replies.append((time.monotonic(), reply))
                if chance.random() < 0.1:
                    connection.close()
                if reply.status != 200:
                    self._stop.wait(0.05)

    def _size(self, chance: random.Random) -> int:
        draw = chance.random() if self.sizes else 1.0
        if draw < 0.002:
            return _BEYOND_THE_LOG
        return _SPOOLED if draw < 0.03 else _SMALL

    def since(self, moment: float) -> list[Reply]:
        """The replies that came after a moment."""
        return [reply for at, reply in list(self.replies) if at >= moment]
