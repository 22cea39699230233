"""The Security Server's configuration file, as one frozen type.

One TOML file, ``server.toml`` in the home directory, and the environment. Unknown keys are refused;
every key has a default or an error that says what to write. The keys are in ``settings_sections``.
"""

from __future__ import annotations

import os
import re
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import msgspec

from postroad.adapters.files import write_atomic
from postroad.adapters.hardware_devices import DeviceSettings, check_device_names
from postroad.adapters.settings_file import read_settings_text
from postroad.errors import ConfigurationError, PostroadError
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.securityserver.service_networks import ServiceNetworks
from postroad.securityserver.settings_layers import checked, layers_of, merged
from postroad.securityserver.settings_sections import (
    AcmeSection,
    BackupSection,
    ClientProxySection,
    ConfigurationClientSection,
    MessageLogSection,
    MonitoringSection,
    ServerConfSection,
    ServerProxySection,
    ServerSection,
    ServicesSection,
    TelemetrySection,
    TokensSection,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    server_conf: ServerConfSection = ServerConfSection()
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
        path = self.home_path / "db" / "serverconf.sqlite"
        return self.server_conf.database or f"sqlite:///{path}"

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
