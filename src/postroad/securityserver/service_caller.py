"""How is an information system behind this server called, and which certificate may it show?

The handshake accepts any certificate; where the service wants verification, it must be one that is
registered for the provider, compared whole: no names, no authorities. Source: UG-SS 9, PR-REST 4.2;
reference: HttpClientCreator, ServiceTrustManager.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import ClientTls
from postroad.adapters.http_head import Url
from postroad.errors import FaultCode, TrustError
from postroad.securityserver.service_networks import refuse_link_local

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from postroad.adapters.http_client import ClientExchange, HttpClient
    from postroad.adapters.http_dialing import Guard
    from postroad.securityserver.serverconf.snapshot import ClientView, ServiceEntry

CONNECT_TIMEOUT: Final = 30.0
_MAX_HOSTS: Final = 1024


class InformationSystems:
    """Calls services; fulfils ``ServiceCaller``. ``context`` is asked once per host."""

    def __init__(
        self,
        client: HttpClient,
        context: Callable[[], ssl.SSLContext],
        guard: Guard = refuse_link_local,
    ) -> None:
        self._client = client
        self._guard = guard
        self._context = context
        self._tls: OrderedDict[tuple[ssl.SSLContext, str], ClientTls] = OrderedDict()

    async def open(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        *,
        content_length: int,
        service: ServiceEntry,
        provider: ClientView,
    ) -> ClientExchange:
        """Begin a request to a service; a timeout of 0 waits for ever."""
        where = Url.parse(url)

        async def pin(leaf: bytes, _chain: tuple[bytes, ...]) -> None:
            if leaf not in provider.certificates:
                raise TrustError(
                    f"the service at {where.authority} shows a TLS certificate that is not "
                    f"registered for {provider.identifier}",
                    code=FaultCode.SSL_AUTHENTICATION_FAILED,
                )

        is_tls = where.scheme == "https"
        return await self._client.open(
            method,
            where,
            headers=headers,
            content_length=content_length,
            tls=self._tls_for(where.host) if is_tls else None,
            verify_peer=pin if is_tls and service.verify_tls else None,
            response_timeout=service.timeout or math.inf,
            connect_timeout=CONNECT_TIMEOUT,
            guard=self._guard,
        )

    def _tls_for(self, host: str) -> ClientTls:
        """One TLS recipe per host, because connections and sessions are kept by it."""
        key = (self._context(), host)
        tls = self._tls.get(key)
        if tls is None:
            tls = self._tls[key] = ClientTls(key[0], None if _is_address(host) else host)
        self._tls.move_to_end(key)
        if len(self._tls) > _MAX_HOSTS:
            self._tls.popitem(last=False)
        return tls


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
