"""How are files read whose content opens keys: PINs and the like?

Whoever could read such a file could use the keys, so one that others may touch is refused. No error
repeats anything of the content.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pathlib import Path

MAX_SECRET_BYTES: Final = 64 * 1024


def read_private_file(path: Path, what: str = "PIN file") -> str:
    """Read a file that only its owner may read; the owner is this user or root."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            _must_be_private(path, status, what)
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the {what} {path} can't be read: {error.strerror}", code=FaultCode.LOGIN_FAILED
        ) from error
    return small_text(data, f"the {what} {path}")


def _must_be_private(path: Path, status: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the {what} {path} is no file", code=FaultCode.LOGIN_FAILED)
    # A service manager's credential belongs to root; its access list shows as the group's right.
    others = 0o037 if status.st_uid == status.st_gid == 0 else 0o077
    if status.st_mode & others or status.st_uid not in {os.getuid(), 0}:
        raise ConfigurationError(
            f"the {what} {path} must be readable by its owner only: chmod 600 {path}",
            code=FaultCode.LOGIN_FAILED,
        )


def small_text(data: bytes, what: str) -> str:
    """A few lines of UTF-8; ``ConfigurationError`` that repeats nothing of anything else."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if len(data) > MAX_SECRET_BYTES or (data and not text):
        raise ConfigurationError(
            f"{what} is no text of at most {MAX_SECRET_BYTES} bytes", code=FaultCode.LOGIN_FAILED
        )
    return text
