"""Which key does this server prove itself with to other servers, and with which TLS contexts?

The signer lends the authentication key to each proxy process, in memory only. Contexts are made
anew when the key, its certificate or the approved authorities change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.adapters.http_client import ClientTls
from postroad.adapters.tls import encode_pem, peer_client_context, peer_server_context
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from postroad.ports import LentKey, SignerPort


class AuthenticationKey:
    """The authentication key lent to this process, with what TLS needs of it."""

    def __init__(self, signer: SignerPort) -> None:
        self._signer = signer
        self._lent: LentKey | None = None
        self._authorities: tuple[Certificate, ...] = ()
        self._certificate: Certificate | None = None
        self._client_tls: ClientTls | None = None
        self.server_context: ssl.SSLContext | None = None
        """The context of the server port; None until a key was lent."""

    @property
    def certificate(self) -> Certificate:
        """Our authentication certificate.

        Raises ``ConfigurationError`` (``ssl_authentication_failed``) while there is none.
        """
        if self._certificate is None:
            raise _no_key()
        return self._certificate

    def client_tls(self) -> ClientTls:
        """How other servers are spoken to; raises as ``certificate`` does."""
        if self._client_tls is None:
            raise _no_key()
        return self._client_tls

    async def refresh(self, authorities: Sequence[Certificate]) -> bool:
        """Borrow the key again; whether anything changed.

        ``authorities`` are the approved ones of all instances. Raises ``ConfigurationError`` or
        ``UnavailablePeer``; what was lent before stays in use then.
        """
        lent = await self._signer.lend_authentication_key()
        if lent == self._lent and tuple(authorities) == self._authorities:
            return False
        chain = encode_pem(lent.certificate_der)
        certificate = Certificate.from_der(lent.certificate_der)
        server = peer_server_context(
            lent.private_key_pkcs8_pem, chain, [authority.der for authority in authorities]
        )
        if lent != self._lent:
            self._client_tls = ClientTls(peer_client_context(lent.private_key_pkcs8_pem, chain))
        self._lent, self._authorities = lent, tuple(authorities)
        self._certificate, self.server_context = certificate, server
        return True


def _no_key() -> ConfigurationError:
    return ConfigurationError(
        "the signer has lent no authentication key: is the token logged in, and does it hold an "
        "active authentication certificate?",
        code=FaultCode.SSL_AUTHENTICATION_FAILED,
    )
