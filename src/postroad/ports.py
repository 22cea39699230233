"""What the services need from outside, as Protocols; the adapters fulfil them.

Flows take these, never an adapter, so that each can be run whole in a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.algorithms import DigestAlgorithm
    from postroad.evidence.log_record import MessageRecord


@dataclass(frozen=True, slots=True)
class FetchedResponse:
    """A whole HTTP response, body in memory (bounded by the caller's ``max_body``)."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the last header of that name, whatever its case."""
        wanted = name.lower()
        values = [value for key, value in self.headers if key.lower() == wanted]
        return values[-1] if values else None


class HttpFetcher(Protocol):
    """Small HTTP requests: configuration, OCSP, time-stamps. No redirects, no proxies.

    Raises ``UnavailablePeer`` when there is no answer in time, ``MalformedInput`` when the answer
    isn't HTTP or is larger than ``max_body``.
    """

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,  # noqa: ASYNC109 - the adapter owns the deadline
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        """Send one request and return the whole response."""
        ...


@dataclass(frozen=True, slots=True)
class KeyCertificate:
    """A certificate that the signer holds for one of its keys."""

    key_id: str
    usage: str
    """``SIGNING`` or ``AUTHENTICATION``."""
    der: bytes
    member: str | None
    """``INSTANCE/CLASS/CODE`` of a signing certificate; None for authentication."""
    active: bool
    status: str
    """The reference's stored word: ``saved``, ``registered``, ``registration in progress``…"""
    token_active: bool
    """Whether the key can sign now: its token is there and logged in."""
    rsa_pss: bool = False
    """Whether the token signs with PSS when the key is RSA."""
    batch_signing: bool = True
    """Whether messages may share a signature of this key."""


@dataclass(frozen=True, slots=True)
class LentKey:
    """The authentication key, lent to a proxy process for TLS; it is never written to a file."""

    private_key_pkcs8_pem: bytes
    certificate_der: bytes


class SignerPort(Protocol):
    """The signer process, the only holder of private keys."""

    async def sign(self, key_id: str, digest_algorithm: DigestAlgorithm, digest: bytes) -> bytes:
        """Sign a digest: PKCS#1 v1.5 for RSA, raw ``r||s`` of fixed length for EC.

        Raises ``ConfigurationError`` (``token_not_active``, ``key_not_found``, ``cannot_sign``).
        """
        ...

    async def certificates(self) -> Sequence[KeyCertificate]:
        """List the certificates of all keys, with their state."""
        ...

    async def lend_authentication_key(self) -> LentKey:
        """Return the active authentication key and its certificate."""
        ...


class MessageLogPort(Protocol):
    """The message log: a record is durable when ``append`` has returned."""

    async def append(self, record: MessageRecord) -> int:
        """Store a record and return its id.

        Raises ``ConfigurationError`` (``logging_failed``) when it could not be made durable.
        """
        ...
