"""How does the lab's ACME endpoint behave? ``acme.json`` in the lab's home, followed as it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

PROFILES: Final = ("auth", "sign")
"""Identifiers of the certificate profiles, as those of the reference's test CA."""
_Days = Annotated[float, msgspec.Meta(gt=0, le=7300)]


class ExternalAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Credentials that a client of the lab was given by another way."""

    mac_key: str
    """The key of HMAC-SHA256, as text."""
    profile: str | None = None
    """What accounts bound to it get: ``auth`` or ``sign``; None leaves it to each order."""


class AcmeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What can be set."""

    external_accounts: dict[str, ExternalAccount] = {}
    """By key identifier; with any, accounts must be bound to one of them."""
    challenge_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 80
    """Where challenges are fetched. Only 80 is RFC 8555; another is for trials without root."""
    days: _Days = 365
    """How long certificates are valid at most."""
    renew_before_days: _Days | None = None
    """Offers renewal information (RFC 9773) whose window opens so long before the end."""


def load_acme_settings(path: Path) -> AcmeSettings:
    """Read the file; without one everything is as made. ``ConfigurationError`` if it is broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=AcmeSettings)
    except FileNotFoundError:
        return AcmeSettings()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
