"""How are files written so that readers and crashes never meet a half, and read bounded?"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_TREE_FILES: Final = 20_000
_MAX_TREE_DEPTH: Final = 4
_READ_ATTEMPTS: Final = 50
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that it's either the old or the new one, even after a power failure.

    Raises ``OSError`` when it can't be written; the old file is then untouched.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    sync_directory(path.parent)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that somebody named; ``ConfigurationError`` says why there are none."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise ConfigurationError(f"{path} is larger than {max_bytes} bytes")
    return data


def replace_directory(
    path: Path, files: Mapping[str, bytes], *, mode: int = 0o640, directory_mode: int = 0o750
) -> None:
    """Make ``path`` a directory with exactly these files (plain names), in one step.

    The new directory is written and synced beside the old one and takes its place in one atomic
    exchange; where the file system can't, the old one is moved away first. Names that begin with
    a dot are for unfinished work and are never seen by :func:`read_tree`.
    """
    for name in files:
        if not name or "/" in name or name.startswith("."):
            raise ConfigurationError(f"{name!r} can't be the name of a file in {path}")
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name[:200]}.", dir=path.parent))
    try:
        fresh.chmod(directory_mode)
        for name, data in files.items():
            _write_synced(fresh / name, data, mode)
        sync_directory(fresh)
        _take_place(fresh, path)
    finally:
        # After the exchange this is the old directory; after a failure, the unfinished one.
        shutil.rmtree(fresh, ignore_errors=True)
    sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a directory and all in it, out of sight at once; nothing if it isn't there."""
    hidden = Path(tempfile.mkdtemp(prefix=f".{path.name[:200]}.", dir=path.parent))
    try:
        with contextlib.suppress(FileNotFoundError):
            path.rename(hidden / "removed")
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    sync_directory(path.parent)


def read_tree(
    directory: Path, max_bytes: int, *, max_files: int = MAX_TREE_FILES
) -> dict[str, bytes]:
    """Read all regular files below ``directory``, by path relative to it with ``/``.

    Hidden names, links and devices are left out. Files that were put into a subdirectory together
    by :func:`replace_directory` are read together: when it is replaced meanwhile, all is read
    again. Raises ``ConfigurationError`` when there is more than the bounds allow, ``OSError`` when
    ``directory`` itself can't be read.
    """
    for _attempt in range(_READ_ATTEMPTS - 1):
        try:
            return _TreeReader(max_bytes, max_files).read(directory)
        except FileNotFoundError:
            if not directory.exists():
                raise
            # A writer took something away between listing and reading: what is there now?
    return _TreeReader(max_bytes, max_files).read(directory)


class _TreeReader:
    def __init__(self, max_bytes: int, max_files: int) -> None:
        self._bytes_left = max_bytes
        self._files_left = max_files
        self._files: dict[str, bytes] = {}

    def read(self, directory: Path) -> dict[str, bytes]:
        with _opened_directory(os.fspath(directory), None) as handle:
            self._read(handle, "", 0)
        return self._files

    def _read(self, handle: int, prefix: str, depth: int) -> None:
        for name in sorted(os.listdir(handle)):
            if name.startswith("."):
                continue
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) and depth < _MAX_TREE_DEPTH:
                with _opened_directory(name, handle) as below:
                    self._read(below, f"{prefix}{name}/", depth + 1)
                _check_unchanged(status, os.stat(name, dir_fd=handle, follow_symlinks=False), name)
            elif stat.S_ISREG(status.st_mode):
                self._files[prefix + name] = self._content(name, handle)

    def _content(self, name: str, handle: int) -> bytes:
        self._files_left -= 1
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(self._bytes_left + 1)
        self._bytes_left -= len(data)
        if self._files_left < 0 or self._bytes_left < 0:
            raise ConfigurationError(
                "a directory holds more than can be read", code=FaultCode.INTERNAL_ERROR
            )
        return data


def _check_unchanged(before: os.stat_result, after: os.stat_result, name: str) -> None:
    """Refuse a directory that was replaced or written to while it was read."""
    if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
        raise FileNotFoundError(errno.ENOENT, "the directory is being replaced", name)


def tree_signature(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Tell cheaply whether a tree has changed: name, inode, size and time of all it holds.

    Equal signatures mean an unchanged tree; no file is opened. Empty when it doesn't exist.
    """
    found: list[tuple[str, int, int, int]] = []
    pending = [(os.fspath(directory), 0)]
    while pending:
        path, depth = pending.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.path, status.st_ino, status.st_size, status.st_mtime_ns))
                    if stat.S_ISDIR(status.st_mode) and depth < _MAX_TREE_DEPTH:
                        pending.append((entry.path, depth + 1))
        except FileNotFoundError:
            continue
    return tuple(sorted(found))


@contextlib.contextmanager
def _opened_directory(name: str, parent: int | None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if parent is not None:
        flags |= os.O_NOFOLLOW
    handle = os.open(name, flags, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory as durable as the files behind them."""
    with _opened_directory(os.fspath(path), None) as handle:
        os.fsync(handle)


def _take_place(fresh: Path, path: Path) -> None:
    """Put ``fresh`` where ``path`` is; afterwards ``fresh`` is the old directory, if any."""
    if not path.exists():
        fresh.rename(path)
    elif not _exchange(fresh, path):
        aside = fresh.with_name(f"{fresh.name}.old")
        path.rename(aside)
        fresh.rename(path)
        aside.rename(fresh)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths atomically; False where the system has no such call."""
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2", None)
    if rename is None:
        return False
    result = rename(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    if result == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), os.fspath(other))
