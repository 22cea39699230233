"""How do we prove to a certification service that a host name is ours: HTTP-01 (RFC 8555, 8.3)?

A port of its own, open only while a challenge waits; it answers one path and serves no file.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_server import HttpServer
from postroad.errors import ConfigurationError, FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.securityserver.settings_sections import AcmeSection

PATH: Final = "/.well-known/acme-challenge/"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")
"""128 bits of base64url at least (RFC 8555, 8.3)."""
_LIMITS: Final = ServerLimits(
    max_connections=64,
    max_head=8 * 1024,
    max_target=1024,
    max_headers=64,
    max_requests_per_connection=10,
    idle_timeout=5.0,
    head_timeout=5.0,
    body_timeout=5.0,
    write_timeout=5.0,
)


@asynccontextmanager
async def shown_challenge(settings: AcmeSection, token: str, text: str) -> AsyncIterator[None]:
    """Show ``text`` for ``token`` within the block.

    Raises ``MalformedInput`` for a token that isn't one, ``ConfigurationError`` when the port can't
    be opened or must not.
    """
    if _TOKEN.fullmatch(token) is None:
        raise MalformedInput(
            "the certification service's challenge has no token", code=FaultCode.ACME_FAILED
        )
    if not settings.acme_challenge_port_enabled:
        raise ConfigurationError(
            "the certification service wants a challenge: set acme_challenge_port_enabled",
            code=FaultCode.ACME_FAILED,
        )
    server = HttpServer(_Responding(PATH + token, text.encode("ascii")), _LIMITS)
    try:
        await server.listen(
            settings.acme_challenge_host, settings.acme_challenge_port, reuse_port=False
        )
    except OSError as error:
        raise ConfigurationError(
            f"the challenge port {settings.acme_challenge_port} can't be opened: {error.strerror}",
            code=FaultCode.ACME_FAILED,
        ) from error
    try:
        yield
    finally:
        await server.drain(1.0)


class _Responding:
    """The handler: the one target byte for byte, and nothing else there is."""

    def __init__(self, target: str, body: bytes) -> None:
        self._target = target
        self._body = body

    async def __call__(self, request: Request, responder: Responder) -> None:
        if request.method not in {"GET", "HEAD"} or request.target != self._target:
            await responder.respond(404, [("Content-Type", "text/plain")], b"")
            return
        headers = [("Content-Type", "application/octet-stream"), ("Cache-Control", "no-store")]
        await responder.respond(200, headers, self._body)
