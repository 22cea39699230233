"""What does the renewal job remember between its runs, and between the server's?

The signer keeps what administrators see (successor, last error, next attempt); the rest is in
``acme/renewals.json``, by SHA-256 of the certificate. A file that is lost costs an attempt too many
at worst.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.files import write_atomic
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

MAX_FILE: Final = 4 * 1024 * 1024


class RenewalState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known of one certificate's renewal."""

    planned: datetime | None = None
    """When to renew."""
    ask_again: datetime | None = None
    """When to ask the service again what it suggests."""
    failures: int = 0
    """In a row."""
    not_before: datetime | None = None
    """When the next attempt may be made after a failure."""
    active_since: datetime | None = None
    """When the successor was seen active first."""


class RenewalStates:
    """The states of all certificates."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._states: dict[str, RenewalState] = {}
        self._stored: dict[str, RenewalState] | None = None

    def load(self) -> None:
        """Read what was stored; what can't be read is begun anew."""
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_FILE)
            self._states = msgspec.json.decode(data, type=dict[str, RenewalState])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            self._states = {}
        self._stored = dict(self._states)

    def of(self, certificate_hash: str) -> RenewalState:
        """What is known of a certificate."""
        return self._states.get(certificate_hash, RenewalState())

    def change(self, certificate_hash: str, **changes: object) -> RenewalState:
        """Change what is known of a certificate, and keep that."""
        changed = msgspec.structs.replace(self.of(certificate_hash), **changes)
        self._states[certificate_hash] = changed
        return changed

    def store(self, known: Collection[str]) -> None:
        """Write what has changed; certificates that are gone are forgotten."""
        self._states = {name: state for name, state in self._states.items() if name in known}
        if self._states == self._stored:
            return
        try:
            write_atomic(self._path, msgspec.json.encode(self._states))
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} can't be written: {error.strerror}", code=FaultCode.ACME_FAILED
            ) from error
        self._stored = dict(self._states)
