"""How does one process keep a second one out?"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroad.errors import ConfigurationError


@contextmanager
def only_one(path: Path, refusal: ConfigurationError) -> Iterator[None]:
    """Hold the lock of a file, which is made; raise ``refusal`` if another process holds it.

    The lock ends with the process, however that ends.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
    finally:
        os.close(file)
