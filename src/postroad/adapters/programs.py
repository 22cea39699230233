"""How is an operator's own program run, so that it can't outlast its time or fill the memory?

Without a shell, with an environment of its own, as a group of processes that ends as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_READ_BYTES: Final = 8192
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def run_program(
    command: Sequence[str], *, seconds: float, kept_bytes: int, directory: Path | None = None
) -> tuple[int, str]:
    """The exit code of a program, and the last ``kept_bytes`` of what it said on both outputs.

    Raises ``OSError`` or ``ValueError`` when it can't be started, and ``TimeoutError`` when it
    doesn't end in time; all processes of its group are ended then.
    """
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "TZ") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": _PATH, **environment},
        cwd=directory,
        start_new_session=True,
    )
    said = b""
    try:
        async with asyncio.timeout(seconds):
            output = process.stdout
            while output is not None and (data := await output.read(_READ_BYTES)):
                said = (said + data)[-kept_bytes:]
            code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return code, said.decode("utf-8", "replace").strip()
