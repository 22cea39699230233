"""What do the flows need of the HTTP exchanges that they begin?

With another security server (the client's side) or with an information system (the provider's
side); ``peer_connector`` and ``service_caller`` fulfil it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from postroad.errors import PostroadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.globalconf.view import ProviderServer
    from postroad.securityserver.serverconf.snapshot import ClientView, ServiceEntry
    from postroad.wire.headers import HeaderList


class AnswerHead(Protocol):
    """The head of an HTTP answer."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def reason(self) -> str:
        """Reason phrase; may be empty."""
        ...

    @property
    def headers(self) -> HeaderList:
        """Header fields in order."""
        ...


class OutgoingExchange(Protocol):
    """One HTTP exchange that we began."""

    async def write(self, data: bytes) -> bool:
        """Send a slice of the body; False if the answer is complete and no more is wanted."""
        ...

    async def finish(self, last: bytes = b"") -> None:
        """Send the last slice."""
        ...

    async def response(self) -> AnswerHead:
        """Wait for the head of the answer."""
        ...

    async def read_some(self) -> bytes:
        """The next slice of the answer's body; ``b""`` at its end."""
        ...

    def close(self) -> None:
        """Give up what isn't complete."""
        ...


class ProviderConnector(Protocol):
    """Opens an exchange with one of the servers that host a provider, the fastest that is good."""

    async def open(
        self,
        servers: Sequence[ProviderServer],
        judge: Callable[[str, tuple[bytes, ...]], Awaitable[None]],
        headers: HeaderList,
    ) -> OutgoingExchange:
        """Connect, let ``judge(host, chain)`` accept the server, begin ``POST /``.

        A server that can't be reached or is refused is passed over for the next one. Raises
        ``UnavailablePeer`` (``network_error``), or the last refusal.
        """
        ...


class ServiceCaller(Protocol):
    """Opens exchanges with the information systems behind this server."""

    async def open(
        self,
        method: str,
        url: str,
        headers: HeaderList,
        *,
        content_length: int,
        service: ServiceEntry,
        provider: ClientView,
    ) -> OutgoingExchange:
        """Begin a request; redirects are never followed and nothing is repeated.

        A service whose certificate is to be verified must show one that is registered for the
        provider. Raises ``UnavailablePeer``, or ``TrustError`` (``ssl_authentication_failed``).
        """
        ...


async def open_service(
    services: ServiceCaller,
    method: str,
    url: str,
    headers: HeaderList,
    *,
    content_length: int,
    service: ServiceEntry,
    provider: ClientView,
) -> OutgoingExchange:
    """Begin a request to a service; an error doesn't tell other servers where our services are."""
    try:
        return await services.open(
            method,
            url,
            headers,
            content_length=content_length,
            service=service,
            provider=provider,
        )
    except PostroadError as error:
        # Our access log tells the rest.
        raise type(error)("the service can't be reached", code=error.code) from error
