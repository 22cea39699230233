"""How is an archive handed to the operator's own program, which takes it to a safe place?

The program is started with its arguments and the archive's path, without a shell and with an
environment of its own, so nothing in a name can become a command. Exit code 0 alone says that the
archive is safe; whatever else happens, it stays and is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHOWN_BYTES: Final = 500
_READ_BYTES: Final = 8192
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def transfer_archive(command: Sequence[str], path: Path, *, seconds: float) -> None:
    """Run the program for one archive.

    Raises ``ConfigurationError`` (``mlog.archive_transfer_failed``) unless it ends in time with
    exit code 0; all processes of its group are ended then.
    """
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "TZ") if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": _PATH, **environment},
            cwd=path.parent,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise _failed(path, f"{command[0]} can't be started: {error}") from error
    said = b""
    try:
        async with asyncio.timeout(seconds):
            output = process.stdout
            while output is not None and (data := await output.read(_READ_BYTES)):
                said = (said + data)[-_SHOWN_BYTES:]
            code = await process.wait()
    except TimeoutError:
        raise _failed(path, f"{command[0]} took longer than {seconds:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        text = said.decode("utf-8", "replace").strip()
        raise _failed(path, f"{command[0]} ended with {code}: {text}")


def _failed(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path.name} could not be transferred: {why}",
        code=FaultCode.MLOG_ARCHIVE_TRANSFER_FAILED,
    )
