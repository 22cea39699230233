"""How much may an HTTP peer ask of us: every size, count and time in one place.

Sizes are bytes, times are seconds. The defaults suit the message ports: a header block of 64 KiB
leaves room for SAML and OAuth tokens that consumers carry, bodies are streamed and so have no
limit here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RECEIVE_BUFFER: Final = 128 * 1024
"""What is read from a socket at once: it passes through the processor's nearest caches, and there
is one such buffer for all connections of a server or client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one HTTP server accepts before it says no."""

    max_connections: int = 4096
    """Open connections per process; one more takes the place of an idle one, or gets 503."""
    max_connections_per_address: int = 0
    """Open connections of one address (IPv6: one subscriber's network); one more gets 503. 0 for
    no limit of its own."""
    max_head: int = 64 * 1024
    """Request line and header fields together."""
    max_target: int = 16 * 1024
    """The request target, as sent."""
    max_headers: int = 200
    """Header fields of one request; trailer fields count against the same number."""
    max_pipelined: int = 16
    """Requests that may wait in one connection behind the one being answered."""
    max_requests_per_connection: int = 1000
    """Then the connection closes, so that load spreads over the workers of a shared port again."""
    handshake_timeout: float = 10.0
    max_handshakes: int = 1024
    """TLS handshakes that aren't over, of a port of one process; the oldest makes room."""
    idle_timeout: float = 75.0
    """Between two requests, and before the first."""
    head_timeout: float = 30.0
    """From the first byte of a request to the end of its header block."""
    body_timeout: float = 60.0
    """Within this time at least ``body_progress`` bytes of a body must arrive (or its end)."""
    body_progress: int = 1024
    write_timeout: float = 60.0
    """A peer that takes no byte of our answer for so long is cut off."""
    linger_timeout: float = 2.0
    """How long the rest of an unwanted request is read away, so that our answer arrives."""
    max_linger: int = 1024 * 1024
    read_buffer: int = 256 * 1024
    """Body bytes that may wait for the handler before we stop reading from the socket."""
    write_buffer: int = 256 * 1024
    """Bytes that may wait for the socket before the handler has to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How the HTTP client treats the servers it calls."""

    connect_timeout: float = 30.0
    handshake_timeout: float = 30.0
    response_timeout: float = 60.0
    """From the end of our request to the head of the answer; infinite is ``math.inf``."""
    body_timeout: float = 60.0
    """Between two pieces of the answer's body."""
    write_timeout: float = 60.0
    """A server that takes no byte of our request for so long is given up."""
    idle_timeout: float = 60.0
    """How long a connection waits in the pool for its next request."""
    max_idle_per_destination: int = 256
    max_head: int = 64 * 1024
    max_headers: int = 200
    max_interim: int = 8
    """Interim (1xx) responses before the final one."""
    read_buffer: int = 256 * 1024
    write_buffer: int = 256 * 1024
