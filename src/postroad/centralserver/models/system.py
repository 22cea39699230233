"""Which tables hold the instance's own settings, configuration sources and signing keys?

Source: reference tables ``system_parameters``, ``configuration_sources``,
``configuration_signing_keys``, ``distributed_files`` (optional parts only: the generated ones are
files), ``trusted_anchors``. An empty node name means: every node, or the only one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from postroad.adapters.moment_column import Moment
from postroad.centralserver.models.base import Base, Code, Label


class SystemParameter(Base):
    """A system parameter, by the reference's key; some are kept per node."""

    __tablename__ = "system_parameters"
    __table_args__ = (UniqueConstraint("key", "node_name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Code)
    value: Mapped[str] = mapped_column(Text)
    node_name: Mapped[str] = mapped_column(Code, default="")


class ConfigurationSource(Base):
    """The internal or external configuration source of a node, with its newest anchor."""

    __tablename__ = "configuration_sources"
    __table_args__ = (
        UniqueConstraint("source_type", "node_name"),
        CheckConstraint("source_type IN ('internal', 'external')", name="source_type"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    source_type: Mapped[str] = mapped_column(String(8))
    node_name: Mapped[str] = mapped_column(Code, default="")
    anchor: Mapped[bytes | None] = mapped_column(LargeBinary)
    anchor_generated_at: Mapped[datetime | None] = mapped_column(Moment)

    keys: Mapped[list[ConfigurationSigningKey]] = relationship(
        back_populates="source",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="ConfigurationSigningKey.id",
    )


class ConfigurationSigningKey(Base):
    """A key that signs configuration: its certificate here, the private key in the key store.

    At most one key of a source is active: the one that signs. The others are announced only.
    """

    __tablename__ = "configuration_signing_keys"
    __table_args__ = (UniqueConstraint("source_id", "active"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(
        ForeignKey("configuration_sources.id", ondelete="CASCADE"), index=True
    )
    key_identifier: Mapped[str] = mapped_column(String(64), unique=True)
    algorithm: Mapped[str] = mapped_column(String(8))
    active: Mapped[bool | None] = mapped_column()
    """True for the key that signs, else None: so the constraint allows only one of the former."""
    certificate: Mapped[bytes] = mapped_column(LargeBinary)
    generated_at: Mapped[datetime] = mapped_column(Moment)
    label: Mapped[str] = mapped_column(Code, default="", server_default="")
    """What people call it."""

    source: Mapped[ConfigurationSource] = relationship(back_populates="keys")

    @property
    def is_active(self) -> bool:
        """Whether this is the key that signs."""
        return bool(self.active)


class OptionalPart(Base):
    """An uploaded optional configuration part; it goes into every version's internal directory."""

    __tablename__ = "optional_parts"

    id: Mapped[int] = mapped_column(primary_key=True)
    content_identifier: Mapped[str] = mapped_column(Code, unique=True)
    file_name: Mapped[str] = mapped_column(Code)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class TrustedAnchor(Base):
    """The anchor of a federated instance, byte for byte as uploaded."""

    __tablename__ = "trusted_anchors"

    id: Mapped[int] = mapped_column(primary_key=True)
    instance_identifier: Mapped[str] = mapped_column(Code, unique=True)
    anchor: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprint: Mapped[str] = mapped_column(Label)
    generated_at: Mapped[datetime | None] = mapped_column(Moment)


class ManagementServiceCertificate(Base):
    """The TLS certificate of a node's registration service, which clients pin.

    That of the empty name also counts for nodes that have none of their own.
    """

    __tablename__ = "management_certificates"

    node_name: Mapped[str] = mapped_column(Code, primary_key=True)
    certificate: Mapped[bytes] = mapped_column(LargeBinary)


class NodeGeneration(Base):
    """How the generation of configuration goes on a node, for the others to see."""

    __tablename__ = "node_generations"

    node_name: Mapped[str] = mapped_column(Code, primary_key=True)
    generated_at: Mapped[datetime | None] = mapped_column(Moment)
    """The last success; None when there was none."""
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    stamp: Mapped[str] = mapped_column(String(32))
    log_sequence: Mapped[int] = mapped_column()
    """The last entry of the change log that the published configuration knows."""
    content: Mapped[str] = mapped_column(String(64))
    """SHA-256 (hex) over the digests of all that is published: tells whether it has changed."""
    failing_since: Mapped[datetime | None] = mapped_column(Moment)
    error: Mapped[str] = mapped_column(Text)
