"""Which tables hold the parties: members, subsystems, security servers and global groups?

Source: reference tables ``member_classes``, ``security_server_clients``, ``security_servers``,
``server_clients``, ``auth_certs``, ``global_groups``, ``global_group_members``. Unlike there,
members and subsystems are two tables, and every uniqueness rule is a constraint.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from postroad.adapters.moment_column import Moment
from postroad.centralserver.models.base import Base, Code, Label


class MemberClass(Base):
    """A class of members, for example GOV: the second part of every member identifier."""

    __tablename__ = "member_classes"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Code, unique=True)
    description: Mapped[str] = mapped_column(Label)


class Member(Base):
    """A member of this instance, with its subsystems and the security servers it owns."""

    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("member_class_id", "member_code"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_class_id: Mapped[int] = mapped_column(ForeignKey("member_classes.id"))
    member_code: Mapped[str] = mapped_column(Code)
    name: Mapped[str] = mapped_column(Label)
    created_at: Mapped[datetime] = mapped_column(Moment)

    member_class: Mapped[MemberClass] = relationship(lazy="joined", innerjoin=True)
    subsystems: Mapped[list[Subsystem]] = relationship(
        back_populates="member",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Subsystem.id",
    )
    owned_servers: Mapped[list[SecurityServer]] = relationship(
        back_populates="owner",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="SecurityServer.id",
    )


class Subsystem(Base):
    """A subsystem of a member; its name is optional and falls back to the code."""

    __tablename__ = "subsystems"
    __table_args__ = (UniqueConstraint("member_id", "subsystem_code"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"))
    subsystem_code: Mapped[str] = mapped_column(Code)
    name: Mapped[str | None] = mapped_column(Label)
    created_at: Mapped[datetime] = mapped_column(Moment)

    member: Mapped[Member] = relationship(
        back_populates="subsystems", lazy="joined", innerjoin=True
    )
    registrations: Mapped[list[ServerClient]] = relationship(
        back_populates="subsystem", passive_deletes=True, order_by="ServerClient.id"
    )


class SecurityServer(Base):
    """A security server, identified by its owner and its code."""

    __tablename__ = "security_servers"
    __table_args__ = (UniqueConstraint("owner_id", "server_code"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"))
    server_code: Mapped[str] = mapped_column(Code)
    address: Mapped[str | None] = mapped_column(Label)
    in_maintenance_mode: Mapped[bool] = mapped_column(default=False)
    maintenance_mode_message: Mapped[str | None] = mapped_column(Label)
    created_at: Mapped[datetime] = mapped_column(Moment)

    owner: Mapped[Member] = relationship(
        back_populates="owned_servers", lazy="joined", innerjoin=True
    )
    auth_certificates: Mapped[list[AuthCertificate]] = relationship(
        back_populates="security_server",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="AuthCertificate.id",
    )
    clients: Mapped[list[ServerClient]] = relationship(
        back_populates="security_server",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="ServerClient.id",
    )


class AuthCertificate(Base):
    """A registered authentication certificate (DER); it belongs to exactly one server."""

    __tablename__ = "auth_certificates"

    id: Mapped[int] = mapped_column(primary_key=True)
    security_server_id: Mapped[int] = mapped_column(
        ForeignKey("security_servers.id", ondelete="CASCADE"), index=True
    )
    certificate: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(Moment)

    security_server: Mapped[SecurityServer] = relationship(back_populates="auth_certificates")


class ServerClient(Base):
    """The registration of a member or subsystem as a client of a server.

    The owner of a server is its client without such a row (G-33).
    """

    __tablename__ = "server_clients"
    __table_args__ = (
        UniqueConstraint("security_server_id", "member_id"),
        UniqueConstraint("security_server_id", "subsystem_id"),
        CheckConstraint("(member_id IS NULL) <> (subsystem_id IS NULL)", name="one_client"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    security_server_id: Mapped[int] = mapped_column(
        ForeignKey("security_servers.id", ondelete="CASCADE")
    )
    member_id: Mapped[int | None] = mapped_column(
        ForeignKey("members.id", ondelete="CASCADE"), index=True
    )
    subsystem_id: Mapped[int | None] = mapped_column(
        ForeignKey("subsystems.id", ondelete="CASCADE"), index=True
    )
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(Moment)

    security_server: Mapped[SecurityServer] = relationship(back_populates="clients")
    member: Mapped[Member | None] = relationship()
    subsystem: Mapped[Subsystem | None] = relationship(back_populates="registrations")


class GlobalGroup(Base):
    """A global access right group."""

    __tablename__ = "global_groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    group_code: Mapped[str] = mapped_column(Code, unique=True)
    description: Mapped[str] = mapped_column(Label)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    members: Mapped[list[GlobalGroupMember]] = relationship(
        back_populates="group",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="GlobalGroupMember.id",
    )


class GlobalGroupMember(Base):
    """A member or subsystem in a global group, by identifier: it may be of another instance.

    An empty subsystem code means the member itself; so the uniqueness covers that case too.
    """

    __tablename__ = "global_group_members"
    __table_args__ = (
        UniqueConstraint(
            "group_id",
            "instance",
            "member_class",
            "member_code",
            "subsystem_code",
            name="uq_global_group_members_client",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("global_groups.id", ondelete="CASCADE"))
    instance: Mapped[str] = mapped_column(Code)
    member_class: Mapped[str] = mapped_column(Code)
    member_code: Mapped[str] = mapped_column(Code)
    subsystem_code: Mapped[str] = mapped_column(Code, default="")
    created_at: Mapped[datetime] = mapped_column(Moment)

    group: Mapped[GlobalGroup] = relationship(back_populates="members")
