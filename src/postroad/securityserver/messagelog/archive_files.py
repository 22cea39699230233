"""How does an archive come to lie in its directory, so that a crash leaves all of it or nothing?

It is written under a hidden name, made durable and given its own name with ``.part`` before the
database learns of it; only then it appears under its own name. So after a crash the database says
which hidden files become archives, and all others are rests. Encrypted archives are built in
memory: what was never written readable can't be found on the disk.
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import sync_directory
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.log_archive import ArchiveBuilder, archive_file_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from typing import BinaryIO

    from postroad.evidence.linking_info import ArchiveEnd

_PREFIX: Final = ".mlog-"
_UNFINISHED: Final = ".mlog-unfinished"
FREE_RESERVE: Final = 256 * 1024 * 1024
"""Bytes that archiving leaves free: the message log may need them, on the same disk."""


class ArchiveDirectory:
    """The directory of a server's archives.

    Every method raises ``ConfigurationError`` (``mlog.archiving_failed``) when the disk doesn't do
    what it should.
    """

    def __init__(self, path: Path, *, reserve: int = FREE_RESERVE) -> None:
        self._path = path
        self._reserve = reserve

    def prepare(self) -> None:
        """Make the directory if there is none."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._failed("made", error) from error

    def require_room(self, size: int) -> None:
        """Refuse to begin an archive that would leave too little room for the message log."""
        try:
            status = os.statvfs(self._path)
        except OSError as error:
            raise self._failed("used", error) from error
        free = status.f_bavail * status.f_frsize
        if free < size + self._reserve:
            raise ConfigurationError(
                f"{self._path} has {free} bytes free; archiving begins another archive only if "
                f"{self._reserve} stay free for the message log",
                code=FaultCode.MLOG_ARCHIVING_FAILED,
            )

    def path(self, file_name: str) -> Path:
        """Return where an archive lies."""
        return self._path / file_name

    def open_unfinished(self) -> BinaryIO:
        """Begin a file that isn't an archive yet; an older one is lost."""
        path = self._path / _UNFINISHED
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            path.unlink(missing_ok=True)  # the old one may have another owner or mode
            return os.fdopen(os.open(path, flags, 0o600), "w+b")
        except OSError as error:
            raise self._failed("written", error) from error

    def keep(self, file: BinaryIO, file_name: str) -> None:
        """Make a complete file durable under the hidden form of its own name; closes it."""
        try:
            with file:
                file.flush()
                os.fsync(file.fileno())
            (self._path / _UNFINISHED).replace(self._hidden(file_name))
            sync_directory(self._path)
        except OSError as error:
            raise self._failed("written", error) from error

    def publish(self, file_name: str) -> None:
        """Show an archive that the database knows of; once more is the same as once."""
        hidden, shown = self._hidden(file_name), self._path / file_name
        try:
            if hidden.exists():
                hidden.replace(shown)
                sync_directory(self._path)
            elif not shown.exists():
                raise ConfigurationError(
                    f"the archive {shown} is missing, and its records count as archived: put it "
                    "back, then archiving and cleaning go on",
                    code=FaultCode.MLOG_ARCHIVING_FAILED,
                )
        except OSError as error:
            raise self._failed("written", error) from error

    def remove_rests(self, *, older_than: float) -> None:
        """Remove hidden files last written before ``older_than`` (seconds since 1970).

        Those that the database knows of must have been published before; younger ones may become
        known to it yet, if whoever made them was killed while the log writer was asked.
        """
        try:
            for path in self._path.iterdir():
                if path.name.startswith(_PREFIX) and path.stat().st_mtime < older_than:
                    path.unlink()
        except OSError as error:
            raise self._failed("cleaned", error) from error

    def discard(self, file: BinaryIO) -> None:
        """Give up an unfinished file."""
        try:
            file.close()
            (self._path / _UNFINISHED).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("cleaned", error) from error

    def names(self) -> list[str]:
        """Return the names of what lies here, without hidden files."""
        try:
            found = [path.name for path in self._path.iterdir()]
        except OSError as error:
            raise self._failed("read", error) from error
        return sorted(name for name in found if not name.startswith("."))

    def remove(self, file_name: str) -> None:
        """Remove an archive that is safe elsewhere."""
        try:
            (self._path / file_name).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("cleaned", error) from error

    def _hidden(self, file_name: str) -> Path:
        # A name of its full length leaves no room for anything else.
        digest = hashlib.sha256(file_name.encode("utf-8", "surrogatepass")).hexdigest()
        return self._path / f"{_PREFIX}{digest[:32]}.part"

    def _failed(self, what: str, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path} can't be {what}: {error.strerror or error}",
            code=FaultCode.MLOG_ARCHIVING_FAILED,
        )


class ArchiveDraft:
    """One archive while it is made; a context that leaves nothing behind unless it is kept."""

    def __init__(
        self,
        directory: ArchiveDirectory,
        previous: ArchiveEnd,
        group: str,
        seal: Callable[[bytes, str], bytes] | None,
    ) -> None:
        self.previous = previous
        self._directory = directory
        self._group = group
        self._seal = seal
        self._file: BinaryIO = io.BytesIO() if seal else directory.open_unfinished()
        self._builder = ArchiveBuilder(self._file, previous)
        self._times: list[datetime] = []
        self.record_ids: list[int] = []

    @property
    def size(self) -> int:
        """Bytes of the containers so far."""
        return self._builder.size

    @property
    def digest(self) -> str:
        """The end of the chain with this archive."""
        return self._builder.last_digest

    def add(self, record_id: int, name: str, data: bytes, created_at: datetime) -> None:
        """Add a record's container."""
        try:
            self._builder.add(name, data, created_at)
        except OSError as error:
            raise self._failed(error) from error
        self._times = [min([created_at, *self._times]), max([created_at, *self._times])]
        self.record_ids.append(record_id)

    def finish(self) -> str:
        """Complete the archive and make it durable under a hidden name; return its own name."""
        first, last = self._times
        name = archive_file_name(
            self._group, first, last, self.digest, encrypted=self._seal is not None
        )
        try:
            self._builder.finish(last)
            if self._seal is not None and isinstance(self._file, io.BytesIO):
                sealed = self._seal(self._file.getvalue(), self._group)
                self._file = self._directory.open_unfinished()
                self._file.write(sealed)
        except OSError as error:
            raise self._failed(error) from error
        self._directory.keep(self._file, name)
        return name

    def discard(self) -> None:
        """Give the archive up."""
        self._builder.abandon()
        self._directory.discard(self._file)

    def _failed(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"an archive can't be written: {error.strerror or error}",
            code=FaultCode.MLOG_ARCHIVING_FAILED,
        )
