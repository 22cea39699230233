"""What does a Security Server show at its two ports for peers, as seen by a peer?

A whole TLS handshake with our authentication certificate, as for a message, and the OCSP port; no
message is sent. When the handshake fails, a second one with the suites of ordinary web servers
tells whether something else answers there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import ClientTls
from postroad.adapters.http_dialing import dial
from postroad.adapters.tls import provider_client_context
from postroad.errors import PostroadError
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.peer_certificates import certificates_of
from postroad.securityserver.provider_judgement import fetch_ocsp_responses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.certificates import Certificate
    from postroad.securityserver.doctor.patient import Patient

CONNECT_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class SeenServerPort:
    """How a handshake ended."""

    where: str
    error: PostroadError | None = None
    """Why there was none, with the protocol's suites."""
    chain: tuple[Certificate, ...] = ()
    """What was shown, end-entity first, even when the protocol's handshake failed."""
    connected: bool = True
    """Whether a TCP connection was made."""


async def shake_hands(patient: Patient, host: str, port: int) -> SeenServerPort:
    """Connect to a server port and look at what it shows."""
    where = f"{host}:{port}"
    tls = (await patient.authentication_key()).client_tls()
    chain = await attempt(_chain(patient, host, port, tls))
    if not isinstance(chain, PostroadError):
        return SeenServerPort(where, chain=chain)
    sock = await attempt(dial(host, port, timeout=CONNECT_SECONDS))
    if isinstance(sock, PostroadError):
        return SeenServerPort(where, sock, connected=False)
    sock.close()
    other = await attempt(_chain(patient, host, port, ClientTls(provider_client_context(), host)))
    shown = () if isinstance(other, PostroadError) else other
    return SeenServerPort(where, chain, shown)


async def _chain(patient: Patient, host: str, port: int, tls: ClientTls) -> tuple[Certificate, ...]:
    sock = await dial(host, port, timeout=CONNECT_SECONDS)
    connection = await patient.http.connect(
        sock, host, port, tls, handshake_timeout=CONNECT_SECONDS
    )
    shown = connection.chain
    connection.abort()
    return certificates_of(shown)


async def ask_ocsp_port(
    patient: Patient, host: str, port: int, certificates: Sequence[Certificate]
) -> list[bytes] | PostroadError:
    """The OCSP responses (DER, unverified) that a server hands out for its certificates."""
    return await attempt(fetch_ocsp_responses(patient.fetcher(), host, port, certificates))


def describe(certificate: Certificate) -> str:
    """Whose certificate it is, for an operator who looks for where it comes from."""
    return f"{certificate.subject_rfc2253}, issued by {certificate.issuer_rfc2253}"
