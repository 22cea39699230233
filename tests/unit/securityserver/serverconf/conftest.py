"""The server configuration's tests run on both databases."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from postroad.adapters.database import create_engine, migrate, sqlite_url
from postroad.securityserver.serverconf.models import Base
from postroad.securityserver.serverconf.repository import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from support.postgresql import PostgresqlServer


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: PostgresqlServer) -> str:
    """A database that all these tests share, since making the tables takes longer than a test."""
    url = postgresql_server.create_database()
    engine = create_engine(url)
    migrate(engine, MIGRATIONS)
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without a row."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "serverconf.sqlite")
    url: str = request.getfixturevalue("postgresql_url")
    tables = sql.SQL(", ").join(sql.Identifier(name) for name in Base.metadata.tables)
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))
    return url
