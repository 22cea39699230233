"""What central.toml may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.settings import (
    FILE_NAME,
    database_password,
    load_settings,
    parse_settings,
)
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_file_means_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.versions == (2, 3, 4, 5, 6)
    assert settings.configuration.generation_interval == 60
    assert settings.configuration.retention == 600
    assert (settings.distribution.http_port, settings.distribution.https_port) == (80, 443)
    assert settings.database_url == f"sqlite:///{tmp_path}/db/registry.sqlite"
    assert database_password(settings) is None


def test_everything_lies_in_the_home_directory(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    for path in (
        settings.public_path,
        settings.token_path,
        settings.globalconf_path,
        settings.status_path,
        settings.tls_certificate_path,
        settings.tls_key_path,
        settings.management_certificate_path,
        settings.management_key_path,
    ):
        assert path.is_relative_to(tmp_path)


def test_the_file_decides(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        '[central]\nnode_name = "node_1"\n[distribution]\ntls_certificate_file = "/etc/x.crt"\n'
        '[database]\nurl = "postgresql://user@db/registry"\n'
    )
    settings = load_settings(tmp_path)
    assert settings.central.node_name == "node_1"
    assert settings.database_url == "postgresql://user@db/registry"
    assert str(settings.tls_certificate_path) == "/etc/x.crt"


@pytest.mark.parametrize(
    "text",
    [
        "[central",
        "unknown = 1",
        "[central]\nunknown = 1",
        '[distribution]\nhttp_port = "80"',
        "[distribution]\nhttp_port = 65536",
        "[configuration]\ngeneration_interval = 0",
        "[configuration]\nminimum_version = 7",
        "[configuration]\nminimum_version = 0",
        "[configuration]\nretention = 59",
        'home = "/elsewhere"',
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=FILE_NAME):
        parse_settings(text, home=tmp_path)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_settings(tmp_path)


def test_the_database_password_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    settings = parse_settings(f'[database]\npassword_file = "{path}"', home=tmp_path)
    with pytest.raises(ConfigurationError, match="can't be read"):
        database_password(settings)
    path.write_text("canary\n")
    assert database_password(settings) == "canary"
