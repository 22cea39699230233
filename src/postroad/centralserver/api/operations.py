"""What is an operation of the management interface, as data, and what does its handler get?

The tables of operations say everything that the application, the OpenAPI document and the tests of
access need to know: method, path, permission, payloads, status and audit event.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from postroad.centralserver.api.refusals import FORBIDDEN, validation_failure
from postroad.centralserver.rate_limit import RateLimit
from postroad.centralserver.registry.change import details_of
from postroad.centralserver.roles import Permission, Role, permissions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.orm import Session

    from postroad.centralserver.management_ports import CertificateSwitch
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.registry.change import Change, Detail
    from postroad.centralserver.token_login import TokenLogin

JSON_BYTES: Final = 50 * 1024
UPLOAD_BYTES: Final = 10 * 1024 * 1024
PIN_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person who has logged in, or a program with its API key."""

    name: str
    roles: frozenset[Role]
    scheme: str
    """How they proved it, in the words of the audit log."""

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything they may do."""
        return permissions_of(self.roles)


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with: the opened node, its token, and the ports' TLS certificate."""

    node: CentralServerNode
    login: TokenLogin
    certificates: CertificateSwitch
    pin_attempts: RateLimit = field(default_factory=lambda: RateLimit(PIN_ATTEMPTS))
    """PINs that one caller may try in a minute."""
    backing_up: threading.Lock = field(default_factory=threading.Lock)
    """Held while a backup is written."""


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that is a file."""

    data: bytes
    file_name: str
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form."""

    file_name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class WithStatus:
    """An answer with another status than the operation's usual one."""

    status: int
    body: object


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an operation: who asks, for what."""

    services: Services
    caller: Caller
    path: Mapping[str, str]
    query: Any = None
    """The query parameters, as the operation's ``query`` type."""
    body: Any = None
    """The payload, as the operation's ``body`` or ``form`` type."""
    has_session: bool = False
    audited: dict[str, Detail] = field(default_factory=dict)
    """What the audit log says about it: what the change log records, and what handlers add."""
    events: list[str] = field(default_factory=list)
    """The audit log's name of it, where only the handler knows which."""

    @property
    def node(self) -> CentralServerNode:
        """The opened node."""
        return self.services.node

    @property
    def node_name(self) -> str:
        """This node's name in a cluster, empty when it's alone."""
        return self.node.settings.central.node_name

    @contextmanager
    def changing(self) -> Iterator[Change]:
        """One transaction of operations on the registry, in the caller's name."""
        with self.node.changing(self.actor) as change:
            yield change
        for entry in change.entries:
            self.audited.update(details_of(entry))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees the registry at one moment."""
        with self.node.reading() as session:
            yield session

    @property
    def actor(self) -> str:
        """Who is recorded in the change log."""
        return f"api:{self.caller.name}"

    def number(self, name: str) -> int:
        """A path parameter that is a positive 32-bit number."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:11]) < 2**31:
            raise validation_failure(name, "a positive number is wanted")
        return int(text)

    def require(self, permission: Permission) -> None:
        """Refuse a caller who lacks a permission that only the payload tells."""
        if permission not in self.caller.permissions:
            raise FORBIDDEN


AUTHENTICATED: Final[frozenset[Permission]] = frozenset()
"""For everybody who has proved who they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. One of the permissions in ``needs`` is enough; none means: any caller."""

    method: str
    path: str
    """Below ``/api/v1``, with its parameters in braces."""
    name: str
    """The reference's ``operationId``, where it has one."""
    handler: Callable[[Call], object]
    needs: frozenset[Permission]
    status: int = 200
    body: Any = None
    """The type of the JSON payload."""
    form: Any = None
    """The type of the form, whose ``Upload`` fields are files."""
    query: Any = None
    """The type whose fields are the query parameters."""
    answer: Any = None
    """The type of the JSON answer; ``Download`` for a file."""
    event: str | None = None
    """The audit log's name of it, for what changes something."""
    other_statuses: tuple[int, ...] = ()
    keys_only_by_password: bool = False
    """Whether an API key is no proof here, and a password shown with the request is."""


def any_of(*permissions: Permission) -> frozenset[Permission]:
    """Somebody with one of these may."""
    return frozenset(permissions)
