"""Can the back-end services be connected to, with the TLS certificates they are to show?

TCP and the TLS handshake only: no request is sent, for nobody knows what a request would do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import ClientTls
from postroad.adapters.http_dialing import dial
from postroad.adapters.http_head import Url
from postroad.adapters.tls import provider_client_context
from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.internal_tls import load_internal_identity

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from postroad.securityserver.doctor.patient import Patient
    from postroad.securityserver.serverconf.snapshot import ServerConfView

NAME: Final = "services"
MAX_BACKENDS: Final = 200
AT_ONCE: Final = 16
CONNECT_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Backend:
    """Where services of one client are, and what must be shown there."""

    host: str
    port: int
    is_tls: bool
    pinned: frozenset[bytes] | None
    """The certificates of which one must be shown; None for any."""
    client: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenBackend:
    """How connecting to it went."""

    backend: Backend
    problem: PostroadError | None = None
    shown: bytes | None = None
    """The certificate (DER), None over plain HTTP."""


async def examine(patient: Patient) -> Sequence[Finding]:
    """Connect to each place once."""
    backends = places_of(await patient.serverconf())
    identity = await attempt(asyncio.to_thread(load_internal_identity, patient.settings.home_path))
    if isinstance(identity, PostroadError):
        context = provider_client_context()
    else:
        context = provider_client_context(identity.key_pem, identity.chain_pem)
    limit = asyncio.Semaphore(AT_ONCE)

    async def look(backend: Backend) -> SeenBackend:
        async with limit:
            return await connect(patient, backend, context)

    seen = await asyncio.gather(*(look(backend) for backend in backends[:MAX_BACKENDS]))
    return judge(seen, left_out=max(0, len(backends) - MAX_BACKENDS))


def places_of(view: ServerConfView) -> list[Backend]:
    """The back ends of all enabled services, each client's apart for its certificates."""
    found: dict[tuple[str, int, bool, bool, str], list[str]] = {}
    pins: dict[str, frozenset[bytes]] = {}
    for client in view.clients:
        name = str(client.identifier)
        pins[name] = client.certificates
        for service in client.services:
            if service.disabled or not service.url:
                continue
            try:
                url = Url.parse(service.url)
            except PostroadError:
                continue
            is_tls = url.scheme == "https"
            key = (url.host, url.port, is_tls, is_tls and service.verify_tls, name)
            found.setdefault(key, []).append(service.service_code)
    return [
        Backend(host, port, is_tls, pins[name] if pinned else None, name, tuple(codes))
        for (host, port, is_tls, pinned, name), codes in found.items()
    ]


async def connect(patient: Patient, backend: Backend, context: ssl.SSLContext) -> SeenBackend:
    """Connect, and look at the certificate."""

    async def shake() -> bytes | None:
        guard = patient.settings.service_networks.guard
        sock = await dial(backend.host, backend.port, timeout=CONNECT_SECONDS, guard=guard)
        if not backend.is_tls:
            sock.close()
            return None
        connection = await patient.http.connect(
            sock,
            backend.host,
            backend.port,
            ClientTls(context, backend.host),
            handshake_timeout=CONNECT_SECONDS,
        )
        chain = connection.chain
        connection.abort()
        return chain[0] if chain else b""

    outcome = await attempt(shake())
    if isinstance(outcome, PostroadError):
        return SeenBackend(backend, problem=outcome)
    return SeenBackend(backend, shown=outcome)


def judge(seen: Sequence[SeenBackend], *, left_out: int = 0) -> list[Finding]:
    """A place is good when it answers with a certificate that is registered for its client."""
    tell = Telling(NAME)
    findings: list[Finding] = []
    for entry in seen:
        backend = entry.backend
        where = f"{backend.host}:{backend.port}"
        codes = ", ".join(backend.services[:5]) + (" …" if len(backend.services) > 5 else "")
        what = f"{codes} of {backend.client}"
        if entry.problem is not None:
            findings.append(
                tell.failed(
                    f"the back end of {what} can't be used: {entry.problem.message}",
                    "start the service, or correct its address in the declaration",
                    where,
                )
            )
        elif backend.pinned is not None and entry.shown not in backend.pinned:
            findings.append(
                tell.failed(
                    f"the back end of {what} shows a TLS certificate that is not registered for "
                    f"{backend.client}",
                    "add its certificate to the client's, or set verify_tls = false",
                    where,
                )
            )
    if left_out:
        findings.append(
            tell.warning(f"{left_out} more back ends were not tried", "look at them by themselves")
        )
    if findings:
        return findings
    if not seen:
        return [tell.ok("no service is offered here")]
    return [tell.ok(f"{len(seen)} back ends can be connected to")]
