"""What does the server configuration store? One class per table.

Modelled on the reference's serverconf database, with what its application code enforces made
constraints of the schema: one row per identifier, no duplicate endpoint, right or group member.
Identifiers of other parties are stored as text, percent-escaped as in headers.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from postroad.adapters.moment_column import Moment
from postroad.identifiers import ClientId, client_id


class ConnectionType(StrEnum):
    """How a client's information systems connect; the reference's stored words."""

    NOSSL = "NOSSL"
    """Plain HTTP is allowed; over HTTPS no certificate is asked for."""
    SSLNOAUTH = "SSLNOAUTH"
    """TLS is required, a certificate is not."""
    SSLAUTH = "SSLAUTH"
    """TLS with one of the client's registered certificates."""


class DescriptionType(StrEnum):
    """What kind of document or address describes services."""

    REST = "REST"
    OPENAPI3 = "OPENAPI3"
    WSDL = "WSDL"


class SubjectKind(StrEnum):
    """Who may hold an access right."""

    SUBSYSTEM = "SUBSYSTEM"
    GLOBALGROUP = "GLOBALGROUP"
    LOCALGROUP = "LOCALGROUP"


class Base(DeclarativeBase):
    """The declarative base; constraint names are predictable, since migrations refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Server(Base):
    """This Security Server: one row. `revision` counts the committed changes."""

    __tablename__ = "server"

    id: Mapped[int] = mapped_column(primary_key=True)
    identifier: Mapped[str] = mapped_column(String(1100))
    revision: Mapped[int]


class Client(Base):
    """A member or subsystem that this server serves; the owner is one of them."""

    __tablename__ = "client"
    __table_args__ = (
        UniqueConstraint("instance", "member_class", "member_code", "subsystem_code"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    instance: Mapped[str] = mapped_column(String(255))
    member_class: Mapped[str] = mapped_column(String(255))
    member_code: Mapped[str] = mapped_column(String(255))
    subsystem_code: Mapped[str] = mapped_column(String(255))
    """Empty for a member, so that uniqueness holds for members too."""
    status: Mapped[str] = mapped_column(String(64))
    connection_type: Mapped[str] = mapped_column(String(16))

    certificates: Mapped[list[Certificate]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="Certificate.id"
    )
    descriptions: Mapped[list[ServiceDescription]] = relationship(
        back_populates="client",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="ServiceDescription.id",
    )
    endpoints: Mapped[list[Endpoint]] = relationship(
        back_populates="client",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Endpoint.id",
    )
    local_groups: Mapped[list[LocalGroup]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="LocalGroup.group_code"
    )

    @property
    def identifier(self) -> ClientId:
        """The client's identifier."""
        return client_id(
            self.instance, self.member_class, self.member_code, self.subsystem_code or None
        )


class Certificate(Base):
    """A TLS certificate of a client's information systems, trusted in both directions."""

    __tablename__ = "certificate"
    __table_args__ = (UniqueConstraint("client_id", "hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("client.id", ondelete="CASCADE"))
    hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the DER, upper-case hex."""
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ServiceDescription(Base):
    """A WSDL, an OpenAPI document or the base address of a REST service."""

    __tablename__ = "service_description"
    __table_args__ = (UniqueConstraint("client_id", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("client.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(16))
    url: Mapped[str] = mapped_column(String(2048))
    disabled: Mapped[bool]
    disabled_notice: Mapped[str] = mapped_column(String(255))
    refreshed_at: Mapped[datetime] = mapped_column(Moment())

    client: Mapped[Client] = relationship(back_populates="descriptions")
    services: Mapped[list[Service]] = relationship(
        back_populates="description",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Service.id",
    )


class Service(Base):
    """A service: a code, a version for SOAP, and where it is."""

    __tablename__ = "service"
    __table_args__ = (UniqueConstraint("description_id", "service_code", "service_version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    description_id: Mapped[int] = mapped_column(
        ForeignKey("service_description.id", ondelete="CASCADE")
    )
    service_code: Mapped[str] = mapped_column(String(255))
    service_version: Mapped[str] = mapped_column(String(255))
    """Empty for services without a version."""
    title: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(String(2048))
    timeout: Mapped[int]
    """Seconds; 0 waits for ever."""
    verify_tls: Mapped[bool]

    description: Mapped[ServiceDescription] = relationship(back_populates="services")


class Endpoint(Base):
    """A method and path pattern of a service code; `*` and `**` stand for the whole service."""

    __tablename__ = "endpoint"
    __table_args__ = (UniqueConstraint("client_id", "service_code", "method", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("client.id", ondelete="CASCADE"))
    service_code: Mapped[str] = mapped_column(String(255))
    method: Mapped[str] = mapped_column(String(16))
    path: Mapped[str] = mapped_column(String(2048))
    generated: Mapped[bool]
    """Whether it came from an OpenAPI document, and goes with it."""

    client: Mapped[Client] = relationship(back_populates="endpoints")
    rights: Mapped[list[AccessRight]] = relationship(
        back_populates="endpoint",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="AccessRight.id",
    )


class AccessRight(Base):
    """A subject may call an endpoint."""

    __tablename__ = "access_right"
    __table_args__ = (UniqueConstraint("endpoint_id", "subject_kind", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id", ondelete="CASCADE"))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(3100))
    given_at: Mapped[datetime] = mapped_column(Moment())

    endpoint: Mapped[Endpoint] = relationship(back_populates="rights")


class LocalGroup(Base):
    """An access right group that one client keeps for itself."""

    __tablename__ = "local_group"
    __table_args__ = (UniqueConstraint("client_id", "group_code"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("client.id", ondelete="CASCADE"))
    group_code: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(Moment())

    members: Mapped[list[LocalGroupMember]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="LocalGroupMember.member"
    )


class LocalGroupMember(Base):
    """A subsystem in a local group."""

    __tablename__ = "local_group_member"
    __table_args__ = (UniqueConstraint("local_group_id", "member"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    local_group_id: Mapped[int] = mapped_column(ForeignKey("local_group.id", ondelete="CASCADE"))
    member: Mapped[str] = mapped_column(String(3100))
    added_at: Mapped[datetime] = mapped_column(Moment())


class TimestampingService(Base):
    """A chosen time-stamping service; `position` is the order of trying them."""

    __tablename__ = "timestamping_service"
    __table_args__ = (UniqueConstraint("url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(String(2048))
    cost_type: Mapped[str] = mapped_column(String(16))


class SubmittedRequest(Base):
    """A management request that the Central Server has taken in, and what became of it."""

    __tablename__ = "submitted_request"

    id: Mapped[int] = mapped_column(primary_key=True)
    service_code: Mapped[str] = mapped_column(String(64))
    client: Mapped[str] = mapped_column(String(1100))
    """Whom it is about; empty for one about the server itself."""
    value: Mapped[str] = mapped_column(String(1024))
    """The new address or name, the message, the new owner, the certificate's SHA-256."""
    request_id: Mapped[int | None] = mapped_column(BigInteger)
    """The Central Server's number; None when it had the same request already."""
    submitted_at: Mapped[datetime] = mapped_column(Moment())
    fulfilled_at: Mapped[datetime | None] = mapped_column(Moment())
    """When the global configuration showed what was asked for."""
