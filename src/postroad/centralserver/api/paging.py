"""Which part of a long list does somebody want, and in which order?

Source: reference ``PagingSortingParameters`` (the offset counts pages), ``PageRequestConverter``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload

MAX_LIMIT = 10_000
"""The longest page; -1 asks for it too."""

_Item = TypeVar("_Item")
SortKeys = Mapping[str, Callable[[Any], str | int]]
"""How items are ordered for each sorting key that an operation knows."""


class PagingSorting(msgspec.Struct, frozen=True, kw_only=True):
    """What a page is made of."""

    sort: Annotated[str, msgspec.Meta(min_length=2, max_length=40)] | None = None
    desc: bool = False
    limit: Annotated[int, msgspec.Meta(ge=-1, le=MAX_LIMIT)] = 25
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class PagingMetadata(Payload):
    """Which part of how many items this is."""

    total_items: int
    items: int
    limit: int
    offset: int


def page_of(
    items: Sequence[_Item], wanted: PagingSorting, keys: SortKeys
) -> tuple[list[_Item], PagingMetadata]:
    """One page of items, sorted without regard to case; refused for an unknown sorting key."""
    ordered = list(items)
    if wanted.sort is not None:
        if wanted.sort not in keys:
            raise ApiRefusal(400, "invalid_sort_properties", (wanted.sort,))
        key = keys[wanted.sort]
        ordered.sort(key=lambda item: _folded(key(item)), reverse=wanted.desc)
    limit, start = part_of(wanted)
    page = ordered[start : start + limit]
    return page, metadata_of(wanted, total=len(ordered), items=len(page))


def part_of(wanted: PagingSorting) -> tuple[int, int]:
    """How many items a page has at most, and how many come before it."""
    if wanted.limit == 0:
        raise ApiRefusal(400, "invalid_pagination_properties", ("limit",))
    limit = MAX_LIMIT if wanted.limit < 0 else wanted.limit
    return limit, wanted.offset * limit


def metadata_of(wanted: PagingSorting, *, total: int, items: int) -> PagingMetadata:
    """What is told about a page of ``items`` out of ``total``."""
    return PagingMetadata(total_items=total, items=items, limit=wanted.limit, offset=wanted.offset)


def _folded(value: str | int) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value.casefold())
