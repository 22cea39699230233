from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.postgresql import PostgresqlDatabase
from postroad.securityserver.messagelog.sqlite import SqliteDatabase


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
