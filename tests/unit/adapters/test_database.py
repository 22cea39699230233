"""What the engine, the transactions and the migrations promise."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from postroad.adapters.database import (
    create_engine,
    migrate,
    packaged_revision,
    schema_revision,
    snapshot,
    sqlite_url,
    transaction,
)
from postroad.centralserver.models.schema import registry_metadata
from postroad.centralserver.node import MIGRATIONS
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine import Engine

    from support.postgresql import PostgresqlServer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(sqlite_url(tmp_path / "db" / "test.sqlite"))
    with transaction(engine) as session:
        session.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        session.execute(text("CREATE TABLE child (id INTEGER REFERENCES parent (id))"))
    yield engine
    engine.dispose()


def count(engine: Engine, table: str = "parent") -> int:
    with snapshot(engine) as session:
        return session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)]
)
def test_sqlite_connections_are_durable_and_checked(
    engine: Engine, pragma: str, value: object
) -> None:
    with snapshot(engine) as session:
        assert session.execute(text(f"PRAGMA {pragma}")).scalar() == value


def test_a_new_sqlite_file_is_readable_by_its_owner_only(engine: Engine, tmp_path: Path) -> None:
    with transaction(engine) as session:
        session.execute(text("INSERT INTO parent VALUES (1)"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "db").iterdir()}
    assert set(modes.values()) == {0o600}


def test_a_failing_transaction_leaves_nothing(engine: Engine) -> None:
    def fail() -> None:
        with transaction(engine) as session:
            session.execute(text("INSERT INTO parent VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert count(engine) == 0


def test_a_snapshot_does_not_see_what_is_committed_meanwhile(engine: Engine) -> None:
    with snapshot(engine) as session:
        before = session.execute(text("SELECT count(*) FROM parent")).scalar_one()
        with transaction(engine) as writing:
            writing.execute(text("INSERT INTO parent VALUES (1)"))
        assert session.execute(text("SELECT count(*) FROM parent")).scalar_one() == before
    assert count(engine) == 1


def test_foreign_keys_are_enforced(engine: Engine) -> None:
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.execute(text("INSERT INTO child VALUES (7)"))


def test_a_database_that_does_not_answer_is_a_configuration_error() -> None:
    engine = create_engine("postgresql://user@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match="can't be used"), transaction(engine) as session:
        session.execute(text("SELECT 1"))


@pytest.mark.parametrize("url", ["mysql://user:canary@host/db", "canary", "no:canary@where"])
def test_refuses_other_databases_without_showing_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        create_engine(url)
    assert "user:canary" not in refused.value.message


def test_refuses_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can't open"):
        create_engine(sqlite_url(tmp_path / "file" / "x.sqlite"))


def test_the_password_of_a_file_reaches_the_driver() -> None:
    engine = create_engine("postgresql://user@host/db", password="canary")
    assert engine.url.password == "canary"
    assert engine.url.drivername == "postgresql+psycopg"
    assert "canary" not in repr(engine)


def test_migrations_make_the_schema_of_the_models() -> None:
    engine = create_engine("sqlite://")
    migrate(engine, MIGRATIONS)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, registry_metadata()) == []


def test_migrating_twice_does_nothing_the_second_time() -> None:
    engine = create_engine("sqlite://")
    assert schema_revision(engine) is None
    migrate(engine, MIGRATIONS)
    revision = schema_revision(engine)
    migrate(engine, MIGRATIONS)
    assert schema_revision(engine) == revision == packaged_revision(MIGRATIONS)


def test_the_newest_migration_is_found_without_alembic() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", MIGRATIONS)
    configuration.set_main_option("path_separator", "os")
    heads = ScriptDirectory.from_config(configuration).get_heads()
    assert heads == [packaged_revision(MIGRATIONS)]


def test_refuses_the_schema_of_a_newer_version() -> None:
    engine = create_engine("sqlite://")
    migrate(engine, MIGRATIONS)
    with transaction(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer version"):
        migrate(engine, MIGRATIONS)


def test_a_schema_can_be_taken_back() -> None:
    engine = create_engine("sqlite://")
    migrate(engine, MIGRATIONS)
    configuration = Config()
    configuration.set_main_option("script_location", MIGRATIONS)
    configuration.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "base")
    assert schema_revision(engine) is None
    migrate(engine, MIGRATIONS)
    assert count(engine, "members") == 0


@pytest.mark.parametrize("value", ["canary", "c\0"])
def test_a_value_that_postgresql_does_not_take_is_refused_without_being_told(
    postgresql_server: PostgresqlServer, value: str
) -> None:
    engine = create_engine(postgresql_server.create_database())
    with transaction(engine) as session:
        session.execute(text("CREATE TABLE words (word VARCHAR(3))"))
    insertion = text("INSERT INTO words VALUES (:word)")
    with (
        pytest.raises(ConfigurationError, match="refuses a value") as caught,
        transaction(engine) as session,
    ):
        session.execute(insertion, {"word": value})
    assert "canary" not in str(caught.value)
    engine.dispose()
