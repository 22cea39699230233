"""How is an archive handed to the operator's own program, which takes it to a safe place?

The program is started with its arguments and the archive's path, without a shell and with an
environment of its own, so nothing in a name can become a command. Exit code 0 alone says that the
archive is safe; whatever else happens, it stays and is tried again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.adapters.programs import run_program
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHOWN_BYTES: Final = 500


async def transfer_archive(command: Sequence[str], path: Path, *, seconds: float) -> None:
    """Run the program for one archive.

    Raises ``ConfigurationError`` (``mlog.archive_transfer_failed``) unless it ends in time with
    exit code 0; all processes of its group are ended then.
    """
    try:
        code, said = await run_program(
            (*command, str(path)), seconds=seconds, kept_bytes=_SHOWN_BYTES, directory=path.parent
        )
    except TimeoutError:
        raise _failed(path, f"{command[0]} took longer than {seconds:g} s") from None
    except (OSError, ValueError) as error:
        raise _failed(path, f"{command[0]} can't be started: {error}") from error
    if code != 0:
        raise _failed(path, f"{command[0]} ended with {code}: {said}")


def _failed(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path.name} could not be transferred: {why}",
        code=FaultCode.MLOG_ARCHIVE_TRANSFER_FAILED,
    )
