"""Would a peer reach us: mutual TLS at the server port, OCSP responses at the port beside it?

The doctor calls the address that the global configuration gives this server. Where that can't be
called from inside (many routers don't turn back), the port is looked at on this machine, and
somebody outside has to try the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.ocsp import OcspResponse
from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.handshakes import (
    SeenServerPort,
    ask_ocsp_port,
    describe,
    shake_hands,
)
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.peer_certificates import judge_path, path_to_authority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.doctor.patient import Patient

SERVER_PORT: Final = "own server port"
OCSP_PORT: Final = "own OCSP port"
_ALL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - looked up


@dataclass(frozen=True, slots=True)
class SeenOcspPort:
    """What came from an OCSP port for our authentication certificate."""

    where: str
    problem: PostroadError | None
    """Why nothing came, or why it doesn't prove our certificate good."""
    answered: bool


async def examine_server_port(patient: Patient) -> Sequence[Finding]:
    """Shake hands with ourselves, from outside if that can be."""
    section = patient.settings.server_proxy
    outside = await from_outside(patient)
    inside = None
    if not outside.connected:
        inside = await shake_hands(patient, _ALL.get(section.host, section.host), section.port)
    own = {key.der for key in await patient.keys() if key.usage == "AUTHENTICATION"}
    return judge_server_port(outside, inside, own)


async def from_outside(patient: Patient) -> SeenServerPort:
    """Shake hands with the address that peers know; both checks share the outcome."""
    port = patient.settings.server_proxy.port

    async def shake() -> SeenServerPort:
        return await shake_hands(patient, await patient.own_address(), port)

    return await patient.once("own server port", shake)


def judge_server_port(
    outside: SeenServerPort, inside: SeenServerPort | None, own: set[bytes]
) -> list[Finding]:
    """What is shown must be a certificate of ours."""
    tell = Telling(SERVER_PORT)
    if not outside.connected:
        if inside is None or not inside.connected or inside.error is not None:
            return [
                tell.failed(
                    f"peers can't connect to {outside.where}: {_why(outside)}",
                    "look at firewall and port forwarding for this port",
                    symptom_of=("ports", "processes", "server"),
                )
            ]
        return [
            tell.warning(
                f"{outside.where} can't be reached from this machine, {inside.where} can",
                "have a peer try it: postroad doctor --service … there; or fix the forwarding",
            )
        ]
    if outside.chain and outside.chain[0].der not in own:
        return [
            tell.failed(
                f"TLS is terminated in front of {outside.where}: it shows a foreign certificate, "
                f"{describe(outside.chain[0])}",
                "let the port through as TCP: no proxy, balancer or inspection may open its TLS",
            )
        ]
    if outside.error is not None:
        return [
            tell.failed(
                f"no TLS handshake with {outside.where}: {_why(outside)}",
                "nothing between may speak TLS or HTTP itself; the worker's log tells more",
                symptom_of=("ports", "processes", "authentication certificate"),
            )
        ]
    return [tell.ok(f"{outside.where} shows our authentication certificate, mutual TLS works")]


def _why(seen: SeenServerPort) -> str:
    return "" if seen.error is None else seen.error.message


async def examine_ocsp_port(patient: Patient) -> Sequence[Finding]:
    """Ask ourselves what a peer asks, and judge it as a peer does."""
    section = patient.settings.server_proxy
    outside = await look_at_ocsp_port(patient, await patient.own_address(), section.ocsp_port)
    inside = None
    if not outside.answered:
        host = _ALL.get(section.ocsp_host, section.ocsp_host)
        inside = await look_at_ocsp_port(patient, host, section.ocsp_port)
    is_reached = (await from_outside(patient)).connected
    return judge_ocsp_port(outside, inside, server_port_reached=is_reached)


async def look_at_ocsp_port(patient: Patient, host: str, port: int) -> SeenOcspPort:
    """Fetch and prove the responses for our authentication certificate."""
    where = f"{host}:{port}"
    certificate = (await patient.authentication_key()).certificate
    globalconf = await patient.globalconf()
    instance = patient.settings.server_id.instance
    at = patient.clock.now()

    async def prove() -> None:
        path = path_to_authority(certificate, instance, globalconf, at)
        answer = await ask_ocsp_port(patient, host, port, path[:-1])
        if isinstance(answer, PostroadError):
            raise answer
        responses = [OcspResponse.parse(der) for der in answer]
        judge_path(path, responses, instance, globalconf, at)

    problem = await attempt(prove())
    answered = problem is None or "reached" not in problem.message
    return SeenOcspPort(where, problem, answered)


def judge_ocsp_port(
    outside: SeenOcspPort, inside: SeenOcspPort | None, *, server_port_reached: bool
) -> list[Finding]:
    """A peer that gets no good response from there refuses us.

    Where the server port beside it can be reached, it is no matter of where we call from.
    """
    tell = Telling(OCSP_PORT)
    if outside.problem is None:
        return [tell.ok(f"{outside.where} proves our authentication certificate good")]
    if not outside.answered:
        if inside is not None and inside.problem is None and not server_port_reached:
            return [
                tell.warning(
                    f"{outside.where} can't be reached from this machine, {inside.where} can",
                    "have a peer try it: postroad doctor --service … there; or fix the forwarding",
                )
            ]
        return [
            tell.failed(
                f"peers get no OCSP responses at {outside.where}: {outside.problem.message}",
                "open this port to peers as well: firewall, port forwarding",
                symptom_of=("ports", "processes", "server"),
            )
        ]
    return [
        tell.failed(
            f"what {outside.where} answers convinces no peer: {outside.problem.message}",
            "see the check of OCSP; nothing between may answer for this port",
            symptom_of=("OCSP", "clock", "processes", "files", "disk"),
        )
    ]
