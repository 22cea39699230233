from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.opening import open_database, open_for_writing
from postroad.securityserver.messagelog.postgresql import PostgresqlDatabase
from postroad.securityserver.messagelog.record_encryption import EncryptingDatabase
from postroad.securityserver.messagelog.record_keys import add_log_key
from postroad.securityserver.messagelog.sqlite import SqliteDatabase
from postroad.securityserver.settings import parse_settings


def test_an_address_names_its_product(tmp_path: Path) -> None:
    assert isinstance(open_database(f"sqlite:///{tmp_path}/log"), SqliteDatabase)
    assert isinstance(open_database("postgresql://user@host/log"), PostgresqlDatabase)
    assert isinstance(open_database("postgresql+psycopg://user@host/log"), PostgresqlDatabase)


@pytest.mark.parametrize("url", ["", "mysql://host/log", "sqlite", "/var/lib/log", "sqlite://"])
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_database(url)


def test_opening_touches_nothing_yet(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/log")
    assert list(tmp_path.iterdir()) == []


def test_a_writer_without_its_key_does_not_start(tmp_path: Path) -> None:
    text = (
        '[server]\nidentifier = "TEST/COM/1/SS"\n[message_log]\n'
        'messagelog_encryption_enabled = true\nmessagelog_key_id = "2026"\n'
    )
    settings = parse_settings(text, home=tmp_path)
    with pytest.raises(ConfigurationError, match="does not exist"):
        open_for_writing(settings)
    add_log_key(settings.log_keys_path, "2025")
    with pytest.raises(ConfigurationError, match="'2026' is not in"):
        open_for_writing(settings)
    add_log_key(settings.log_keys_path, "2026")
    assert isinstance(open_for_writing(settings), EncryptingDatabase)
