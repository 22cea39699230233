"""Which tables remember what happened: management requests and the change log?

Source: reference tables ``requests``, ``request_processings`` and ``history``. The change log is
ours: every entry carries the hash of the one before, so a removed or altered entry shows. So is
what was published, which the log's entries name by its digest.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from postroad.adapters.moment_column import Moment
from postroad.centralserver.models.base import Base, Code, Label


class ManagementRequest(Base):
    """A management request, never deleted. A request that takes effect at once has no status.

    The centre and a server may have asked for the same registration: such requests share one
    decision, named by the id of the first (``decided_with``).
    """

    __tablename__ = "management_requests"
    __table_args__ = (
        CheckConstraint("origin IN ('CENTER', 'SECURITY_SERVER')", name="origin"),
        CheckConstraint(
            "status IN ('WAITING', 'SUBMITTED FOR APPROVAL', 'APPROVED', 'DECLINED', 'REVOKED')",
            name="status",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    request_type: Mapped[str] = mapped_column(Code, index=True)
    origin: Mapped[str] = mapped_column(String(15))
    status: Mapped[str | None] = mapped_column(String(24), index=True)
    server_instance: Mapped[str] = mapped_column(Code)
    server_member_class: Mapped[str] = mapped_column(Code)
    server_member_code: Mapped[str] = mapped_column(Code)
    server_code: Mapped[str] = mapped_column(Code)
    client_instance: Mapped[str | None] = mapped_column(Code)
    client_member_class: Mapped[str | None] = mapped_column(Code)
    client_member_code: Mapped[str | None] = mapped_column(Code)
    client_subsystem_code: Mapped[str | None] = mapped_column(Code)
    auth_certificate: Mapped[bytes | None] = mapped_column(LargeBinary)
    address: Mapped[str | None] = mapped_column(Label)
    comments: Mapped[str | None] = mapped_column(Text)
    subsystem_name: Mapped[str | None] = mapped_column(Label)
    decided_with: Mapped[int | None] = mapped_column(index=True)
    message_digest: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    """SHA-256 (hex) of the signed message that brought the request: nobody can send it again."""
    created_at: Mapped[datetime] = mapped_column(Moment)


class ChangeLogEntry(Base):
    """One operation on the registry: who did what and when, chained to the entry before it."""

    __tablename__ = "change_log"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Moment)
    actor: Mapped[str] = mapped_column(Label)
    event: Mapped[str] = mapped_column(Code)
    data: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    entry_hash: Mapped[str] = mapped_column(String(64), unique=True)


class ChangeLogHead(Base):
    """The end of the change log: its only row is locked by the one who appends."""

    __tablename__ = "change_log_head"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column()
    entry_hash: Mapped[str] = mapped_column(String(64))


class PublishedParameters(Base):
    """The shared parameters that nodes published, as they were; the change log names the digest."""

    __tablename__ = "published_parameters"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 (hex) of the file."""
    compressed: Mapped[bytes] = mapped_column(LargeBinary)
    """The file of the newest version, compressed by zlib."""
    published_at: Mapped[datetime] = mapped_column(Moment)
