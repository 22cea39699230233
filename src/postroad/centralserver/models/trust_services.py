"""Which tables hold the approved certification and time-stamping services?

Source: reference tables ``approved_cas``, ``ca_infos``, ``ocsp_infos``, ``approved_tsas``.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from postroad.adapters.moment_column import Moment
from postroad.centralserver.models.base import Base, Label


class ApprovedCa(Base):
    """An approved certification service: one top CA and any number of intermediate CAs."""

    __tablename__ = "approved_cas"
    __table_args__ = (
        CheckConstraint("default_csr_format IN ('PEM', 'DER')", name="default_csr_format"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Label)
    authentication_only: Mapped[bool] = mapped_column(default=False)
    certificate_profile_info: Mapped[str] = mapped_column(Label)
    default_csr_format: Mapped[str | None] = mapped_column(String(3))
    acme_directory_url: Mapped[str | None] = mapped_column(Label)
    acme_ip_address: Mapped[str | None] = mapped_column(Label)
    acme_authentication_profile_id: Mapped[str | None] = mapped_column(Label)
    acme_signing_profile_id: Mapped[str | None] = mapped_column(Label)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)

    certificates: Mapped[list[CaCertificate]] = relationship(
        back_populates="approved_ca",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="CaCertificate.id",
    )


class CaCertificate(Base):
    """The certificate of a top or intermediate CA.

    ``certificate`` keeps the bytes as they were uploaded, DER or PEM: they are distributed so
    (G-01). ``sha256`` is the fingerprint of the first certificate in them.
    """

    __tablename__ = "ca_certificates"

    id: Mapped[int] = mapped_column(primary_key=True)
    approved_ca_id: Mapped[int] = mapped_column(
        ForeignKey("approved_cas.id", ondelete="CASCADE"), index=True
    )
    is_top: Mapped[bool] = mapped_column()
    certificate: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(Label)
    valid_from: Mapped[datetime] = mapped_column(Moment)
    valid_to: Mapped[datetime] = mapped_column(Moment)

    approved_ca: Mapped[ApprovedCa] = relationship(back_populates="certificates")
    ocsp_responders: Mapped[list[OcspResponder]] = relationship(
        back_populates="ca_certificate",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="OcspResponder.id",
    )


class OcspResponder(Base):
    """An OCSP responder of a CA: where it listens, and optionally the certificate it signs with."""

    __tablename__ = "ocsp_responders"
    __table_args__ = (
        CheckConstraint("cost_type IN ('FREE', 'PAID', 'UNDEFINED')", name="cost_type"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ca_certificate_id: Mapped[int] = mapped_column(
        ForeignKey("ca_certificates.id", ondelete="CASCADE"), index=True
    )
    url: Mapped[str] = mapped_column(Label)
    certificate: Mapped[bytes | None] = mapped_column(LargeBinary)
    cost_type: Mapped[str] = mapped_column(String(9), default="UNDEFINED")

    ca_certificate: Mapped[CaCertificate] = relationship(back_populates="ocsp_responders")


class ApprovedTsa(Base):
    """An approved time-stamping service; two may share a URL while its key changes (G-39)."""

    __tablename__ = "approved_tsas"
    __table_args__ = (
        CheckConstraint("cost_type IN ('FREE', 'PAID', 'UNDEFINED')", name="cost_type"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Label)
    url: Mapped[str] = mapped_column(Label)
    certificate: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    valid_from: Mapped[datetime] = mapped_column(Moment)
    valid_to: Mapped[datetime] = mapped_column(Moment)
    cost_type: Mapped[str] = mapped_column(String(9), default="UNDEFINED")
    created_at: Mapped[datetime] = mapped_column(Moment)
