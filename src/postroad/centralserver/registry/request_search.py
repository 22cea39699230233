"""Which of all the management requests does somebody want to see, page by page?

The database filters, sorts and cuts: the history only grows. Source: reference
``JpaManagementRequestViewRepository``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, cast, func, or_, select

from postroad.centralserver.models.history import ManagementRequest
from postroad.centralserver.models.parties import Member, MemberClass
from postroad.centralserver.registry.parameters import own_instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, SQLColumnExpression
    from sqlalchemy.orm import Session

    from postroad.identifiers import SecurityServerId

    Column = SQLColumnExpression[Any]

SORT_KEYS: Final = (
    "id",
    "created_at",
    "type",
    "security_server_owner",
    "security_server_id",
    "status",
)
"""What requests can be sorted by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRequests:
    """Which requests, in which order, which part of them; None and empty mean all."""

    term: str | None = None
    """Is inside an id, a status, a name or an identifier, whatever its case."""
    term_types: tuple[str, ...] = ()
    """The registry's names of the types whose shown names the term is inside."""
    origin: str | None = None
    types: tuple[str, ...] = ()
    status: str | None = None
    server: SecurityServerId | None = None
    sort: str = "id"
    """One of ``SORT_KEYS``."""
    descending: bool = False
    limit: int = 25
    skip: int = 0


@dataclass(frozen=True, slots=True)
class FoundRequest:
    """A request, with what its server's owner and its client's member are called now."""

    row: ManagementRequest
    owner_name: str | None
    client_owner_name: str | None


def search_requests(session: Session, wanted: WantedRequests) -> tuple[Sequence[FoundRequest], int]:
    """One page of requests, and how many there are in all."""
    instance = own_instance(session)
    row = ManagementRequest
    owner = _name_of(row.server_instance, row.server_member_class, row.server_member_code, instance)
    client_owner = _name_of(
        row.client_instance, row.client_member_class, row.client_member_code, instance
    )
    conditions = _conditions(wanted, owner, client_owner)
    total = session.scalar(select(func.count()).select_from(row).where(*conditions)) or 0
    key = _sort_key(wanted.sort, owner)
    found = (
        select(row, owner, client_owner)
        .where(*conditions)
        .order_by(key.desc() if wanted.descending else key, row.id)
        .limit(wanted.limit)
        .offset(wanted.skip)
    )
    return [
        FoundRequest(each, owner_name, client_owner_name)
        for each, owner_name, client_owner_name in session.execute(found)
    ], total


def _conditions(
    wanted: WantedRequests,
    owner: Column,
    client_owner: Column,
) -> list[ColumnElement[bool]]:
    row = ManagementRequest
    conditions: list[ColumnElement[bool]] = []
    if wanted.origin is not None:
        conditions.append(row.origin == wanted.origin)
    if wanted.types:
        conditions.append(row.request_type.in_(wanted.types))
    if wanted.status is not None:
        conditions.append(row.status == wanted.status)
    if wanted.server is not None:
        shown = wanted.server
        conditions += [
            row.server_instance == shown.instance,
            row.server_member_class == shown.member_class,
            row.server_member_code == shown.member_code,
            row.server_code == shown.server_code,
        ]
    if wanted.term:
        texts = (
            cast(row.id, String),
            func.coalesce(row.status, ""),
            func.coalesce(owner, ""),
            _server(),
            func.coalesce(client_owner, ""),
            _client(),
        )
        conditions.append(
            or_(
                row.request_type.in_(wanted.term_types),
                *(_contains(text, wanted.term) for text in texts),
            )
        )
    return conditions


def _contains(text: Column, term: str) -> ColumnElement[bool]:
    # SQLite knows the two cases of ASCII only; what is written as it's stored is always found.
    return or_(
        text.contains(term, autoescape=True),
        func.lower(text).contains(term.lower(), autoescape=True),
    )


def _sort_key(name: str, owner: Column) -> Column:
    row = ManagementRequest
    keys: dict[str, Column] = {
        "id": row.id,
        "created_at": row.created_at,
        # In the order of the names that people see: both begin alike.
        "type": func.lower(row.request_type),
        "security_server_owner": func.lower(func.coalesce(owner, "")),
        "security_server_id": func.lower(_server()),
        "status": func.coalesce(row.status, ""),
    }
    return keys[name]


def _server() -> Column:
    row = ManagementRequest
    return _joined(
        row.server_instance, row.server_member_class, row.server_member_code, row.server_code
    )


def _client() -> Column:
    row = ManagementRequest
    member = _joined(
        func.coalesce(row.client_instance, ""),
        func.coalesce(row.client_member_class, ""),
        func.coalesce(row.client_member_code, ""),
    )
    return member + func.coalesce(":" + row.client_subsystem_code, "")


def _joined(first: Column, *others: Column) -> Column:
    text = first
    for each in others:
        text = text + ":" + each
    return text


def _name_of(
    instance: Column,
    member_class: Column,
    member_code: Column,
    own: str,
) -> Column:
    return (
        select(Member.name)
        .join(MemberClass)
        .where(
            instance == own,
            MemberClass.code == member_class,
            Member.member_code == member_code,
        )
        .correlate(ManagementRequest)
        .scalar_subquery()
    )
