"""A PostgreSQL server of our own for one test session: temporary directory, socket, no password.

It is a fixture of all tests::

    def test_something(postgresql_server: PostgresqlServer) -> None:
        url = postgresql_server.create_database()

The programs come from the system (``apt-get install postgresql``, Debian's layout) or from
``PATH``. It refuses to run as root, so root starts it as the user ``postgres``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine may need long; who waits in vain is told why.
_START_SECONDS = 120


@dataclass(frozen=True)
class PostgresqlServer:
    """A running server; every test asks it for a database of its own."""

    directory: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def url(self, database: str) -> str:
        """Return the address of a database of this server."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def create_database(self) -> str:
        """Create an empty database and return its address."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        _run(
            "pg_ctl",
            "start",
            "-w",
            "-t",
            str(_START_SECONDS),
            "-s",
            "-D",
            str(self.directory / "data"),
            "-l",
            str(self.directory / "server.log"),
            # A test survives the crash of the server, not of the machine: nothing needs the disk.
            "-o",
            f"-k {self.directory} -c listen_addresses= -c fsync=off",
        )

    def stop(self) -> None:
        """Stop the server at once, breaking its connections, as a crash would."""
        _run(
            "pg_ctl",
            "stop",
            "-w",
            "-t",
            str(_START_SECONDS),
            "-s",
            "-m",
            "immediate",
            "-D",
            str(self.directory / "data"),
        )


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server for the whole session; it is removed with its data at the end."""
    with running_server() as server:
        yield server


@contextlib.contextmanager
def running_server() -> Iterator[PostgresqlServer]:
    """A server that runs inside the context; it is removed with its data at the end."""
    # Not below pytest's own directory, which only we may enter: the server is another user.
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(directory, account.pw_uid, account.pw_gid)
        _run(
            "initdb",
            "-D",
            str(directory / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        server = PostgresqlServer(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _program(name: str) -> str:
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (directory / name).exists():
            return str(directory / name)
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} not found: install PostgreSQL (apt-get install postgresql)"
        )
    return found


def _run(name: str, *arguments: str) -> None:
    as_root = os.geteuid() == 0
    finished = subprocess.run(
        [_program(name), *arguments],
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        # A started server inherits these: pipes would never end, so output goes to a file.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if name == "pg_ctl" else subprocess.PIPE,
        user="postgres" if as_root else None,
        group="postgres" if as_root else None,
        extra_groups=[] if as_root else None,
        timeout=_START_SECONDS * 2,
    )
    if finished.returncode != 0:
        raise RuntimeError(f"{name} {arguments[0]} failed: {(finished.stderr or b'').decode()}")
