"""May this client call this service, with this method and path?

Rights are held by subsystems, global groups and local groups, for a whole service (the base
endpoint) or for one endpoint of it. There are no deny rules: what no right allows is denied.
Source: PR-REST 4.2 and the reference's AccessRight rules; the service version plays no role, so one
right covers all versions of a service code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from postroad.authorization.paths import Refusal, path_matches, safe_service_path
from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import (
    ClientId,
    GlobalGroupId,
    LocalGroupId,
    ServiceId,
    SubsystemId,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "BASE_ENDPOINT",
    "AccessRight",
    "Allowed",
    "DenialReason",
    "Denied",
    "Endpoint",
    "Refusal",
    "Subject",
    "decide_access",
    "held_rights",
    "parse_endpoint",
    "safe_service_path",
]

Subject = SubsystemId | GlobalGroupId | LocalGroupId
"""Who may hold an access right. Members as such may not."""

Group = GlobalGroupId | LocalGroupId

MAX_PATTERN_CHARACTERS: Final = 2048

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One method and path pattern of a service; `*` and `**` together mean the whole service.

    >>> Endpoint("GET", "/pets/*").covers("get", "/pets/7")
    True
    """

    method: str
    path: str

    @property
    def is_base(self) -> bool:
        """Whether rights on this endpoint are rights on the service itself."""
        return self.method == "*" and self.path == "**"

    def covers(self, method: str | None, path: str | None) -> bool:
        """Whether a call falls under this endpoint; `None` is a SOAP call: base endpoint only."""
        if method is None or path is None:
            return self.is_base
        if self.method != "*" and self.method.upper() != method.upper():
            return False
        return self.path == "**" or path_matches(self.path, path)


BASE_ENDPOINT: Final = Endpoint("*", "**")


def parse_endpoint(method: str, path: str) -> Endpoint:
    """Check an endpoint as an administrator wrote it, and build it.

    Raises `MalformedInput` for an unknown method, a path pattern that is neither `**` nor starts
    with a slash, one that could never match a safe path (`?`, `#`, `//`, dot segments), or one of
    more than 2048 characters.
    """
    spelled = method.upper()
    if spelled != "*" and spelled not in METHODS:
        raise _invalid_endpoint(f"the method {method!r} is neither '*' nor a known one")
    if len(path) > MAX_PATTERN_CHARACTERS:
        raise _invalid_endpoint(f"the path has more than {MAX_PATTERN_CHARACTERS} characters")
    if path == "**":
        return Endpoint(spelled, path)
    if not path.startswith("/"):
        raise _invalid_endpoint(f"the path {path!r} is neither '**' nor starts with '/'")
    if any(character in "?#" or not character.isprintable() for character in path):
        raise _invalid_endpoint(f"the path {path!r} has a '?', a '#' or a control character")
    *inner, last = path[1:].split("/")
    if not {"", ".", ".."}.isdisjoint(inner) or last in {".", ".."}:
        raise _invalid_endpoint(f"the path {path!r} has an empty or a dot segment")
    return Endpoint(spelled, path)


def _invalid_endpoint(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_REQUEST)


@dataclass(frozen=True, slots=True)
class AccessRight:
    """A subject may call one endpoint (or all of them: the base endpoint) of a service code."""

    subject: Subject
    service_code: str
    endpoint: Endpoint = BASE_ENDPOINT


class DenialReason(StrEnum):
    """Why a call is denied; the peer is told `access_denied` in every case."""

    NO_RIGHT = "no_right"
    UNSAFE_PATH = "unsafe_path"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call is covered by `right`."""

    right: AccessRight


@dataclass(frozen=True, slots=True)
class Denied:
    """No right covers the call; `detail` is for the provider's log, not for the caller."""

    reason: DenialReason
    detail: str


def decide_access(  # noqa: PLR0917 - the parts of one question
    client: ClientId,
    service: ServiceId,
    method: str | None,
    raw_service_path: str | None,
    rights: Iterable[AccessRight],
    groups: Callable[[ClientId, Group], bool],
) -> Allowed | Denied:
    """Decide whether `client` may call `service` (PR-REST 4.2, PR-MESSTRANSP 3.3 access check).

    `rights` are those that the provider of `service` gave; `groups` answers whether a client is in
    a global group, or in a local group of that same provider. `method` and `raw_service_path` are
    `None` for a SOAP call. The raw path is judged as `safe_service_path` reads it; an unsafe path
    is denied to everybody, also to holders of a right on the whole service, since it might leave
    the service altogether.
    """
    path = None if raw_service_path is None else safe_service_path(raw_service_path)
    if isinstance(path, Refusal):
        return Denied(DenialReason.UNSAFE_PATH, f"{path.reason}: {path.detail}")
    for right in rights:
        if (
            right.service_code == service.service_code
            and right.endpoint.covers(method, path)
            and _is_held_by(right.subject, client, groups)
        ):
            return Allowed(right)
    return Denied(DenialReason.NO_RIGHT, f"no right of {client} covers this call of {service}")


def held_rights(
    client: ClientId, rights: Iterable[AccessRight], groups: Callable[[ClientId, Group], bool]
) -> tuple[AccessRight, ...]:
    """Those of ``rights`` that the client holds itself or through a group."""
    return tuple(right for right in rights if _is_held_by(right.subject, client, groups))


def _is_held_by(
    subject: Subject, client: ClientId, groups: Callable[[ClientId, Group], bool]
) -> bool:
    if isinstance(subject, SubsystemId):
        return subject == client
    return groups(client, subject)
