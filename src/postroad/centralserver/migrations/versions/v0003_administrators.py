"""Administrators of the management interface, API keys, and labels of signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


_SIGNING_KEYS = "configuration_signing_keys"


def upgrade() -> None:
    label = sa.Column("label", sa.String(255), nullable=False, server_default="")
    op.add_column(_SIGNING_KEYS, label)
    op.create_table(
        "administrators",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_administrators"),
        sa.UniqueConstraint("username", name="uq_administrators_username"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("created_by", sa.String(1024), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    for table, owner in (("administrator_roles", "administrator"), ("api_key_roles", "api_key")):
        op.create_table(
            table,
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column(f"{owner}_id", sa.Integer(), nullable=False),
            sa.Column("role", sa.String(32), nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
            sa.UniqueConstraint(f"{owner}_id", "role", name=f"uq_{table}_{owner}_id_role"),
            sa.ForeignKeyConstraint(
                [f"{owner}_id"],
                [f"{owner}s.id"],
                name=f"fk_{table}_{owner}_id",
                ondelete="CASCADE",
            ),
        )


def downgrade() -> None:
    op.drop_column(_SIGNING_KEYS, "label")
    for table in ("api_key_roles", "administrator_roles", "api_keys", "administrators"):
        op.drop_table(table)
