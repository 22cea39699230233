"""The registry: parties, trust services, system settings, history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

GENESIS_HASH = "0" * 64

_CHANGE_LOG_TRIGGERS = {
    "sqlite": (
        (
            "CREATE TRIGGER change_log_no_update BEFORE UPDATE ON change_log"
            " BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END"
        ),
        (
            "CREATE TRIGGER change_log_no_delete BEFORE DELETE ON change_log"
            " BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION refuse_change_log_edit() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the change log is append-only'; END $$"
        ),
        (
            "CREATE TRIGGER change_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE"
            " ON change_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_log_edit()"
        ),
    ),
}

_TABLES = (
    "change_log_head",
    "change_log",
    "management_requests",
    "management_service_certificates",
    "trusted_anchors",
    "optional_parts",
    "configuration_signing_keys",
    "configuration_sources",
    "system_parameters",
    "approved_tsas",
    "ocsp_responders",
    "ca_certificates",
    "approved_cas",
    "global_group_members",
    "global_groups",
    "server_clients",
    "auth_certificates",
    "security_servers",
    "subsystems",
    "members",
    "member_classes",
)


def upgrade() -> None:
    _create_members()
    _create_servers()
    _create_groups()
    _create_certification_services()
    _create_timestamping_services()
    _create_settings()
    _create_sources()
    _create_requests()
    _create_change_log()


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change_log_edit()")


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), nullable=False)


def _code(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(255), nullable=nullable)


def _label(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(1024), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _text(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _parent(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _primary_key(table: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("id", name=f"pk_{table}")


def _foreign_key(
    table: str, column: str, parent: str, *, cascade: bool = True
) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{parent}.id"],
        name=f"fk_{table}_{column}",
        ondelete="CASCADE" if cascade else None,
    )


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=f"ck_{table}_{name}")


def _create_members() -> None:
    op.create_table(
        "member_classes",
        _id(),
        _code("code"),
        _label("description"),
        _primary_key("member_classes"),
        _unique("member_classes", "code"),
    )
    op.create_table(
        "members",
        _id(),
        _parent("member_class_id"),
        _code("member_code"),
        _label("name"),
        _moment("created_at"),
        _primary_key("members"),
        _foreign_key("members", "member_class_id", "member_classes", cascade=False),
        _unique("members", "member_class_id", "member_code"),
    )
    op.create_table(
        "subsystems",
        _id(),
        _parent("member_id"),
        _code("subsystem_code"),
        _label("name", nullable=True),
        _moment("created_at"),
        _primary_key("subsystems"),
        _foreign_key("subsystems", "member_id", "members"),
        _unique("subsystems", "member_id", "subsystem_code"),
    )


def _create_servers() -> None:
    op.create_table(
        "security_servers",
        _id(),
        _parent("owner_id"),
        _code("server_code"),
        _label("address", nullable=True),
        _flag("in_maintenance_mode"),
        _label("maintenance_mode_message", nullable=True),
        _moment("created_at"),
        _primary_key("security_servers"),
        _foreign_key("security_servers", "owner_id", "members"),
        _unique("security_servers", "owner_id", "server_code"),
    )
    op.create_table(
        "auth_certificates",
        _id(),
        _parent("security_server_id"),
        _bytes("certificate"),
        _text("sha256", 64),
        _moment("created_at"),
        _primary_key("auth_certificates"),
        _foreign_key("auth_certificates", "security_server_id", "security_servers"),
        _unique("auth_certificates", "sha256"),
    )
    op.create_index(
        "ix_auth_certificates_security_server_id", "auth_certificates", ["security_server_id"]
    )
    op.create_table(
        "server_clients",
        _id(),
        _parent("security_server_id"),
        _parent("member_id", nullable=True),
        _parent("subsystem_id", nullable=True),
        _flag("enabled"),
        _moment("created_at"),
        _primary_key("server_clients"),
        _foreign_key("server_clients", "security_server_id", "security_servers"),
        _foreign_key("server_clients", "member_id", "members"),
        _foreign_key("server_clients", "subsystem_id", "subsystems"),
        _unique("server_clients", "security_server_id", "member_id"),
        _unique("server_clients", "security_server_id", "subsystem_id"),
        _check("server_clients", "one_client", "(member_id IS NULL) <> (subsystem_id IS NULL)"),
    )
    op.create_index("ix_server_clients_member_id", "server_clients", ["member_id"])
    op.create_index("ix_server_clients_subsystem_id", "server_clients", ["subsystem_id"])


def _create_groups() -> None:
    op.create_table(
        "global_groups",
        _id(),
        _code("group_code"),
        _label("description"),
        _moment("created_at"),
        _moment("updated_at"),
        _primary_key("global_groups"),
        _unique("global_groups", "group_code"),
    )
    op.create_table(
        "global_group_members",
        _id(),
        _parent("group_id"),
        _code("instance"),
        _code("member_class"),
        _code("member_code"),
        _code("subsystem_code"),
        _moment("created_at"),
        _primary_key("global_group_members"),
        _foreign_key("global_group_members", "group_id", "global_groups"),
        sa.UniqueConstraint(
            "group_id",
            "instance",
            "member_class",
            "member_code",
            "subsystem_code",
            name="uq_global_group_members_client",
        ),
    )


def _create_certification_services() -> None:
    op.create_table(
        "approved_cas",
        _id(),
        _label("name"),
        _flag("authentication_only"),
        _label("certificate_profile_info"),
        _text("default_csr_format", 3, nullable=True),
        _label("acme_directory_url", nullable=True),
        _label("acme_ip_address", nullable=True),
        _label("acme_authentication_profile_id", nullable=True),
        _label("acme_signing_profile_id", nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        _primary_key("approved_cas"),
        _check("approved_cas", "default_csr_format", "default_csr_format IN ('PEM', 'DER')"),
    )
    op.create_table(
        "ca_certificates",
        _id(),
        _parent("approved_ca_id"),
        _flag("is_top"),
        _bytes("certificate"),
        _text("sha256", 64),
        _label("subject"),
        _moment("valid_from"),
        _moment("valid_to"),
        _primary_key("ca_certificates"),
        _foreign_key("ca_certificates", "approved_ca_id", "approved_cas"),
    )
    op.create_index("ix_ca_certificates_approved_ca_id", "ca_certificates", ["approved_ca_id"])
    op.create_table(
        "ocsp_responders",
        _id(),
        _parent("ca_certificate_id"),
        _label("url"),
        _bytes("certificate", nullable=True),
        _text("cost_type", 9),
        _primary_key("ocsp_responders"),
        _foreign_key("ocsp_responders", "ca_certificate_id", "ca_certificates"),
        _check("ocsp_responders", "cost_type", "cost_type IN ('FREE', 'PAID', 'UNDEFINED')"),
    )
    op.create_index(
        "ix_ocsp_responders_ca_certificate_id", "ocsp_responders", ["ca_certificate_id"]
    )


def _create_timestamping_services() -> None:
    op.create_table(
        "approved_tsas",
        _id(),
        _label("name"),
        _label("url"),
        _bytes("certificate"),
        _text("sha256", 64),
        _moment("valid_from"),
        _moment("valid_to"),
        _text("cost_type", 9),
        _moment("created_at"),
        _primary_key("approved_tsas"),
        _check("approved_tsas", "cost_type", "cost_type IN ('FREE', 'PAID', 'UNDEFINED')"),
    )


def _create_settings() -> None:
    op.create_table(
        "system_parameters",
        _id(),
        _code("key"),
        sa.Column("value", sa.Text(), nullable=False),
        _code("node_name"),
        _primary_key("system_parameters"),
        _unique("system_parameters", "key", "node_name"),
    )
    op.create_table(
        "optional_parts",
        _id(),
        _code("content_identifier"),
        _code("file_name"),
        _bytes("data"),
        _moment("updated_at"),
        _primary_key("optional_parts"),
        _unique("optional_parts", "content_identifier"),
    )
    op.create_table(
        "trusted_anchors",
        _id(),
        _code("instance_identifier"),
        _bytes("anchor"),
        _label("fingerprint"),
        _moment("generated_at", nullable=True),
        _primary_key("trusted_anchors"),
        _unique("trusted_anchors", "instance_identifier"),
    )
    op.create_table(
        "management_service_certificates",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        _bytes("certificate"),
        _primary_key("management_service_certificates"),
        _check("management_service_certificates", "one_row", "id = 1"),
    )


def _create_sources() -> None:
    op.create_table(
        "configuration_sources",
        _id(),
        _text("source_type", 8),
        _code("node_name"),
        _bytes("anchor", nullable=True),
        _moment("anchor_generated_at", nullable=True),
        _primary_key("configuration_sources"),
        _unique("configuration_sources", "source_type", "node_name"),
        _check("configuration_sources", "source_type", "source_type IN ('internal', 'external')"),
    )
    op.create_table(
        "configuration_signing_keys",
        _id(),
        _parent("source_id"),
        _text("key_identifier", 64),
        _text("algorithm", 8),
        sa.Column("active", sa.Boolean(), nullable=True),
        _bytes("certificate"),
        _moment("generated_at"),
        _primary_key("configuration_signing_keys"),
        _foreign_key("configuration_signing_keys", "source_id", "configuration_sources"),
        _unique("configuration_signing_keys", "key_identifier"),
        _unique("configuration_signing_keys", "source_id", "active"),
    )
    op.create_index(
        "ix_configuration_signing_keys_source_id", "configuration_signing_keys", ["source_id"]
    )


def _create_requests() -> None:
    op.create_table(
        "management_requests",
        _id(),
        _code("request_type"),
        _text("origin", 15),
        _text("status", 24, nullable=True),
        _code("server_instance"),
        _code("server_member_class"),
        _code("server_member_code"),
        _code("server_code"),
        _code("client_instance", nullable=True),
        _code("client_member_class", nullable=True),
        _code("client_member_code", nullable=True),
        _code("client_subsystem_code", nullable=True),
        _bytes("auth_certificate", nullable=True),
        _label("address", nullable=True),
        sa.Column("comments", sa.Text(), nullable=True),
        _label("subsystem_name", nullable=True),
        _moment("created_at"),
        _primary_key("management_requests"),
        _check("management_requests", "origin", "origin IN ('CENTER', 'SECURITY_SERVER')"),
        _check(
            "management_requests",
            "status",
            "status IN ('WAITING', 'SUBMITTED FOR APPROVAL', 'APPROVED', 'DECLINED', 'REVOKED')",
        ),
    )
    op.create_index("ix_management_requests_request_type", "management_requests", ["request_type"])
    op.create_index("ix_management_requests_status", "management_requests", ["status"])


def _create_change_log() -> None:
    op.create_table(
        "change_log",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        _moment("at"),
        _label("actor"),
        _code("event"),
        sa.Column("data", sa.Text(), nullable=False),
        _text("previous_hash", 64),
        _text("entry_hash", 64),
        sa.PrimaryKeyConstraint("sequence", name="pk_change_log"),
        _unique("change_log", "entry_hash"),
    )
    for statement in _CHANGE_LOG_TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)
    head = op.create_table(
        "change_log_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        _text("entry_hash", 64),
        _primary_key("change_log_head"),
        _check("change_log_head", "one_row", "id = 1"),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "entry_hash": GENESIS_HASH}])
