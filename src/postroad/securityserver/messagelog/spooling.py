"""How does a body that waits in a spool file come into the log, and what if nobody comes for it?

The proxies hand over a file by its plain name. Its size and SHA-512 are checked while it is read:
evidence that differs from the signed digest must not be stored as if it were what was signed.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from postroad.securityserver.messagelog.records import BODY_DIGEST, logging_failed
from postroad.securityserver.messagelog.store import PIECE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.securityserver.messagelog.records import SpooledBody


_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class SpoolFile:
    """An open spool file, read piece by piece; raises ``ConfigurationError`` (``logging_failed``).

    All methods block; call them in a thread.
    """

    def __init__(self, directory: Path, body: SpooledBody) -> None:
        self._body = body
        self._running = BODY_DIGEST.new()
        self._left = body.size
        self._path = spool_path(directory, body.file_name)
        try:
            self._file = os.open(self._path, _FLAGS)
        except OSError as error:
            raise logging_failed(f"the spooled body can't be opened: {error.strerror}") from error
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode) or status.st_size != body.size:
            self.close()
            raise logging_failed(
                f"the spooled body has {status.st_size} bytes instead of {body.size}"
            )

    def read_piece(self) -> bytes:
        """Return the next piece; empty at the end, once the digest has proven right."""
        if not self._left:
            if self._running.digest() != self._body.digest:
                raise logging_failed("the spooled body isn't the one that was signed")
            return b""
        try:
            piece = os.read(self._file, min(PIECE_BYTES, self._left))
        except OSError as error:
            raise logging_failed(f"the spooled body can't be read: {error.strerror}") from error
        if not piece:
            raise logging_failed("the spooled body became shorter while it was read")
        self._running.update(piece)
        self._left -= len(piece)
        return piece

    def move_to(self, path: Path) -> None:
        """Give the file another place; raises ``OSError``, with ``EXDEV`` for another file system.

        It must be the file that is open: what is read from there is what will lie here.
        """
        self._path.rename(path)
        found, opened = path.lstat(), os.fstat(self._file)
        if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
            raise logging_failed("the spooled body was replaced while it was read")

    def synchronize(self) -> None:
        """Return when the disk has the file; raises ``OSError``."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file, which stays where it is."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def spool_path(directory: Path, file_name: str) -> Path:
    """Return the path of a spool file, whose name must be a plain one."""
    if file_name in ("", ".", "..") or "/" in file_name or "\0" in file_name:
        raise logging_failed("a spool file is named by a plain file name")
    return directory / file_name


def remove_spool_file(directory: Path, body: SpooledBody) -> None:
    """Remove a spool file that the log has taken over, or that nobody needs any more."""
    spool_path(directory, body.file_name).unlink(missing_ok=True)


def remove_orphans(directory: Path, *, older_than: float) -> int:
    """Remove spool files last written before ``older_than`` (seconds since 1970); count them.

    Younger ones may belong to exchanges that are still going on.
    """
    removed = 0
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return 0
    for entry in entries:
        try:
            is_old = entry.stat(follow_symlinks=False).st_mtime < older_than
            if is_old and not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 - scandir gives strings
                removed += 1
        except FileNotFoundError:
            continue
    return removed
