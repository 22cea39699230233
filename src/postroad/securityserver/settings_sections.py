"""Which keys has each section of ``server.toml``, with which defaults and limits?

Durations are seconds, sizes are bytes, where a key doesn't say otherwise. What keys of several
sections must agree on is checked in ``settings``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from postroad.adapters.signer_protocol import KeyAlgorithm

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Rate = Annotated[float, msgspec.Meta(ge=0)]


class ServerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who this server is."""

    identifier: str
    """``INSTANCE/CLASS/CODE/SERVER``, percent-escaped as in headers."""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Proxy worker processes; as many as the cores given to this server."""
    batch_signatures: bool = True
    """Whether messages that wait for the signer at the same time share a signature."""
    fault_spelling: Literal["snake", "camel"] = "snake"
    """How fault codes are written: as from 7.8, or CamelCase as up to 7.7."""
    log_format: Literal["text", "json"] = "text"


class ClientProxySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ports where information systems call."""

    host: str = "127.0.0.1"
    http_port: Port = 8080
    https_port: Port = 8443
    verify_client_certificate: bool = True
    """Whether SSLAUTH clients must show one of their registered certificates."""
    requests_per_second_per_client: Rate = 0.0
    """How often one client (subsystem) may ask; 0 for no limit."""
    connections_per_address: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Open connections of one address to each worker; 0 for no limit of its own."""


class ServerProxySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ports where other Security Servers call."""

    host: str = "0.0.0.0"  # noqa: S104 - peers come from the open internet
    port: Port = 5500
    ocsp_host: str = "0.0.0.0"  # noqa: S104 - peers come from the open internet
    ocsp_port: Port = 5577
    peer_port: Port = 5500
    """The port that other servers' server proxies listen on."""
    peer_ocsp_port: Port = 5577
    requests_per_second_per_client: Rate = 0.0
    """How often one client of another server may ask; 0 for no limit."""
    connections_per_address: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Open connections of one address to each worker; 0 for no limit of its own."""
    min_supported_client_version: str = ""
    """The oldest release of consumers' servers that is answered, as ``7.6.0``; empty for any."""
    close_after_response: bool = False
    """Send ``Connection: close`` after each response, as the reference does by default."""
    idle_timeout: Seconds = 75.0
    """How long another server's connection may wait for its next request."""
    reuse_connections: bool = True
    """Whether a connection to another server carries more than one request, if that allows it; the
    reference doesn't by default."""
    connect_timeout: Seconds = 30.0
    response_timeout: Seconds = 600.0
    """How long a provider's server may take until the first byte of its answer."""


class ServicesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the services of our clients may be."""

    allowed_networks: tuple[str, ...] = ()
    """The networks that services may be in, as ``10.0.0.0/8``; empty for any. Link-local addresses
    are refused unless a network here holds them."""
    denied_networks: tuple[str, ...] = ()
    """Networks that no service may be in, whatever ``allowed_networks`` says."""
    wsdl_validator_command: tuple[str, ...] = ()
    """A program and its arguments, run for each WSDL that is added or refreshed, with its address
    as the last argument. What it writes are warnings; another exit code than 0 refuses the WSDL."""
    wsdl_validator_timeout: Seconds = 60.0


class MessageLogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is kept of every message, and how long stamping may fail."""

    database: str = ""
    """"" for SQLite in the home directory, or ``postgresql://…``."""
    log_bodies: bool = True
    """Whether messages are kept as they are. Without that only who asked whom is kept, which proves
    nothing by itself; the lists below name the providers' subsystems for which it is otherwise."""
    enabled_body_logging_local_producer_subsystems: tuple[str, ...] = ()
    """``INSTANCE/CLASS/CODE/SUBSYSTEM``: services of ours whose messages are kept all the same."""
    enabled_body_logging_remote_producer_subsystems: tuple[str, ...] = ()
    """The same for services that our clients call."""
    disabled_body_logging_local_producer_subsystems: tuple[str, ...] = ()
    """Services of ours whose messages are not kept although ``log_bodies`` is true."""
    disabled_body_logging_remote_producer_subsystems: tuple[str, ...] = ()
    """The same for services that our clients call."""
    max_body_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 10 * 1024 * 1024
    oversized_bodies: Literal["digest-only", "refuse"] = "digest-only"
    """A larger body is proven by its digest in the signed hash chain, or the exchange fails."""
    timestamp_interval: Seconds | None = None
    """None takes the global configuration's interval (at least 60 s)."""
    acceptable_timestamp_failure_period: Annotated[float, msgspec.Meta(ge=0)] = 14400.0
    """Stop exchanging when stamping has failed for longer; 0 never stops."""
    timestamp_retry_delay: Seconds = 60.0
    timestamp_records_limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    queue_limit: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    messagelog_encryption_enabled: bool = False
    """Whether new messages are encrypted in the database."""
    messagelog_keystore: str = ""
    """The file with the keys; "" for ``messagelog-keys.toml`` in the home directory."""
    messagelog_key_id: str = ""
    """Which of them encrypts new messages."""
    archive_interval: Seconds = 21_600.0
    archive_path: str = ""
    """The directory of archives; "" for ``archive`` in the home directory."""
    archive_max_filesize: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 32 * 1024 * 1024
    """An archive is closed when its containers are larger than this together."""
    archive_grouping: Literal["none", "member", "subsystem"] = "none"
    """Whose records share archives: everybody's, those of one member or of one subsystem."""
    archive_transfer_command: tuple[str, ...] = ()
    """A program and its arguments, run for each archive with its path as the last argument;
    exit code 0 says that the archive is safe elsewhere. No shell is involved."""
    archive_transfer_timeout: Seconds = 600.0
    archive_remove_transferred: bool = False
    """Whether an archive is deleted here once the command has taken it."""
    archive_encryption_enabled: bool = False
    archive_pgp_directory: str = ""
    """OpenPGP keys: ours in ``own.key``, others' in ``*.asc`` and ``*.pgp``; "" for ``pgp`` in the
    home directory."""
    archive_encryption_keys_config: str = ""
    """A file of lines ``INSTANCE/CLASS/CODE = KEYID``, for archives grouped by member or
    subsystem."""
    archive_default_encryption_key: str = ""
    """The key for all others; "" for our own."""
    clean_interval: Seconds = 43_200.0
    keep_records_for: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    """Days that records stay in the database, and can be asked for, after they are archived."""


class MonitoringSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is told of exchanges and of this machine, and to whom."""

    database: str = ""
    """Operational monitoring: "" for SQLite in the home directory, or ``postgresql://…``."""
    keep_records_for: Annotated[float, msgspec.Meta(gt=0)] = 7.0
    """Days that operational monitoring records are kept."""
    clean_interval: Seconds = 43_200.0
    buffer_size: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 20_000
    """Records that wait in a worker while they can't be stored; 0 keeps no records at all."""
    max_records_in_message: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    sending_interval: Seconds = 5.0
    max_records_in_payload: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    records_available_timestamp_offset: Annotated[int, msgspec.Meta(ge=0)] = 60
    """Seconds until a record can be asked for: those of one second are complete by then."""
    health_statistics_period: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 600
    health_check_host: str = "127.0.0.1"
    health_check_port: Port = 0
    """Where load balancers ask whether this server can exchange messages; 0 for nowhere."""
    metrics: bool = False
    """Whether that port has figures for Prometheus, too, at ``/metrics``."""
    limit_remote_data_set: bool = False
    """Whether the central monitoring client gets only version, system and certificates of
    environmental monitoring."""


class ServerConfSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where clients, services and access rights are kept."""

    database: str = ""
    """"" for SQLite in the home directory, or ``postgresql://…``."""


class ConfigurationClientSection(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """How the global configuration is downloaded."""

    update_interval: Seconds = 60.0
    allowed_federations: str = "none"
    """Comma separated instances, ``all`` or ``none``."""
    verify_tls: bool = True
    minimum_ocsp_fetch_interval: Seconds = 60.0


class TokensSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How tokens are opened."""

    pin_file: str = ""
    """Where PINs for automatic login are; only its owner may read it. One line is the PIN of the
    software token, several are ``TOKEN-ID:PIN`` each."""
    pin_command: tuple[str, ...] = ()
    """A program (with arguments) that prints the same; exit code 127 says there are none."""
    enforce_pin_policy: bool = False
    """Whether a new PIN needs 10 characters of 3 kinds."""
    authentication_key_algorithm: KeyAlgorithm = KeyAlgorithm.RSA_2048
    signing_key_algorithm: KeyAlgorithm = KeyAlgorithm.RSA_2048
    """What kind of key is made when nobody says otherwise."""
    allow_csr_for_key_with_certificate: bool = False
    """Whether a key that has a certificate may ask for another one."""


class AcmeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How certificates are ordered and renewed by ACME, where a certification service offers it.

    Names and defaults are the reference's, but for the three that say otherwise.
    """

    credentials_file: str = ""
    """External account bindings in the reference's form; "" for ``acme.yml`` in the home directory.
    Only its owner may read it. (Our own name.)"""
    contacts_file: str = ""
    """``contacts`` by member, in the reference's form; "" for ``mail.yml``. (Our own name.)"""
    acme_challenge_port_enabled: bool = True
    """Whether challenges are shown. Off by default in the reference, where the port is always open;
    here it is open only while an order waits for it."""
    acme_challenge_host: str = "0.0.0.0"  # noqa: S104 - the certification service must reach it
    """(Our own name.)"""
    acme_challenge_port: Port = 80
    acme_authorization_wait_attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    acme_authorization_wait_interval: Seconds = 5.0
    acme_certificate_wait_attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    acme_certificate_wait_interval: Seconds = 5.0
    acme_renewal_active: bool = True
    acme_renewal_interval: Seconds = 3600.0
    acme_renewal_retry_delay: Seconds = 60.0
    """Doubled with each failure, up to the interval."""
    acme_renewal_time_before_expiration_date: Annotated[float, msgspec.Meta(ge=0)] = 14.0
    """Days, for services that suggest no moment themselves."""
    automatic_activate_auth_certificate: bool = False
    """Whether a renewed certificate is used once it is registered and its OCSP answer is good, and
    the one before it given up a day later."""
    automatic_activate_acme_sign_certificate: bool = False
    """The same for signing certificates, which need no registration."""


class TelemetrySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where traces of exchanges go; without an endpoint there are none."""

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^\s@]+)?$")] = ""
    """The collector's address for traces by OTLP over HTTP, ``http://…:4318/v1/traces``. What it
    asks of callers is read from the environment (``OTEL_EXPORTER_OTLP_HEADERS`` and others)."""
    sampling_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """The share of exchanges that are traced, where no trusted context decides."""
    consumer_context: Literal["trust", "restart"] = "trust"
    """Whether an information system's trace is continued, or a new one gets a link to it."""
    peer_context: Literal["trust", "restart"] = "restart"
    """The same for other servers; who is trusted decides what is sampled here."""
    queue_limit: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 4096
    """Spans that may wait in a worker, some 12 an exchange; the oldest are dropped for new ones."""
    export_interval: Seconds = 5.0
    export_timeout: Seconds = 5.0


class BackupSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Automatic backups, and for whom backups are encrypted."""

    automatic: bool = True
    """Whether a backup is made every day, three hours and a quarter after midnight (UTC)."""
    keep_days: Annotated[int, msgspec.Meta(ge=1)] = 30
    """How long automatic backups are kept; others stay until somebody deletes them."""
    recipients_file: str = ""
    """OpenPGP keys of those who may open backups, besides the server itself."""
