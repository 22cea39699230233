"""How is a small web application served on a port, as one task among others of a process?

For interfaces that operators and configuration clients use. Messages go through ``http_server``.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.applications import Starlette

_SHUTDOWN_SECONDS = 5
_KEEP_ALIVE_SECONDS = 5
_CONCURRENT_REQUESTS = 500


class QuietServer(uvicorn.Server):
    """A server that leaves the signals to the process it's part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


def web_config(application: Starlette) -> uvicorn.Config:
    """How such an application is served: bounded, quiet, believing no header about the peer."""
    return uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        limit_concurrency=_CONCURRENT_REQUESTS,
    )


def web_server(
    application: Starlette, *, tls_certificate: Path | None = None, tls_key: Path | None = None
) -> QuietServer:
    """A server of the application, over TLS when it has a certificate; run it with ``serve``."""
    config = web_config(application)
    if tls_certificate is not None and tls_key is not None:
        config.ssl_certfile = str(tls_certificate)
        config.ssl_keyfile = str(tls_key)
    return QuietServer(config)


def open_listener(host: str, port: int) -> socket.socket:
    """Open a port, 0 for any; ``ConfigurationError`` when that isn't possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {host} port {port}: {error.strerror or error}"
        ) from error


def port_of(listener: socket.socket) -> int:
    """The port that a listener has got."""
    port: int = listener.getsockname()[1]
    return port
