"""How is a document worked on so that it can't take more than its share of time and memory?

By a program of its own, one of our modules: what hangs or grows there ends with it, and messages
don't wait for it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_BYTES: Final = 2 * 1024 * 1024 * 1024
_PASSED_ON: Final = ("PATH", "PYTHONPATH")


def run_limited(
    module: str, document: bytes, *, seconds: float, arguments: Sequence[str] = ()
) -> bytes:
    """What a module of ours writes when it is run with a document as its standard input; blocking.

    Raises ``subprocess.SubprocessError`` when it fails or takes too long, ``OSError`` when it can't
    be started.
    """
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", module, *arguments],
        input=document,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        timeout=seconds,
        check=True,
    ).stdout


def limit_this_process(seconds: int) -> None:
    """What such a program does first: processor time and memory end here."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with contextlib.suppress(ValueError):  # where less is allowed already
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
