"""What do all tables of the registry share?

The declarative base with predictable constraint names (migrations refer to them), the column type
for moments, and the bounds of texts.
"""

from __future__ import annotations

from sqlalchemy import MetaData, String
from sqlalchemy.orm import DeclarativeBase

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
