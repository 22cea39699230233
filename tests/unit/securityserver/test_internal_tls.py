from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroad.adapters.tls import information_system_context
from postroad.errors import ConfigurationError
from postroad.securityserver.internal_tls import (
    ensure_internal_identity,
    internal_tls_path,
    load_internal_identity,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_pair_is_made_once_and_kept(tmp_path: Path) -> None:
    made = ensure_internal_identity(tmp_path, NOW, ("10.0.0.1", "ss.example.org"))
    assert ensure_internal_identity(tmp_path, NOW) == made
    assert internal_tls_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert made.certificate.is_valid_at(NOW)
    assert [path.name for path in internal_tls_path(tmp_path).parent.iterdir()] == ["internal.pem"]


def test_tls_can_use_the_pair(tmp_path: Path) -> None:
    made = ensure_internal_identity(tmp_path, NOW)
    context = information_system_context(made.key_pem, made.chain_pem, [made.certificate.der])
    assert isinstance(context, ssl.SSLContext)


@pytest.mark.parametrize("content", [None, b"", b"junk"])
def test_a_missing_or_broken_pair_is_a_configuration_error(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        internal_tls_path(tmp_path).parent.mkdir()
        internal_tls_path(tmp_path).write_bytes(content)
    with pytest.raises(ConfigurationError):
        load_internal_identity(tmp_path)
