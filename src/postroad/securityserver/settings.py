"""The Security Server's configuration file, as one frozen type.

One TOML file, ``server.toml`` in the home directory, and the environment. Unknown keys are refused;
every key has a default or an error that says what to write. Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import os
import re
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from postroad.adapters.files import write_atomic
from postroad.adapters.hardware_devices import DeviceSettings, check_device_names
from postroad.adapters.settings_file import read_settings_text
from postroad.adapters.signer_protocol import KeyAlgorithm
from postroad.errors import ConfigurationError, PostroadError
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.securityserver.service_networks import ServiceNetworks
from postroad.securityserver.settings_layers import checked, layers_of, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

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


# Asked for every message.
_parse_server_id = lru_cache(maxsize=16)(SecurityServerId.parse)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in ``server.toml``, and the home directory it was read from."""

    profile: Literal["", "vanilla", "ee", "fi"] = ""
    """Whose defaults hold, see ``settings_profiles``; empty for Postroad's own."""
    server: ServerSection
    client_proxy: ClientProxySection = ClientProxySection()
    server_proxy: ServerProxySection = ServerProxySection()
    services: ServicesSection = ServicesSection()
    message_log: MessageLogSection = MessageLogSection()
    configuration_client: ConfigurationClientSection = ConfigurationClientSection()
    monitoring: MonitoringSection = MonitoringSection()
    tokens: TokensSection = TokensSection()
    acme: AcmeSection = AcmeSection()
    telemetry: TelemetrySection = TelemetrySection()
    backup: BackupSection = BackupSection()
    devices: dict[str, DeviceSettings] = {}
    """Hardware tokens, by a name of your own: ``[devices.NAME]``."""
    home: str = ""
    """Set by :func:`load_settings`; never written in the file."""

    @property
    def server_id(self) -> SecurityServerId:
        """This server's identifier."""
        return _parse_server_id(self.server.identifier)

    @property
    def home_path(self) -> Path:
        """The home directory."""
        return Path(self.home)

    @property
    def service_networks(self) -> ServiceNetworks:
        """Where services may be called."""
        return ServiceNetworks.parse(self.services.allowed_networks, self.services.denied_networks)

    @property
    def anchor_path(self) -> Path:
        """The configuration anchor."""
        return self.home_path / "configuration-anchor.xml"

    @property
    def globalconf_path(self) -> Path:
        """The stored global configuration, in the reference's layout."""
        return self.home_path / "globalconf"

    @property
    def serverconf_url(self) -> str:
        """The database of clients, services and access rights."""
        return f"sqlite:///{self.home_path / 'db' / 'serverconf.sqlite'}"

    @property
    def messagelog_url(self) -> str:
        """The database of the message log."""
        return self.message_log.database or f"sqlite:///{self.messagelog_path}"

    @property
    def messagelog_path(self) -> Path:
        """The message log's SQLite file, when no other database is set."""
        return self.home_path / "db" / "messagelog.sqlite"

    @property
    def opmonitoring_url(self) -> str:
        """The database of operational monitoring."""
        path = self.home_path / "db" / "opmonitor.sqlite"
        return self.monitoring.database or f"sqlite:///{path}"

    @property
    def monitoring_socket(self) -> Path:
        """Where the background process takes observations and answers for them."""
        return self.run_path / "monitoring.sock"

    @property
    def log_keys_path(self) -> Path:
        """The keys that messages in the log's database are encrypted with."""
        return self.home_path / (self.message_log.messagelog_keystore or "messagelog-keys.toml")

    @property
    def archive_path(self) -> Path:
        """The directory of the message log's archives."""
        return self.home_path / (self.message_log.archive_path or "archive")

    @property
    def archive_pgp_path(self) -> Path:
        """The OpenPGP keys of archives."""
        return self.home_path / (self.message_log.archive_pgp_directory or "pgp")

    @property
    def acme_path(self) -> Path:
        """Account keys, unfinished orders and the state of renewals."""
        return self.home_path / "acme"

    @property
    def acme_credentials_path(self) -> Path:
        """External account bindings."""
        return self.home_path / (self.acme.credentials_file or "acme.yml")

    @property
    def acme_contacts_path(self) -> Path:
        """Addresses that certification services may write to."""
        return self.home_path / (self.acme.contacts_file or "mail.yml")

    @property
    def audit_log_path(self) -> Path:
        """What operators did."""
        return audit_log_path(self.home_path)

    @property
    def signer_path(self) -> Path:
        """Where the signer keeps its token; no other process reads it."""
        return self.home_path / "signer"

    @property
    def ocsp_path(self) -> Path:
        """OCSP responses of our own certificates and of peers: ``<sha1 hex>.ocsp``."""
        return self.home_path / "ocsp"

    @property
    def spool_path(self) -> Path:
        """Bodies too large for memory, for as long as their exchange lasts."""
        return _folder(self.home, "spool")

    @property
    def run_path(self) -> Path:
        """Sockets, status files and the server configuration's snapshot."""
        return self.home_path / "run"

    @property
    def signer_socket(self) -> Path:
        """The signer's socket."""
        return self.run_path / "signer.sock"

    @property
    def device_sockets(self) -> dict[str, Path]:
        """The sockets of the processes for hardware tokens, by the name of the device."""
        return {
            name: self.run_path / f"token-{name}.sock"
            for name, device in self.devices.items()
            if device.enabled
        }

    @property
    def logwriter_socket(self) -> Path:
        """The log writer's socket."""
        return self.run_path / "logwriter.sock"

    @property
    def snapshot_path(self) -> Path:
        """The exported server configuration that the workers read."""
        return self.run_path / "serverconf.snapshot"


@cache
def _folder(home: str, name: str) -> Path:
    """A folder that every message asks for."""
    return Path(home) / name


def audit_log_path(home: Path) -> Path:
    """The audit log of a server, which is written even when its settings can't be read."""
    return home / "log" / "audit.log"


def load_settings(home: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``server.toml`` in ``home``, and what the environment sets otherwise.

    Raises ``ConfigurationError`` naming the key, what is wrong with it and what to write.
    """
    path = home / "server.toml"
    text = read_settings_file(home)
    return parse_settings(
        text, home=home, source=str(path), environ=os.environ if environ is None else environ
    )


def read_settings_file(home: Path) -> str:
    """The text of ``server.toml``; raises as :func:`load_settings`."""
    path = home / "server.toml"
    missing = ConfigurationError(
        f"{path} does not exist; make it with `postroad server init --home {home}`"
    )
    return read_settings_text(path, missing=missing)


def rewrite_identifier(home: Path, before: SecurityServerId, after: SecurityServerId) -> None:
    """Write the server's new identifier into ``server.toml``, and leave the rest as it is.

    Raises ``ConfigurationError`` when it doesn't stand there exactly once, or can't be written.
    """
    path = home / "server.toml"
    try:
        text = path.read_text(encoding="utf-8")
        if parse_settings(text, home=home).server_id == after:
            return  # by a run that ended before the database knew
        line = re.compile(
            rf"""^(\s*identifier\s*=\s*)(["']){re.escape(before.encoded())}\2""", re.MULTILINE
        )
        changed, count = line.subn(lambda found: f'{found[1]}"{after.encoded()}"', text)
        if count != 1 or parse_settings(changed, home=home).server_id != after:
            raise ConfigurationError(
                f'write identifier = "{after.encoded()}" into {path}: the server got another owner'
            )
        write_atomic(path, changed.encode("utf-8"), mode=0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be changed: {error.strerror}") from error


def parse_settings(
    text: str,
    *,
    home: Path,
    source: str = "server.toml",
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """Read settings from TOML text and the environment; see :func:`load_settings`."""
    layers = layers_of(text, Settings, source=source, environ=environ)
    data = merged([layer for _name, layer in layers])
    settings = checked({**data, "home": str(home.absolute())}, Settings, source)
    _check(settings, source)
    return settings


def _check(settings: Settings, source: str) -> None:
    """What a type can't say."""
    SecurityServerId.parse(settings.server.identifier)
    _check_body_logging(settings.message_log, source)
    if settings.message_log.messagelog_encryption_enabled and (
        not settings.message_log.messagelog_key_id
    ):
        raise ConfigurationError(f"{source}: messagelog_key_id must name the key to encrypt with")
    _check_health_port(settings, source)
    check_device_names(settings.devices, source=source)
    _ = settings.service_networks
    if settings.tokens.pin_file and settings.tokens.pin_command:
        raise ConfigurationError(f"{source}: [tokens]: give a pin_file or a pin_command, not both")
    oldest = settings.server_proxy.min_supported_client_version
    if oldest and re.fullmatch(r"\d+\.\d+\.\d+", oldest) is None:
        raise ConfigurationError(
            f"{source}: [server_proxy] min_supported_client_version = {oldest!r} is no version; "
            'write it as "7.6.0"'
        )


def _check_health_port(settings: Settings, source: str) -> None:
    """Keep the health check off the ports where messages come in."""
    client, server = settings.client_proxy, settings.server_proxy
    port = settings.monitoring.health_check_port
    if port and port in {client.http_port, client.https_port, server.port, server.ocsp_port}:
        raise ConfigurationError(
            f"{source}: health_check_port {port} is a message port: choose another one"
        )
    if settings.monitoring.metrics and not port:
        raise ConfigurationError(f"{source}: metrics need a health_check_port")


def _check_body_logging(section: MessageLogSection, source: str) -> None:
    """Refuse lists that mean nothing: exceptions from what is the rule already."""
    unused = "enabled" if section.log_bodies else "disabled"
    for kind in ("enabled", "disabled"):
        for place in ("local", "remote"):
            key = f"{kind}_body_logging_{place}_producer_subsystems"
            listed: tuple[str, ...] = getattr(section, key)
            if listed and kind == unused:
                value = "true" if section.log_bodies else "false"
                raise ConfigurationError(f"{source}: {key} has no meaning: log_bodies = {value}")
            for text in listed:
                try:
                    SubsystemId.parse(text)
                except PostroadError as error:
                    raise ConfigurationError(f"{source}: {key}: {error.message}") from error
