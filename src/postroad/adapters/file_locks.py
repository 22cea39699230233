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
def in_turn(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made; wait while another process holds it.

    For work that always ends soon: there is no limit to the waiting.
    """
    with _opened(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def only_one(path: Path, refusal: ConfigurationError) -> Iterator[None]:
    """Hold the lock of a file, which is made; raise ``refusal`` if another process holds it.

    The lock ends with the process, however that ends.
    """
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)
