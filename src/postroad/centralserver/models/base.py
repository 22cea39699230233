"""What do all tables of the registry share?

The declarative base with predictable constraint names (migrations refer to them), the column type
for moments, and the bounds of texts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import DateTime, MetaData, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

CODE_LENGTH = 255
"""The longest identifier part (member code, group code and so on), in characters."""

Code = String(CODE_LENGTH)
"""Column type of an identifier part."""

Label = String(1024)
"""Column type of names, descriptions and addresses."""


class Base(DeclarativeBase):
    """The declarative base; ``Base.metadata`` is the schema as the code has it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Moment(TypeDecorator[datetime]):
    """A column of aware UTC moments; SQLite, which has no such type, keeps them without zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment as the driver wants it; a naive one is a programming error."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a naive datetime is not a moment")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - the signature is the library's
    ) -> datetime | None:
        """The stored moment, aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
