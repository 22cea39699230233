"""Which tables hold the administrators and API keys of the management interface?

Source: reference tables ``apikey`` and ``apikey_roles``. The reference takes its users from the
operating system; ours are rows here, with the hash of their password.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from postroad.adapters.moment_column import Moment
from postroad.centralserver.models.base import Base, Code, Label

RoleName = String(32)


class Administrator(Base):
    """A person who may log in, with the roles that say what for."""

    __tablename__ = "administrators"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(Code, unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    """Argon2id with its salt and cost, in the PHC form."""
    created_at: Mapped[datetime] = mapped_column(Moment)

    roles: Mapped[list[AdministratorRole]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="AdministratorRole.id"
    )


class AdministratorRole(Base):
    """One role of an administrator."""

    __tablename__ = "administrator_roles"
    __table_args__ = (UniqueConstraint("administrator_id", "role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    administrator_id: Mapped[int] = mapped_column(
        ForeignKey("administrators.id", ondelete="CASCADE")
    )
    role: Mapped[str] = mapped_column(RoleName)


class ApiKey(Base):
    """A key that programs show; only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 (hex): the key is random and long, so it needs no salt and no slow hash."""
    created_by: Mapped[str] = mapped_column(Label)
    created_at: Mapped[datetime] = mapped_column(Moment)

    roles: Mapped[list[ApiKeyRole]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="ApiKeyRole.id"
    )


class ApiKeyRole(Base):
    """One role of an API key."""

    __tablename__ = "api_key_roles"
    __table_args__ = (UniqueConstraint("api_key_id", "role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    api_key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(RoleName)
