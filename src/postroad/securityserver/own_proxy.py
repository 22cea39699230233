"""How does a server of ours send messages of its own: as a caller of its own client proxy.

Over TLS with the internal certificate, which the client proxy takes for the server itself whatever
the client's connection type says. Unlike the reference, which trusts whoever listens there, the
answering side must show that same certificate. Reference: ``ManagementRequestClient``.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import ClientTls
from postroad.adapters.tls import provider_client_context
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError
from postroad.securityserver.internal_tls import load_internal_identity

if TYPE_CHECKING:
    from postroad.adapters.http_client import HttpClient
    from postroad.securityserver.internal_tls import InternalIdentity
    from postroad.securityserver.settings import Settings

TIMEOUT: Final = 120.0
"""Seconds for a whole exchange: two servers log it, and may wait for OCSP answers."""
MAX_ANSWER: Final = 1024 * 1024


class OwnProxy:
    """This server's own client proxy, as it is reached from this machine."""

    def __init__(self, url: str, identity: InternalIdentity, http: HttpClient) -> None:
        self._url = url
        self._certificate = identity.certificate.der
        self._http = http
        self._tls = ClientTls(provider_client_context(identity.key_pem, identity.chain_pem))

    async def post(self, content_type: str, body: bytes) -> bytes:
        """Send one SOAP message or package; returns the SOAP answer, which may be a fault.

        Raises ``UnavailablePeer`` when nobody listens, ``TrustError`` when it isn't us who does,
        ``MalformedInput`` (``http_error``) for an answer that isn't SOAP.
        """
        response = await self._http.fetch(
            "POST",
            self._url,
            headers=(("Content-Type", content_type), ("SOAPAction", '""')),
            body=body,
            timeout=TIMEOUT,
            max_body=MAX_ANSWER,
            tls=self._tls,
            verify_peer=self._verify,
        )
        kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
        if response.status != 200 or kind != "text/xml":
            raise MalformedInput(
                f"our client proxy answered with status {response.status} and {kind or 'no type'}",
                code=FaultCode.HTTP_ERROR,
            )
        return response.body

    async def _verify(self, shown: bytes, _chain: tuple[bytes, ...]) -> None:
        if shown != self._certificate:
            raise TrustError(
                f"{self._url} doesn't show this server's internal certificate: another server "
                "listens there, or this one must be restarted to show it",
                code=FaultCode.SSL_AUTHENTICATION_FAILED,
            )


def open_own_proxy(settings: Settings, http: HttpClient) -> OwnProxy:
    """The client proxy of the server with these settings.

    Raises ``ConfigurationError`` when it has no HTTPS port, or there is no internal certificate.
    """
    section = settings.client_proxy
    if not section.https_port:
        raise ConfigurationError(
            "management requests go through the client proxy's HTTPS port: set `https_port` in "
            "the section [client_proxy] of server.toml"
        )
    url = f"https://{reachable_host(section.host)}:{section.https_port}/"
    return OwnProxy(url, load_internal_identity(settings.home_path), http)


def reachable_host(listening: str) -> str:
    """Where a port is reached from this machine that listens on an address, as a URL writes it.

    >>> reachable_host("0.0.0.0"), reachable_host("::"), reachable_host("127.0.0.5")
    ('127.0.0.1', '[::1]', '127.0.0.5')
    """
    try:
        address = ipaddress.ip_address(listening)
    except ValueError:
        return listening
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"[{address}]" if address.version == 6 else str(address)
