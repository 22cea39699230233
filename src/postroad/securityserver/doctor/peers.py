"""Can the chosen services' Security Servers be connected to, as for a message?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.ocsp import OcspResponse
from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling, Verdict
from postroad.securityserver.doctor.handshakes import ask_ocsp_port, describe, shake_hands
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.peer_certificates import peer_path, verify_peer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.globalconf.view import ProviderServer
    from postroad.identifiers import ClientId
    from postroad.securityserver.doctor.handshakes import SeenServerPort
    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "peer"


@dataclass(frozen=True, slots=True)
class SeenPeer:
    """One server of a provider, as we see it."""

    server: ProviderServer
    port: SeenServerPort
    certificate_problem: PostroadError | None = None
    """Why the certificate shown isn't that of a server that hosts the provider."""
    is_foreign: bool = False
    """Whether the certificate shown is no Security Server's at all."""
    ocsp_problem: PostroadError | None = None
    """Why its OCSP port doesn't prove that certificate good."""


async def examine(patient: Patient) -> Sequence[Finding]:
    """Try every server of every chosen provider."""
    globalconf = await patient.globalconf()
    clients = list(dict.fromkeys(service.client for service in patient.services))
    findings: list[Finding] = []
    for client in clients:
        servers = globalconf.servers_of(client)
        seen = await asyncio.gather(*(look(patient, client, server) for server in servers[:8]))
        findings += judge(client, seen)
    return findings or [
        Telling(NAME).ok("no service was chosen; try one with --service INSTANCE/CLASS/CODE/…")
    ]


async def look(patient: Patient, client: ClientId, server: ProviderServer) -> SeenPeer:
    """Do with one server what precedes a message."""
    section = patient.settings.server_proxy
    globalconf = await patient.globalconf()
    at = patient.clock.now()
    port = await shake_hands(patient, server.address, section.peer_port)
    if port.error is not None or not port.chain:
        return SeenPeer(server, port)
    try:
        path = peer_path(port.chain, client, globalconf, at)
    except PostroadError as error:
        known = globalconf.server_by_auth_certificate(port.chain[0])
        return SeenPeer(server, port, certificate_problem=error, is_foreign=known is None)

    async def prove() -> None:
        answer = await ask_ocsp_port(patient, server.address, section.peer_ocsp_port, path[:-1])
        if isinstance(answer, PostroadError):
            raise answer
        responses = [OcspResponse.parse(der) for der in answer]
        verify_peer(port.chain, responses, client=client, globalconf=globalconf, at=at)

    return SeenPeer(server, port, ocsp_problem=await attempt(prove()))


def judge(client: ClientId, seen: Sequence[SeenPeer]) -> list[Finding]:
    """One good server of a provider is enough; the others are warned about."""
    tell = Telling(NAME)
    if not seen:
        return [
            tell.failed(
                f"no Security Server hosts {client}, says the global configuration",
                "look at the identifier; ask the provider whether its client is registered",
                str(client),
            )
        ]
    findings = [_judge(entry, tell) for entry in seen]
    if any(finding.verdict is Verdict.OK for finding in findings):
        return [
            tell.warning(finding.seen, finding.advice, finding.subject)
            if finding.verdict is Verdict.FAILED
            else finding
            for finding in findings
        ]
    return findings


def _judge(entry: SeenPeer, tell: Telling) -> Finding:
    return _judge_handshake(entry, tell) or _judge_proofs(entry, tell)


def _judge_handshake(entry: SeenPeer, tell: Telling) -> Finding | None:
    name = str(entry.server.server_id)
    port = entry.port
    provider = "tell the provider's operator"
    if not port.connected:
        return tell.failed(
            f"{port.where} can't be reached: {'' if port.error is None else port.error.message}",
            f"look at our firewall; {provider}",
            name,
        )
    if port.error is not None:
        if port.chain:
            return tell.failed(
                f"TLS is terminated in front of {port.where}: it shows {describe(port.chain[0])}",
                f"{provider}: the port must be let through as TCP",
                name,
            )
        return tell.failed(
            f"no TLS handshake with {port.where}: {port.error.message}",
            f"{provider}; it may not know our certificate's authority",
            name,
            ("authentication certificate",),
        )
    return None


def _judge_proofs(entry: SeenPeer, tell: Telling) -> Finding:
    name = str(entry.server.server_id)
    port = entry.port
    provider = "tell the provider's operator"
    if entry.certificate_problem is not None:
        if entry.is_foreign:
            return tell.failed(
                f"TLS is terminated in front of {port.where}, or its certificate was never "
                f"registered: it shows {describe(port.chain[0])}",
                f"{provider}: the port must be let through as TCP",
                name,
            )
        return tell.failed(
            f"{port.where} shows {describe(port.chain[0])}: {entry.certificate_problem.message}",
            f"{provider}; it may have moved to another server",
            name,
            ("clock",),
        )
    if entry.ocsp_problem is not None:
        return tell.failed(
            f"its OCSP port doesn't prove its certificate: {entry.ocsp_problem.message}",
            f"{provider}: port 5577 must be open to us, and its OCSP answers fresh",
            name,
            ("clock",),
        )
    if entry.server.maintenance is not None:
        message = f": {entry.server.maintenance}" if entry.server.maintenance else ""
        return tell.warning(
            f"it is in maintenance mode{message}", "wait, or ask the provider's operator", name
        )
    return tell.ok(f"{port.where}: mutual TLS, certificate and OCSP answers are good", name)
