"""What is refused before anybody looks at the request, and which headers does every answer carry?

Source: reference rate limits of the administration service (20 a second, 600 a minute).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response

from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.rate_limit import RateLimit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from postroad.centralserver.settings import ManagementApiSection

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class Gate:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, settings: ManagementApiSection) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._limits = (
            RateLimit(settings.requests_per_second, period=1.0),
            RateLimit(settings.requests_per_minute),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let through."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        body = msgspec.json.encode(refusal.info)
        response = Response(body, refusal.status, media_type="application/json")
        await response(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ApiRefusal | None:
        if self._hosts and not _host(scope) & self._hosts:
            return ApiRefusal(400, "invalid_host")
        address = scope["client"][0] if scope.get("client") else ""
        at = time.monotonic()
        if not all(limit.admit(address, at) for limit in self._limits):
            return ApiRefusal(429, "too_many_requests")
        return None


def _host(scope: Scope) -> frozenset[str]:
    """The one host that a request names, without its port."""
    named = [value for name, value in scope["headers"] if name == b"host"]
    if len(named) != 1:
        return frozenset()
    text = named[0].decode("latin-1").lower()
    host, colon, port = text.rpartition(":")
    return frozenset({host if colon and port.isdigit() else text})
