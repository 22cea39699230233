"""How are orders remembered, so that one cut off in the middle is continued and not repeated?

One file for each order, ``acme/orders/<id>.json``, written before each step that another party
hears of. Whoever works on orders holds the lock: there are never two at a time.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.file_locks import only_one
from postroad.adapters.files import write_atomic
from postroad.adapters.signer_protocol import KeyUsage
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_RECORD: Final = 64 * 1024


class OrderRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An order that is not finished."""

    id: str
    """Also the end of the new key's label, by which it is found again."""
    ca_name: str
    usage: KeyUsage
    started: datetime
    member: str | None
    """``INSTANCE/CLASS/CODE``; None for authentication."""
    token: str
    """The id of the token that holds the key."""
    label: str
    algorithm: str
    subject: tuple[tuple[str, str], ...]
    subject_alt_name: str | None
    profile: str
    name: str
    """The DNS name that is proven."""
    replaces: str = ""
    """SHA-256 (upper-case hex) of the certificate that is renewed; "" for a first one."""
    key_id: str = ""
    request_id: str = ""
    url: str = ""
    """Where the certification service keeps the order."""

    @property
    def what(self) -> str:
        """What is ordered, in words."""
        owner = f" of {self.member}" if self.member else ""
        return f"{self.usage.lower()} certificate{owner}"


class OrderBook:
    """The unfinished orders of one server."""

    def __init__(self, directory: Path) -> None:
        self._home = directory
        self._orders = directory / "orders"

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Be the only one who works on orders within the block; False when somebody else is."""
        for directory in (self._home, self._orders):
            directory.mkdir(mode=0o700, exist_ok=True)
        refusal = ConfigurationError("somebody is at work on orders", code=FaultCode.ACME_FAILED)
        with ExitStack() as stack:
            try:
                stack.enter_context(only_one(self._home / "lock", refusal))
            except ConfigurationError:
                yield False
            else:
                yield True

    def unfinished(self) -> list[OrderRecord]:
        """All orders, the oldest first; ``ConfigurationError`` for a file that can't be read."""
        found = []
        for path in self._orders.glob("*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=OrderRecord))
            except FileNotFoundError:
                continue
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigurationError(
                    f"{path} can't be read: delete it to give that order up",
                    code=FaultCode.ACME_FAILED,
                ) from error
        return sorted(found, key=lambda record: (record.started, record.id))

    def store(self, record: OrderRecord) -> None:
        """Remember an order as it is now."""
        try:
            write_atomic(self._path(record), msgspec.json.encode(record))
        except OSError as error:
            raise ConfigurationError(
                f"{self._path(record)} can't be written: {error.strerror}",
                code=FaultCode.ACME_FAILED,
            ) from error

    def close(self, record: OrderRecord) -> None:
        """Forget an order."""
        self._path(record).unlink(missing_ok=True)

    def _path(self, record: OrderRecord) -> Path:
        return self._orders / f"{record.id}.json"


def new_order_id() -> str:
    """The id of a new order."""
    return secrets.token_hex(8)
