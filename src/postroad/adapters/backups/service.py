"""How is a server backed up, and a backup checked and put back: the steps, for any kind of server.

A service describes its server by :class:`BackedUp`; the rest is the same for all.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.backups.contents import BackupContents, encode_contents, parse_contents
from postroad.adapters.backups.restoring import (
    DIRECTORY,
    KEY_FILE,
    collect_files,
    finish,
    stage,
    stopped,
)
from postroad.adapters.backups.sealing import (
    automatic_name,
    ensure_key,
    load_recipients,
    open_sealed,
    remove_outdated,
    seal,
    store_backup,
)
from postroad.adapters.backups.tables import check_dump, dump_tables, load_tables
from postroad.adapters.database import packaged_revision
from postroad.adapters.openpgp import OpenPgpSecret, load_certificates
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta
    from pathlib import Path

    from sqlalchemy import MetaData
    from sqlalchemy.engine import Engine

    from postroad.adapters.openpgp import OpenPgpCertificate

_KINDS = {"cs": "central", "ss": "security"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A server that is backed up: whose, where, and what belongs to it."""

    label: str
    """Empty while nothing says whose home directory this is."""
    kind: str
    """``cs`` or ``ss``, for the names of automatic backups."""
    home: Path
    left_out: frozenset[str]
    """First names in the home directory that are no part of it: logs, caches, databases."""
    settings_file: str
    lock: Path
    """Held while the server runs."""
    metadata: MetaData
    migrations: str
    open_database: Callable[[], AbstractContextManager[Engine]]
    """Opens the database that the settings in the home directory name, as they are then."""
    recipients_file: Path | None = None
    require_alone: Callable[[], None] = lambda: None
    """Refuses a restore while other machines work on the database."""
    begin_anew: Callable[[], None] = lambda: None
    """Forgets what the server remembers of a state that a restore has replaced."""

    @property
    def directory(self) -> Path:
        """Where backups are kept."""
        return self.home / DIRECTORY


@dataclass(frozen=True, slots=True)
class Opener:
    """Whose key opens a backup, and who may have signed it."""

    key: OpenPgpSecret
    signers: tuple[OpenPgpCertificate, ...]


def create_backup(server: BackedUp, name: str) -> Path:
    """Back a server up into a file of its backup directory; it may run meanwhile."""
    if not server.label:
        raise ConfigurationError("there is nothing to back up: the server isn't initialised")
    key = ensure_key(server.home, server.label)
    with server.open_database() as engine:
        database = dump_tables(engine, server.metadata)
    files = collect_files(server.home, server.left_out)
    data = encode_contents(BackupContents(server.label, database, files))
    return store_backup(
        server.directory, name, seal(data, key, load_recipients(server.recipients_file))
    )


def opener_of(
    server: BackedUp, *, key_file: Path | None = None, signer_file: Path | None = None
) -> Opener:
    """The server's own key, or others that the operator names: on a new machine, say."""
    path = key_file or server.home / KEY_FILE
    if not path.exists():
        raise ConfigurationError(
            f"{path} isn't there: without the key of the server that made it no backup opens; name "
            "a copy with --key",
            code=FaultCode.KEY_NOT_FOUND,
        )
    key = OpenPgpSecret.load(path)
    signers = [key.certificate] if signer_file is None else load_certificates(signer_file)
    return Opener(key, tuple(signers))


def read_backup(server: BackedUp, path: Path, opener: Opener) -> BackupContents:
    """Open a backup and judge all of it, changing nothing.

    Raises ``ConfigurationError`` and ``MalformedInput``.
    """
    contents = parse_contents(open_sealed(path, opener.key, opener.signers))
    check_dump(contents.database, server.metadata, packaged_revision(server.migrations))
    return contents


def restore_backup(
    server: BackedUp, contents: BackupContents, *, force: bool = False, keep_settings: bool = False
) -> None:
    """Put a backup in the place of what is there; the server must be stopped.

    Refused for the backup of another server unless ``force``, which never makes one kind of server
    of the other. With ``keep_settings`` the settings file stays as it is.
    """
    if contents.label.partition("/")[0] != _KINDS[server.kind]:
        raise ConfigurationError(f"this is a backup of {contents.label}, another kind of server")
    if contents.label != server.label and not force:
        raise ConfigurationError(
            f"this is a backup of {contents.label}, not of {server.label or 'this new server'}: "
            "if that is meant, say --force"
        )
    left_out = set(server.left_out)
    files = dict(contents.files)
    if keep_settings:
        left_out.add(server.settings_file)
        files.pop(server.settings_file, None)
    if any(path.partition("/")[0] in server.left_out for path in files):
        raise ConfigurationError("the backup holds files that no backup holds")
    with stopped(server.lock):
        server.require_alone()
        stage(server.home, BackupContents(contents.label, contents.database, files), left_out)
        _finish(server)


def finish_restore(server: BackedUp) -> bool:
    """Finish a restore that was interrupted; False when there is none."""
    with stopped(server.lock):
        return _finish(server)


def _finish(server: BackedUp) -> bool:
    def load(data: bytes) -> None:
        with server.open_database() as engine:
            load_tables(engine, server.metadata, server.migrations, data)
        server.begin_anew()

    return finish(server.home, load)


@contextmanager
def disposing(engine: Engine) -> Iterator[Engine]:
    """An engine whose connections are given back at the end."""
    try:
        yield engine
    finally:
        engine.dispose()


def back_up_daily(server: BackedUp, *, at: datetime, keep: timedelta) -> list[str]:
    """Make the automatic backup and delete those that are too old; the names of the latter."""
    create_backup(server, automatic_name(server.kind, at))
    return remove_outdated(server.directory, keep=keep, at=at)
