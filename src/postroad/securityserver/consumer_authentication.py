"""May this information system speak for this client?

Decided by the client's connection type and the certificate shown in the TLS handshake; certificates
are compared whole, no path is built. Source: PR-REST 3, UG-SS 9; reference: IsAuthentication.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from postroad.errors import FaultCode, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Caller(Protocol):
    """What is known of the connection that a request came in on."""

    @property
    def tls(self) -> bool:
        """Whether it is encrypted."""
        ...

    @property
    def certificate(self) -> bytes | None:
        """DER of the certificate that the caller proved to hold the key of."""
        ...


def check_consumer(
    caller: Caller,
    *,
    connection_type: str,
    certificates: AbstractSet[bytes],
    internal_certificate: bytes | None,
    verify_certificate: bool = True,
) -> None:
    """Return quietly if the caller may speak for the client.

    ``certificates`` are those registered for the client, ``internal_certificate`` is this server's
    own on the information system side, with which its own requests come. An unknown connection
    type counts as the strictest. Raises ``RefusedRequest`` (``ssl_authentication_failed``).
    """
    if connection_type == "NOSSL":
        return
    if not caller.tls:
        raise _refused("this client must connect with TLS")
    if connection_type == "SSLNOAUTH" or not verify_certificate:
        return
    if caller.certificate is None:
        raise _refused("this client must show a TLS certificate")
    if internal_certificate is not None and caller.certificate == internal_certificate:
        return
    if not certificates:
        raise _refused("no TLS certificate is registered for this client")
    if caller.certificate not in certificates:
        raise _refused("the TLS certificate shown is not registered for this client")


def _refused(message: str) -> RefusedRequest:
    return RefusedRequest(message, code=FaultCode.SSL_AUTHENTICATION_FAILED)
