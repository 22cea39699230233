"""How is a backup signed and encrypted, opened, kept and cleaned up?

OpenPGP, as in the reference: signed by a key of the server's own and encrypted for it, and for
further recipients. That key is in no backup: who loses the server needs a copy of it, or one of the
recipients' keys.
"""

from __future__ import annotations

import re
import resource
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.adapters.backups.contents import MAX_BYTES
from postroad.adapters.backups.restoring import KEY_FILE
from postroad.adapters.files import sync_directory, write_atomic
from postroad.adapters.openpgp import OpenPgpCertificate, OpenPgpSecret, load_certificates
from postroad.errors import ConfigurationError, FaultCode, PostroadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,120}\.gpg")
_AUTOMATIC: Final = re.compile(r"(?:cs|ss)-automatic-backup-(\d{4}_\d\d_\d\d_\d{6})\.gpg", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup file that is kept on the server."""

    name: str
    size: int
    modified_at: datetime


def ensure_key(home: Path, label: str) -> OpenPgpSecret:
    """The server's own key for backups; made if there is none."""
    path = home / KEY_FILE
    if not path.exists():
        # As a link, which is never put over a key that somebody else has made meanwhile: what that
        # one has sealed would never open again.
        with tempfile.TemporaryDirectory(prefix=".backup-key-", dir=home) as directory:
            made = Path(directory) / KEY_FILE
            OpenPgpSecret.generate(label).store(made)
            with suppress(FileExistsError):
                path.hardlink_to(made)
        sync_directory(home)
    return OpenPgpSecret.load(path)


def seal(data: bytes, key: OpenPgpSecret, recipients: Sequence[OpenPgpCertificate] = ()) -> bytes:
    """Sign a backup, and encrypt it for the server and the recipients."""
    with _told():
        return key.seal(data, [key.certificate, *recipients])


def open_sealed(path: Path, key: OpenPgpSecret, signers: Sequence[OpenPgpCertificate]) -> bytes:
    """Decrypt a backup file and verify that one of ``signers`` made it.

    However small it is, nothing larger than a backup may be comes out of it. Raises
    ``ConfigurationError``.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{path} is larger than {MAX_BYTES} bytes")
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    with tempfile.TemporaryDirectory(prefix="postroad-backup-") as directory:
        opened = Path(directory) / "opened"
        with _bounded_files(MAX_BYTES), _told():
            key.open_file(path, opened, signers)
        return opened.read_bytes()


def load_recipients(path: Path | None) -> list[OpenPgpCertificate]:
    """The public keys in a file, each checked to be usable."""
    found = [] if path is None else load_certificates(path)
    for certificate in found:
        certificate.check_usable()
    return found


def check_name(name: str) -> str:
    """Refuse a name that a backup can't have; the reference's rule."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} can't be the name of a backup", code=FaultCode.NOT_FOUND
        )
    return name


def manual_name(at: datetime) -> str:
    """The reference's name of a backup that somebody asked for."""
    return f"conf_backup_{at:%Y%m%d-%H%M%S}.gpg"


def automatic_name(kind: str, at: datetime) -> str:
    """The reference's name of an automatic backup; ``kind`` is ``cs`` or ``ss``."""
    return f"{kind}-automatic-backup-{at:%Y_%m_%d_%H%M%S}.gpg"


def store_backup(directory: Path, name: str, sealed: bytes, *, replace: bool = False) -> Path:
    """Keep a backup; refused when there is one of that name, unless it's to be replaced."""
    path = directory / check_name(name)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not replace and path.exists():
        raise ConfigurationError(f"there is a backup {name} already")
    write_atomic(path, sealed)
    return path


def list_backups(directory: Path) -> list[StoredBackup]:
    """The backups that are kept, oldest first; links and anything else are left out."""
    if not directory.is_dir():
        return []
    found = []
    for path in directory.iterdir():
        if _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            status = path.stat()
            modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
            found.append(StoredBackup(path.name, status.st_size, modified_at))
    return sorted(found, key=lambda backup: (backup.modified_at, backup.name))


def find_backup(directory: Path, name: str) -> Path:
    """A backup that is kept, by its name."""
    if not any(backup.name == check_name(name) for backup in list_backups(directory)):
        raise ConfigurationError(f"there is no backup {name!r}", code=FaultCode.NOT_FOUND)
    return directory / name


def remove_outdated(directory: Path, *, keep: timedelta, at: datetime) -> list[str]:
    """Delete automatic backups that are older; those that somebody asked for stay.

    By the moment in their names, and every one that is older: the reference, which deletes those of
    one exact age, keeps the ones it missed for ever.
    """
    removed = []
    for backup in list_backups(directory):
        found = _AUTOMATIC.fullmatch(backup.name)
        if found is None:
            continue
        try:
            made_at = datetime.strptime(found[1], "%Y_%m_%d_%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            continue
        if made_at < at - keep:
            (directory / backup.name).unlink(missing_ok=True)
            removed.append(backup.name)
    return removed


@contextmanager
def _bounded_files(size: int) -> Iterator[None]:
    """Let this process write no file beyond a size: more is an error of the writer's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ends = [size, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(ends), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _told() -> Iterator[None]:
    """The library's troubles are those of archives; these are of backups."""
    try:
        yield
    except PostroadError as error:
        raise ConfigurationError(f"the backup: {error.message}") from error
