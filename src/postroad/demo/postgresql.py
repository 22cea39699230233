"""How does the demo get a PostgreSQL server of its own?

The packaged programs make one in a directory, reached by a socket in that directory and by nothing
else; whoever may not enter the directory can't reach it. It refuses to run as root, so root runs it
as the account ``postgres``, below that account's own home.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from postroad.demo.processes import Process, wait_until
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCOUNT: Final = "postgres"
_PACKAGED: Final = Path("/usr/lib/postgresql")
_MAX_SOCKET_PATH: Final = 100
_SETTINGS: Final = (
    "listen_addresses=",
    "shared_buffers=8MB",
    "max_connections=60",
    "max_logical_replication_workers=0",
)
"""No network; small, for all of it counts as the demo's memory."""


def find_program(name: str) -> str:
    """The newest packaged program of that name, or one on ``PATH``.

    Raises ``ConfigurationError`` that says what to install.
    """
    found = sorted(_PACKAGED.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        raise ConfigurationError(
            f"PostgreSQL is not installed here ({name} is missing): apt-get install postgresql"
        )
    return program


def directory_for(home: Path) -> Path:
    """Where the databases of a demo in ``home`` are: in it, or where ``postgres`` may enter."""
    if os.geteuid() != 0:
        return home / "postgresql"
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(_account().pw_dir) / f"postroad-demo-{digest}"


class PostgresqlServer:
    """A server in a directory of its own, started and stopped with the demo."""

    def __init__(self, directory: Path, *, log: Path) -> None:
        self.directory = directory
        self._data = directory / "data"
        self._user = ACCOUNT if os.geteuid() == 0 else None
        self._log = log
        self.process: Process | None = None

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://{ACCOUNT}@/{database}?host={self.directory}"

    @property
    def is_made(self) -> bool:
        """Whether an earlier run made it."""
        return (self._data / "PG_VERSION").exists()

    def forget(self) -> None:
        """Remove it with all its databases."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory)

    def start(self) -> None:
        """Make it if it isn't there, start it, and wait until it answers.

        Raises ``ConfigurationError`` when the package is missing or it doesn't start.
        """
        program = find_program("postgres")
        if len(str(self.directory)) > _MAX_SOCKET_PATH - len("/.s.PGSQL.5432"):
            raise ConfigurationError(
                f"the path {self.directory} is too long for PostgreSQL's socket: choose another"
            )
        if not self.is_made:
            self._make()
        options = [word for each in _SETTINGS for word in ("-c", each)]
        self.process = _PostgresqlProcess(
            "postgresql",
            [program, "-D", str(self._data), "-k", str(self.directory), *options],
            log=self._log,
            user=self._user,
        )
        self.process.start()
        wait_until("PostgreSQL", self._answers, programs=[self.process])

    def stop(self) -> None:
        """Let it finish what it does, and end it."""
        if self.process is not None:
            self.process.stop()

    def create_databases(self, names: Iterable[str]) -> None:
        """Create empty databases."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for name in names:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    @property
    def version(self) -> str:
        """Which PostgreSQL it is."""
        with psycopg.connect(self.url("postgres")) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else "?"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def _make(self) -> None:
        """Run ``initdb``; nobody but the account that runs it may enter its directory."""
        self.forget()
        self.directory.mkdir(mode=0o700, parents=True)
        if self._user is not None:
            account = _account()
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        done = subprocess.run(  # noqa: S603 - the packaged program
            [
                *(find_program("initdb"), "-D", str(self._data), "-U", ACCOUNT, "-A", "trust"),
                *("-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            check=False,
        )
        if done.returncode != 0:
            raise ConfigurationError(f"initdb failed: {done.stderr.strip()}")


class _PostgresqlProcess(Process):
    """Ends at once when told, without waiting for clients that keep connections."""

    STOP = signal.SIGINT


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise ConfigurationError(
            f"PostgreSQL doesn't run as root, and there is no account {ACCOUNT!r}: "
            "apt-get install postgresql"
        ) from None
