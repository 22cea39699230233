"""Nodes of a cluster: a certificate and a note of the last generation for each; what was published.

The one certificate that there was stays the answer for nodes that have none of their own.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OLD = "management_service_certificates"
_NEW = "management_certificates"


def upgrade() -> None:
    op.create_table(
        _NEW,
        sa.Column("node_name", sa.String(255), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("node_name", name=f"pk_{_NEW}"),
    )
    op.execute(
        f"INSERT INTO {_NEW} (node_name, certificate) SELECT '', certificate FROM {_OLD}"  # noqa: S608 - names of ours
    )
    op.drop_table(_OLD)
    op.create_table(
        "node_generations",
        sa.Column("node_name", sa.String(255), nullable=False),
        sa.Column("generated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stamp", sa.String(32), nullable=False),
        sa.Column("log_sequence", sa.Integer(), nullable=False),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node_name", name="pk_node_generations"),
    )
    op.create_table(
        "published_parameters",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("compressed", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_published_parameters"),
    )


def downgrade() -> None:
    op.drop_table("published_parameters")
    op.drop_table("node_generations")
    op.create_table(
        _OLD,
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{_OLD}"),
        sa.CheckConstraint("id = 1", name=f"ck_{_OLD}_one_row"),
    )
    op.execute(
        f"INSERT INTO {_OLD} (id, certificate)"  # noqa: S608 - names of ours
        f" SELECT 1, certificate FROM {_NEW} WHERE node_name ="
        f" (SELECT min(node_name) FROM {_NEW})"
    )
    op.drop_table(_NEW)
