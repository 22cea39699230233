"""Where does the message log keep large bodies, when its database is a file beside them?

A body of megabytes that goes through the database is written three times: to the spool, to the
write-ahead log and to its table. So its spool file is moved instead, and the database names it. The
same holds for it as for every other part of a record: it is on the disk before the record is
acknowledged, and what a crash leaves behind is marked in ``unfinished_record`` and removed by the
next start. A record's files are known by its number and theirs, so nothing that is read from the
database becomes part of a path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import logging_failed
from postroad.securityserver.messagelog.spooling import SpoolFile

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.securityserver.messagelog.records import SpooledBody

FILE_BYTES: Final = 2 * 1024 * 1024
"""Size from which a body stays a file: synchronising a file of its own costs smaller ones more."""
RECORDS_A_FOLDER: Final = 1000
_NAME: Final = re.compile(r"(\d+)-\d+")


class BodyFiles:
    """The folder of one log; all methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders = threading.Lock()
        """Held so that no folder goes between its making and the first file in it."""

    def keep(self, spool: Path, body: SpooledBody, record_id: int, number: int) -> bool:
        """Move a spool file here as attachment ``number`` of a record; it is durable then.

        False, and nothing is changed, if the spool lies on another file system, or if a body has
        that name already: one of a later database than the one that was restored. Raises
        ``ConfigurationError`` (``logging_failed``) for a file that isn't the body or can't be kept.
        """
        file = SpoolFile(spool, body)
        try:
            path = self._path(record_id, number)
            if path.exists():
                return False
            try:
                with self._folders:
                    self._make_folder(path.parent)
                    file.move_to(path)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return False
                raise
            while file.read_piece():
                pass
            file.synchronize()
            _synchronize(path.parent)
        except OSError as error:
            raise logging_failed(f"the body can't be kept: {error.strerror}") from error
        finally:
            file.close()
        return True

    def read(self, record_id: int, number: int) -> bytes:
        """Return a body; raises ``ConfigurationError`` (``database_error``) if it isn't there."""
        try:
            return self._path(record_id, number).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"attachment {number} of log record {record_id} can't be read: {error.strerror}",
                code=FaultCode.DATABASE_ERROR,
            ) from error

    def remove(self, record_id: int) -> None:
        """Remove the files of a record, if there are any; raises ``OSError``."""
        folder = self._path(record_id, 0).parent
        try:
            files = list(folder.iterdir())
        except FileNotFoundError:
            return
        for file in files:
            match = _NAME.fullmatch(file.name)
            if match is not None and int(match[1]) == record_id:
                file.unlink(missing_ok=True)
        with self._folders, contextlib.suppress(OSError):  # other records have files there
            folder.rmdir()

    def _path(self, record_id: int, number: int) -> Path:
        return self._folder / str(record_id // RECORDS_A_FOLDER) / f"{record_id}-{number}"

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        _synchronize(self._folder)
        _synchronize(self._folder.parent)


def _synchronize(folder: Path) -> None:
    """Let the disk have the names in a folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
