"""Management requests that were sent, until the global configuration shows their outcome."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "submitted_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("service_code", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=1100), nullable=False),
        sa.Column("value", sa.String(length=1024), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fulfilled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_submitted_request"),
    )


def downgrade() -> None:
    op.drop_table("submitted_request")
