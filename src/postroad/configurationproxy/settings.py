"""The configuration proxy's configuration file, as one frozen type.

One TOML file, ``confproxy.toml`` in the home directory; unknown keys are refused. What concerns
one proxy instance is in a file of its own (``instances``). Source: reference ``confproxy.ini``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from postroad.adapters.settings_file import convert_settings, read_settings_text
from postroad.errors import ConfigurationError
from postroad.globalconf.shared_parameters import NEWEST_VERSION, OLDEST_VERSION

FILE_NAME = "confproxy.toml"
DIRECTORY = "conf"
"""The last part of a signed directory's address."""
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ProxySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How clients reach the proxy, and how often it looks for news."""

    address: str = ""
    """Host name or address that anchors name, with a port where it isn't the usual one."""
    update_interval: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    minimum_version: Annotated[int, msgspec.Meta(ge=1, le=NEWEST_VERSION)] = OLDEST_VERSION
    """The oldest configuration version that is passed on; 1 counts as 2."""
    verify_tls: bool = True
    """Of the sources; what they give is proven by its own signature either way."""
    log_format: Literal["text", "json"] = "text"


class DistributionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ports where clients download the configuration."""

    host: str = "0.0.0.0"  # noqa: S104 - clients come from the open internet
    http_port: Port = 80
    https: bool = True
    https_port: Port = 443


class TokenSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the PIN of the signing keys is known at start."""

    pin_file: str = ""
    """A file that holds the PIN; without it, ``POSTROAD_CONFPROXY_PIN`` or a prompt."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything in ``confproxy.toml``, and the home directory it was read from."""

    proxy: ProxySection = ProxySection()
    distribution: DistributionSection = DistributionSection()
    token: TokenSection = TokenSection()
    home: str = ""
    """Set by :func:`load_settings`; never written in the file."""

    @property
    def home_path(self) -> Path:
        """The home directory."""
        return Path(self.home)

    @property
    def instances_path(self) -> Path:
        """The proxy instances: a folder each, with source anchor, settings and certificates."""
        return self.home_path / "instances"

    @property
    def download_path(self) -> Path:
        """What was downloaded, by proxy instance and version."""
        return self.home_path / "globalconf"

    @property
    def public_path(self) -> Path:
        """What is served."""
        return self.home_path / "public"

    @property
    def token_path(self) -> Path:
        """The software token of the signing keys."""
        return self.home_path / "token"

    @property
    def tls_certificate_path(self) -> Path:
        """The certificate of the HTTPS port."""
        return self.home_path / "tls" / "confproxy.crt"

    @property
    def tls_key_path(self) -> Path:
        """Its key."""
        return self.home_path / "tls" / "confproxy.key"

    @property
    def versions(self) -> tuple[int, ...]:
        """The configuration versions that are passed on, newest first."""
        oldest = max(self.proxy.minimum_version, OLDEST_VERSION)
        return tuple(range(NEWEST_VERSION, oldest - 1, -1))


def load_settings(home: Path) -> Settings:
    """Read ``confproxy.toml`` in ``home``.

    Raises ``ConfigurationError`` naming the key and what is wrong with it.
    """
    path = home / FILE_NAME
    missing = ConfigurationError(
        f"{path} does not exist; make it with `postroad confproxy init --home {home}`"
    )
    text = read_settings_text(path, missing=missing)
    return convert_settings(text, Settings, home=home, source=str(path))
