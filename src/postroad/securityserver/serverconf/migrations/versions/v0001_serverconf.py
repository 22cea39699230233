"""The server configuration: clients, services, endpoints, access rights, groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "client",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("instance", sa.String(length=255), nullable=False),
        sa.Column("member_class", sa.String(length=255), nullable=False),
        sa.Column("member_code", sa.String(length=255), nullable=False),
        sa.Column("subsystem_code", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("connection_type", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_client"),
        sa.UniqueConstraint(
            "instance",
            "member_class",
            "member_code",
            "subsystem_code",
            name="uq_client_instance_member_class_member_code_subsystem_code",
        ),
    )
    op.create_table(
        "server",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("identifier", sa.String(length=1100), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_server"),
    )
    op.create_table(
        "timestamping_service",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("cost_type", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_timestamping_service"),
        sa.UniqueConstraint("url", name="uq_timestamping_service_url"),
    )
    op.create_table(
        "certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name="fk_certificate_client_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_certificate"),
        sa.UniqueConstraint("client_id", "hash", name="uq_certificate_client_id_hash"),
    )
    op.create_table(
        "endpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.Integer(), nullable=False),
        sa.Column("service_code", sa.String(length=255), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=2048), nullable=False),
        sa.Column("generated", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name="fk_endpoint_client_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint"),
        sa.UniqueConstraint(
            "client_id",
            "service_code",
            "method",
            "path",
            name="uq_endpoint_client_id_service_code_method_path",
        ),
    )
    op.create_table(
        "local_group",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.Integer(), nullable=False),
        sa.Column("group_code", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.id"], name="fk_local_group_client_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_local_group"),
        sa.UniqueConstraint("client_id", "group_code", name="uq_local_group_client_id_group_code"),
    )
    op.create_table(
        "service_description",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_notice", sa.String(length=255), nullable=False),
        sa.Column(
            "refreshed_at",
            sa.DateTime(timezone=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["client.id"],
            name="fk_service_description_client_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_service_description"),
        sa.UniqueConstraint("client_id", "url", name="uq_service_description_client_id_url"),
    )
    op.create_table(
        "access_right",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=3100), nullable=False),
        sa.Column(
            "given_at",
            sa.DateTime(timezone=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name="fk_access_right_endpoint_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_access_right"),
        sa.UniqueConstraint(
            "endpoint_id",
            "subject_kind",
            "subject",
            name="uq_access_right_endpoint_id_subject_kind_subject",
        ),
    )
    op.create_table(
        "local_group_member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("local_group_id", sa.Integer(), nullable=False),
        sa.Column("member", sa.String(length=3100), nullable=False),
        sa.Column(
            "added_at",
            sa.DateTime(timezone=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["local_group_id"],
            ["local_group.id"],
            name="fk_local_group_member_local_group_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_local_group_member"),
        sa.UniqueConstraint(
            "local_group_id", "member", name="uq_local_group_member_local_group_id_member"
        ),
    )
    op.create_table(
        "service",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("description_id", sa.Integer(), nullable=False),
        sa.Column("service_code", sa.String(length=255), nullable=False),
        sa.Column("service_version", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("verify_tls", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["description_id"],
            ["service_description.id"],
            name="fk_service_description_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_service"),
        sa.UniqueConstraint(
            "description_id",
            "service_code",
            "service_version",
            name="uq_service_description_id_service_code_service_version",
        ),
    )


def downgrade() -> None:
    op.drop_table("service")
    op.drop_table("local_group_member")
    op.drop_table("access_right")
    op.drop_table("service_description")
    op.drop_table("local_group")
    op.drop_table("endpoint")
    op.drop_table("certificate")
    op.drop_table("timestamping_service")
    op.drop_table("server")
    op.drop_table("client")
