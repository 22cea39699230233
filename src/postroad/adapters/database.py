"""How do we open, migrate and use a relational database?

One place for the engine settings that make SQLite safe (write-ahead log, foreign keys, full
synchronisation, explicit transactions) and PostgreSQL equal to it, for running the packaged
Alembic migrations without any ini file, and for the transaction that every repository works in.

The migrations of a component live in a directory of its own package (``env.py``, ``versions/``);
its ``env.py`` consists of one call of :func:`run_migrations`.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.orm import Session

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import MetaData
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_MS = 10_000
"""How long one SQLite connection waits for the lock of another, in milliseconds."""

CONNECT_TIMEOUT_S = 10
"""How long we wait for a PostgreSQL server to answer, in seconds."""

_IDLE_TOO_LONG = "25P03"
"""What PostgreSQL calls the end of a session that was idle in a transaction."""

_LOCK_IDLE_SECONDS = 300
"""How long a lock is held by a program that does nothing: longer than any token takes to sign."""

_MIGRATION_LOCK = 0x706F7374
"""The PostgreSQL advisory lock that lets one process migrate at a time."""

_REVISION = re.compile(r"^revision(?:: str)? = ['\"](\w+)['\"]", re.MULTILINE)
_FOLLOWS = re.compile(r"^down_revision(?:: [^=]+)? = ['\"](\w+)['\"]", re.MULTILINE)
_READ_ONLY = "postroad_read_only"
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
)


def sqlite_url(path: Path) -> str:
    """The address of an SQLite database file.

    >>> sqlite_url(Path("/var/lib/postroad/registry.sqlite"))
    'sqlite:////var/lib/postroad/registry.sqlite'
    """
    return f"sqlite:///{path.absolute()}"


def create_engine(url: str, *, password: str | None = None) -> Engine:
    """An engine for ``sqlite:///path`` or ``postgresql://user@host/database``.

    PostgreSQL is always reached through psycopg 3. ``password`` is for a secret that was kept out
    of the address (a file). Nothing connects yet, besides that a missing SQLite file is created,
    readable by its owner only.

    Raises ``ConfigurationError`` for an unreadable address or another database product.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise ConfigurationError(f"not a database address: {_without_password(url)}") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite_engine(parsed)
        case "postgresql":
            return _postgresql_engine(parsed, password)
        case other:
            raise ConfigurationError(f"database {other!r} is not supported: use sqlite, postgresql")


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session whose work is committed as a whole, or not at all.

    On SQLite the write lock is taken at once (``BEGIN IMMEDIATE``), so what was read can't change
    before it is written. Objects stay readable after the commit.

    Raises ``ConfigurationError`` when the database can't be used (down, locked, disk full).
    """
    with _translated(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def snapshot(engine: Engine) -> Iterator[Session]:
    """A session for reading: all its queries see the database at one and the same moment.

    Raises ``ConfigurationError`` when the database can't be used.
    """
    options: dict[str, object] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    reading = engine.execution_options(**options)
    with _translated(), Session(reading, expire_on_commit=False, autoflush=False) as session:
        yield session


def bound_waiting(session: Session, *, lock_seconds: int, idle_seconds: int) -> None:
    """Let this transaction wait for locks, and hold its own without a word, only so long.

    What PostgreSQL does on its own account is wait for ever. SQLite's waiting is bounded anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        for name, seconds in (
            ("lock_timeout", lock_seconds),
            ("idle_in_transaction_session_timeout", idle_seconds),
        ):
            session.execute(
                sqlalchemy.text("SELECT set_config(:name, :value, true)"),
                {"name": name, "value": f"{seconds}s"},
            )


@contextmanager
def held_lock(engine: Engine, name: str, *, wait_seconds: int) -> Iterator[Callable[[], None]]:
    """Hold a lock that all users of a PostgreSQL database share, while the context runs.

    It goes with its connection, so a holder that dies leaves nothing behind. What is yielded
    raises when the connection, and so the lock, was lost meanwhile: call it before what only the
    holder may do. On SQLite, which has one machine's users only, files are locked instead.

    Raises ``ConfigurationError`` when another one holds it for longer than ``wait_seconds``.
    """
    if engine.dialect.name != "postgresql":
        yield lambda: None
        return
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    with Session(engine) as session:
        try:
            with _translated():
                bound_waiting(session, lock_seconds=wait_seconds, idle_seconds=_LOCK_IDLE_SECONDS)
                session.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        except ConfigurationError as error:
            raise ConfigurationError(f"no turn to work on {name}: {error.message}") from error

        def still_held() -> None:
            with _translated():
                session.execute(sqlalchemy.text("SELECT 1"))

        yield still_held


def migrate(engine: Engine, script_location: str) -> None:
    """Bring the database to the newest schema of the packaged migrations, in one transaction.

    ``script_location`` is Alembic's ``package:directory`` form, for example
    ``postroad.centralserver:migrations``. Safe to call at every start and from several processes
    at once: the second one waits and then finds nothing to do.

    Raises ``ConfigurationError`` when the database can't be used, or holds a schema that this
    version doesn't know (it was migrated by a newer one).
    """
    with _translated(), engine.connect() as connection:
        if _stored_revision(connection) == packaged_revision(script_location):
            return
    from alembic import command  # noqa: PLC0415 - a long import, needed by few processes
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    configuration = Config()
    configuration.set_main_option("script_location", script_location)
    configuration.set_main_option("path_separator", "os")
    with _translated(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _MIGRATION_LOCK})
        configuration.attributes["connection"] = connection
        try:
            command.upgrade(configuration, "head")
        except CommandError as error:
            raise ConfigurationError(
                "the database schema is not one that this version knows; was it used by a newer "
                f"version? ({error})"
            ) from error


@contextmanager
def emptied(engine: Engine, metadata: MetaData) -> Iterator[Connection]:
    """All tables of a schema without their rows, inside one transaction, which the caller fills.

    Triggers don't watch meanwhile: what refuses every deletion would refuse this one. Whoever reads
    sees the rows that there were; they stay if the context fails.
    """
    with _translated(), engine.begin() as connection:
        restore = _switch_triggers_off(connection, metadata)
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        yield connection
        for statement in restore:
            connection.exec_driver_sql(statement)


def _switch_triggers_off(connection: Connection, metadata: MetaData) -> list[str]:
    """Returns the statements that switch them on again."""
    if connection.dialect.name == "postgresql":
        quote = connection.dialect.identifier_preparer.format_table
        tables = [quote(table) for table in metadata.sorted_tables]
        for table in tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        return [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables]
    connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    triggers = [(str(name), str(statement)) for name, statement in found.all()]
    for name, _statement in triggers:
        quoted = connection.dialect.identifier_preparer.quote(name)
        connection.exec_driver_sql(f"DROP TRIGGER {quoted}")
    return [statement for _name, statement in triggers]


def schema_revision(engine: Engine) -> str | None:
    """The migration that the database is at; None when it was never migrated."""
    with _translated(), engine.connect() as connection:
        return _stored_revision(connection)


def packaged_revision(script_location: str) -> str:
    """The newest migration of a package, read off its files without importing anything.

    Raises ``ConfigurationError`` when the files don't make one line of migrations.
    """
    package, _separator, directory = script_location.partition(":")
    versions = files(package) / directory / "versions"
    texts = [file.read_text() for file in versions.iterdir() if file.name.endswith(".py")]
    followed = {found[1] for text in texts if (found := _FOLLOWS.search(text))}
    heads = {found[1] for text in texts if (found := _REVISION.search(text))} - followed
    if len(heads) != 1:
        raise ConfigurationError(f"{script_location} has {len(heads)} newest migrations, not one")
    return heads.pop()


def run_migrations(metadata: MetaData) -> None:
    """The body of a component's ``env.py``: run what :func:`migrate` asked for.

    ``metadata`` is the schema as the code has it; a developer's ``alembic revision
    --autogenerate`` compares it with the database.
    """
    from alembic import context  # noqa: PLC0415 - a proxy that exists while migrating

    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def _stored_revision(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return None
    stored = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    revision: str | None = stored.scalar_one_or_none()
    return revision


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        _create_private_file(Path(url.database))
    engine = sqlalchemy.create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite_connection)
    event.listen(engine, "begin", _begin_sqlite_transaction)
    return engine


def _postgresql_engine(url: URL, password: str | None) -> Engine:
    url = url.set(drivername="postgresql+psycopg")
    if password is not None:
        url = url.set(password=password)
    return sqlalchemy.create_engine(
        url,
        pool_pre_ping=True,
        pool_size=4,
        max_overflow=4,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )


def _create_private_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its -wal and -shm files the mode of the database file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(f"can't open the database file {path}: {error}") from error


def _prepare_sqlite_connection(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver would begin transactions by its own rules, too late and not for DDL: we begin them.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite_transaction(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError) as error:
        raise ConfigurationError(f"the database can't be used: {error.orig}") from error
    except exc.DataError as error:
        # What SQLite would store: a text that is too long, or holds NUL. Its words may be secret.
        raise ConfigurationError("the database refuses a value: too long, or with NUL") from error
    except exc.InternalError as error:
        if getattr(error.orig, "sqlstate", None) != _IDLE_TOO_LONG:
            raise
        raise ConfigurationError(f"the database can't be used: {error.orig}") from error
