"""What do the checks ask, and what does each of them share with the others?

A :class:`Patient` is one Security Server as seen from beside it: its settings, its processes behind
their sockets, and the network. What several checks need is asked once. Nothing here changes
anything, and every question has an end.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar, cast

from postroad.adapters.http_client import HttpClient
from postroad.adapters.log_client import LogClient
from postroad.adapters.signer_client import SignerClient
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.securityserver.authentication_key import AuthenticationKey
from postroad.securityserver.globalconf_files import load_globalconf
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ServiceId
    from postroad.ports import FetchedResponse, HttpFetcher, KeyCertificate
    from postroad.securityserver.settings import Settings

ANSWER_SECONDS: Final = 8.0
"""How long anybody asked may take."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a file system."""

    free_bytes: int
    free_files: int | None
    """None where the file system doesn't count them."""


def room_at(path: Path) -> Room:
    """Ask the file system at ``path``."""
    status = os.statvfs(path)
    return Room(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None)


@dataclass(frozen=True, slots=True)
class HttpDate:
    """A ``Date`` header, and when it came."""

    url: str
    said: datetime
    at: datetime


class PatientFetcher:
    """An ``HttpFetcher`` that waits no longer than we do, and keeps the dates it hears."""

    def __init__(self, http: HttpFetcher, clock: Clock, seconds: float = ANSWER_SECONDS) -> None:
        self._http = http
        self._clock = clock
        self._seconds = seconds
        self.dates: list[HttpDate] = []

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - the adapter owns the deadline
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        """Send one request and return the whole response."""
        response = await self._http.fetch(
            method,
            url,
            headers=headers,
            body=body,
            timeout=min(timeout, self._seconds),
            max_body=max_body,
        )
        try:
            said = parsedate_to_datetime(response.header("date") or "")
        except ValueError:
            return response
        if said.tzinfo is not None:
            self.dates.append(HttpDate(url, said, self._clock.now()))
        return response


@dataclass
class Patient:
    """One Security Server under examination."""

    settings: Settings
    clock: Clock
    http: HttpClient
    signer: SignerClient
    log: LogClient
    services: tuple[ServiceId, ...] = ()
    """Services of other servers that the operator wants to be reached."""
    room: Callable[[Path], Room] = room_at
    answer_seconds: float = ANSWER_SECONDS
    _asked: dict[str, asyncio.Task[object]] = field(default_factory=dict)

    def fetcher(self) -> PatientFetcher:
        """How small HTTP requests are made."""
        return PatientFetcher(self.http, self.clock, self.answer_seconds)

    async def globalconf(self) -> GlobalConfiguration:
        """The stored global configuration, expired or not."""
        return await self.once(
            "globalconf", lambda: asyncio.to_thread(load_globalconf, self.settings)
        )

    async def serverconf(self) -> ServerConfView:
        """The server configuration as the workers know it."""

        async def load() -> ServerConfView:
            return ServerConfView(
                await asyncio.to_thread(load_snapshot, self.settings.snapshot_path)
            )

        return await self.once("serverconf", load)

    async def keys(self) -> tuple[KeyCertificate, ...]:
        """The certificates of all keys."""
        return await self.once("keys", self.signer.certificates)

    async def authentication_key(self) -> AuthenticationKey:
        """The key that the signer lends for TLS between servers."""

        async def borrow() -> AuthenticationKey:
            key = AuthenticationKey(self.signer)
            await key.refresh((await self.globalconf()).ca_certificates())
            return key

        return await self.once("authentication key", borrow)

    async def own_address(self) -> str:
        """The address that the global configuration gives this server."""
        address = (await self.globalconf()).address_of(self.settings.server_id)
        if address is None:
            raise ConfigurationError(
                f"the global configuration has no address of {self.settings.server_id}",
                code=FaultCode.INVALID_SECURITY_SERVER,
            )
        return address

    async def once(self, what: str, ask: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """Ask a question that several checks have, once; whoever gives up doesn't end it."""
        task = self._asked.get(what)
        if task is None:
            task = self._asked[what] = asyncio.ensure_future(ask())
            task.add_done_callback(_hear)
        return cast("_T", await asyncio.shield(task))

    def close(self) -> None:
        """Give up what is still being asked."""
        for task in self._asked.values():
            task.cancel()
        self.signer.close()
        self.log.close()
        self.http.close()


@contextmanager
def opened_patient(
    settings: Settings, clock: Clock, services: Sequence[ServiceId] = ()
) -> Iterator[Patient]:
    """A patient with connections of its own, closed at the end; needs a running event loop."""
    patient = Patient(
        settings=settings,
        clock=clock,
        http=HttpClient(),
        signer=SignerClient(settings.signer_socket),
        log=LogClient(settings.logwriter_socket),
        services=tuple(services),
    )
    try:
        yield patient
    finally:
        patient.close()


def _hear(task: asyncio.Task[object]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


async def attempt(work: Awaitable[_T]) -> _T | PostroadError:
    """The outcome of a question, or why there is none: both are something to judge."""
    try:
        return await work
    except PostroadError as error:
        return error


def short(certificate_sha256: bytes) -> str:
    """How findings name a certificate: the beginning of what `cert list` shows."""
    return certificate_sha256.hex()[:16].upper()
