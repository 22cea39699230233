"""Management requests that share a decision, and the message that brought each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TABLE = "management_requests"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("decided_with", sa.Integer(), nullable=True))
    op.add_column(_TABLE, sa.Column("message_digest", sa.String(64), nullable=True))
    op.create_index("ix_management_requests_decided_with", _TABLE, ["decided_with"])
    op.create_index(
        "ix_management_requests_message_digest", _TABLE, ["message_digest"], unique=True
    )


def downgrade() -> None:
    op.drop_index("ix_management_requests_message_digest", _TABLE)
    op.drop_index("ix_management_requests_decided_with", _TABLE)
    op.drop_column(_TABLE, "message_digest")
    op.drop_column(_TABLE, "decided_with")
