"""The Central Server's configuration file, as one frozen type.

One TOML file, ``central.toml`` in the home directory. Unknown keys are refused; every key has a
default. Durations are seconds. What concerns the instance itself (address, intervals of the
configuration, provider) is in the registry, not here.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from postroad.adapters.hardware_devices import DeviceSettings
from postroad.adapters.settings_file import convert_settings, read_settings_text
from postroad.centralserver.registry.management_requests import AutomaticApprovals
from postroad.errors import ConfigurationError
from postroad.globalconf.shared_parameters import NEWEST_VERSION, OLDEST_VERSION

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

FILE_NAME = "central.toml"


class CentralSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which node this is."""

    node_name: str = ""
    """This node's name in a cluster on one database; empty when it is alone."""
    strict_identifier_checks: bool = True
    """Allow only letters, digits and ``'()+,-.=?`` in new identifiers."""
    log_format: Literal["text", "json"] = "text"


class DatabaseSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the registry is kept."""

    url: str = ""
    """"" for SQLite in the home directory, or ``postgresql://user@host/database``."""
    password_file: str = ""
    """A file with the database password, which is then not part of the address."""


class ConfigurationSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the global configuration is generated."""

    generation_interval: Seconds = 60.0
    minimum_version: Annotated[int, msgspec.Meta(ge=1, le=NEWEST_VERSION)] = OLDEST_VERSION
    """The oldest configuration version that is still made; 1 counts as 2."""
    retention: Annotated[float, msgspec.Meta(ge=60)] = 600.0
    """How long the files of an earlier generation stay, for clients that are reading them."""


class DistributionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ports where participants download the configuration."""

    host: str = "0.0.0.0"  # noqa: S104 - participants come from the open internet
    http_port: Port = 80
    https: bool = True
    https_port: Port = 443
    tls_certificate_file: str = ""
    tls_key_file: str = ""
    """Empty for the self-signed certificate that `postroad central init` makes."""


class RegistrationServiceSection(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The port where servers register their authentication certificates, over TLS."""

    enabled: bool = True
    host: str = "0.0.0.0"  # noqa: S104 - servers come from the open internet
    port: Port = 4001
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 10
    """For each address that requests come from."""


class ManagementServiceSection(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The port where the Security Server of the management services delivers requests, over TLS.

    Deletions carry no signature: whoever reaches this port can make them in anybody's name (G-23).
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    """Opened further only together with ``client_certificate_file``, or behind a firewall."""
    port: Port = 4002
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 10
    client_certificate_file: str = ""
    """The internal TLS certificate (PEM) of that Security Server; set, nobody else is let in."""


class ManagementRequestsSection(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Which requests of servers are approved at once, when all parties are known members."""

    auto_approve_auth_cert_registrations: bool = False
    auto_approve_client_registrations: bool = False
    auto_approve_owner_changes: bool = False


class ManagementApiSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The port of the management interface (``/api/v1``), over TLS."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 4000
    requests_per_second: Annotated[int, msgspec.Meta(ge=1)] = 20
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 600
    """For each address that requests come from."""
    session_idle: Seconds = 1800.0
    """How long a session may be silent before it ends."""
    allowed_hosts: tuple[str, ...] = ()
    """The names that requests may use for this server; empty for any."""
    key_management_from: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """The networks from which API keys may be managed with user name and password."""
    audit_log_file: str = ""
    """Empty for ``log/audit.log`` in the home directory."""


class TokenSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the PIN of the signing keys is known at start."""

    pin_file: str = ""
    """A file that holds the PIN; without it, ``POSTROAD_CENTRAL_PIN`` or a prompt."""
    device: DeviceSettings | None = None
    """A hardware token for new signing keys: ``[token.device]`` with its PKCS#11 library."""
    device_pin_file: str = ""
    """A file that holds the PIN of that token; only its owner may read it."""


class BackupSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Automatic backups, and for whom backups are encrypted."""

    automatic: bool = True
    """Whether a backup is made every day, three hours and a quarter after midnight (UTC)."""
    keep_days: Annotated[int, msgspec.Meta(ge=1)] = 30
    """How long automatic backups are kept; others stay until somebody deletes them."""
    recipients_file: str = ""
    """OpenPGP keys of those who may open backups, besides the server itself."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in ``central.toml``, and the home directory it was read from."""

    central: CentralSection = CentralSection()
    database: DatabaseSection = DatabaseSection()
    configuration: ConfigurationSection = ConfigurationSection()
    distribution: DistributionSection = DistributionSection()
    registration_service: RegistrationServiceSection = RegistrationServiceSection()
    management_service: ManagementServiceSection = ManagementServiceSection()
    management_requests: ManagementRequestsSection = ManagementRequestsSection()
    management_api: ManagementApiSection = ManagementApiSection()
    token: TokenSection = TokenSection()
    backup: BackupSection = BackupSection()
    home: str = ""
    """Set by :func:`load_settings`; never written in the file."""

    @property
    def home_path(self) -> Path:
        """The home directory."""
        return Path(self.home)

    @property
    def database_url(self) -> str:
        """The registry's database."""
        return self.database.url or f"sqlite:///{self.home_path / 'db' / 'registry.sqlite'}"

    @property
    def versions(self) -> tuple[int, ...]:
        """The configuration versions that are generated, oldest first."""
        oldest = max(self.configuration.minimum_version, OLDEST_VERSION)
        return tuple(range(oldest, NEWEST_VERSION + 1))

    @property
    def public_path(self) -> Path:
        """What the distribution serves."""
        return self.home_path / "public"

    @property
    def token_path(self) -> Path:
        """The signing keys' token."""
        return self.home_path / "keys"

    @property
    def automatic_approvals(self) -> AutomaticApprovals:
        """Which requests of servers are approved at once."""
        section = self.management_requests
        return AutomaticApprovals(
            auth_cert_registrations=section.auto_approve_auth_cert_registrations,
            client_registrations=section.auto_approve_client_registrations,
            owner_changes=section.auto_approve_owner_changes,
        )

    @property
    def globalconf_path(self) -> Path:
        """The node's own copy of the configuration, in the layout that clients store."""
        return self.home_path / "globalconf"

    @property
    def status_path(self) -> Path:
        """How the last generation went, as JSON."""
        return self.home_path / "run" / "generation-status.json"

    @property
    def lock_path(self) -> Path:
        """Held while the server runs."""
        return self.home_path / "run" / "server.lock"

    @property
    def tls_certificate_path(self) -> Path:
        """The certificate of the distribution's HTTPS port."""
        return Path(self.distribution.tls_certificate_file or self.home_path / "tls" / "conf.crt")

    @property
    def tls_key_path(self) -> Path:
        """The key of the distribution's HTTPS port."""
        return Path(self.distribution.tls_key_file or self.home_path / "tls" / "conf.key")

    @property
    def management_certificate_path(self) -> Path:
        """The certificate of the registration service, which clients pin."""
        return self.home_path / "tls" / "management-service.crt"

    @property
    def management_key_path(self) -> Path:
        """The key of the registration service."""
        return self.home_path / "tls" / "management-service.key"

    @property
    def api_certificate_path(self) -> Path:
        """The certificate of the management interface."""
        return self.home_path / "tls" / "management-api.crt"

    @property
    def api_key_path(self) -> Path:
        """The key of the management interface."""
        return self.home_path / "tls" / "management-api.key"

    @property
    def audit_log_path(self) -> Path:
        """Where the management interface tells who did what."""
        return Path(self.management_api.audit_log_file or self.home_path / "log" / "audit.log")


def load_settings(home: Path) -> Settings:
    """Read ``central.toml`` in ``home``; a missing file means the defaults.

    Raises ``ConfigurationError`` naming the key and what is wrong with it.
    """
    path = home / FILE_NAME
    text = read_settings_text(path, missing="")
    return parse_settings(text, home=home, source=str(path))


def parse_settings(text: str, *, home: Path, source: str = FILE_NAME) -> Settings:
    """Read settings from TOML text; see :func:`load_settings`."""
    settings = convert_settings(text, Settings, home=home, source=source)
    try:
        for network in settings.management_api.key_management_from:
            ipaddress.ip_network(network)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from error
    if settings.token.device is not None and not settings.token.device_pin_file:
        raise ConfigurationError(f"{source}: [token]: a device needs device_pin_file")
    return settings


def database_password(settings: Settings) -> str | None:
    """The database password from its file, None when there is no such file."""
    if not settings.database.password_file:
        return None
    path = Path(settings.database.password_file)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the database password {path} can't be read: {error}") from error
