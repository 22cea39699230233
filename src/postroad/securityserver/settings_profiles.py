"""Which defaults differ from country to country?

A profile is what the reference's package of that name sets differently; ``vanilla`` is the
reference's own package. Without a profile Postroad's own defaults hold, which listen for
information systems on this machine only. Source: UG-SYSPAR; the packages' override files.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Profile = dict[str, dict[str, object]]

_VANILLA: Final[Profile] = {
    "client_proxy": {"host": "0.0.0.0"},  # noqa: S104 - the reference's default
    "server_proxy": {"close_after_response": True, "reuse_connections": False},
    "message_log": {"oversized_bodies": "refuse"},
    "acme": {"acme_challenge_port_enabled": False},
}

_ESTONIA: Final[Profile] = {
    "client_proxy": {"host": "127.0.0.1", "http_port": 80, "https_port": 443},
    "server_proxy": {
        "close_after_response": True,
        "reuse_connections": False,
        "min_supported_client_version": "7.6.0",
    },
    "message_log": {"oversized_bodies": "refuse", "max_body_bytes": 20 * 1024 * 1024},
    "tokens": {
        "enforce_pin_policy": True,
        "authentication_key_algorithm": "RSA-3072",
        "signing_key_algorithm": "RSA-3072",
    },
    "acme": {"acme_challenge_port_enabled": False},
}

_FINLAND: Final[Profile] = {
    "client_proxy": {"host": "0.0.0.0"},  # noqa: S104 - the reference's default
    "server_proxy": {
        "close_after_response": False,
        "reuse_connections": True,
        "idle_timeout": 120,
        "min_supported_client_version": "7.6.0",
    },
    "message_log": {
        "oversized_bodies": "refuse",
        "log_bodies": False,
        "acceptable_timestamp_failure_period": 172_800,
    },
    "tokens": {
        "enforce_pin_policy": True,
        "authentication_key_algorithm": "RSA-3072",
        "signing_key_algorithm": "RSA-3072",
    },
    "acme": {"acme_challenge_port_enabled": True, "acme_challenge_port": 80},
}

PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {"": {}, "vanilla": _VANILLA, "ee": _ESTONIA, "fi": _FINLAND}
)
