"""Where do PINs come from when nobody is there to type them?

From a file, or from what a command prints; the form is that of the reference's autologin: one line
is the PIN of the software token, several are ``TOKEN-ID:PIN`` each. Whoever could read the file
could use the keys, so one that others may read is refused. Nothing here is ever logged.
"""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import SOFTWARE_ID
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MAX_BYTES: Final = 64 * 1024
COMMAND_TIMEOUT: Final = 30.0
NOTHING_TO_DO: Final = 127
"""Exit code by which a command says that it has no PIN, as in the reference."""


@dataclass(frozen=True, slots=True)
class AutomaticLogin:
    """A source of PINs; asked at each start of a signer's process."""

    read: Callable[[], str]

    def pins(self) -> dict[str, str]:
        """The PINs by token id. Raises ``ConfigurationError`` that holds nothing of them."""
        return parse_pins(self.read())

    def __repr__(self) -> str:
        return "AutomaticLogin([redacted])"


def parse_pins(text: str) -> dict[str, str]:
    """Read the PINs of several tokens, or of the software token alone."""
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip("\r ")]
    if not lines:
        return {}
    if len(lines) == 1:
        return {SOFTWARE_ID: lines[0]}
    pins: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        token_id, colon, pin = line.rpartition(":")
        if not colon or not token_id or not pin or token_id in pins:
            raise ConfigurationError(
                f"line {number} of the PINs is not TOKEN-ID:PIN of a token of its own",
                code=FaultCode.LOGIN_FAILED,
            )
        pins[token_id] = pin
    return pins


def read_private_file(path: Path) -> str:
    """Read a file that only its owner may read; the owner is this user or root."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            _must_be_private(path, status)
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the PIN file {path} can't be read: {error.strerror}", code=FaultCode.LOGIN_FAILED
        ) from error
    return _text(data, f"the PIN file {path}")


def _must_be_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the PIN file {path} is no file", code=FaultCode.LOGIN_FAILED)
    # A service manager's credential belongs to root; its access list shows as the group's right.
    others = 0o037 if status.st_uid == status.st_gid == 0 else 0o077
    if status.st_mode & others or status.st_uid not in {os.getuid(), 0}:
        raise ConfigurationError(
            f"the PIN file {path} must be readable by its owner only: chmod 600 {path}",
            code=FaultCode.LOGIN_FAILED,
        )


def run_command(command: Sequence[str]) -> str:
    """What a command prints; nothing when it exits with 127."""
    try:
        done = subprocess.run(  # noqa: S603 - the administrator's own command, without a shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"the PIN command {command[0]} didn't run ({type(error).__name__})",
            code=FaultCode.LOGIN_FAILED,
        ) from None  # the exception holds what it printed
    if done.returncode == NOTHING_TO_DO:
        return ""
    if done.returncode != 0:
        raise ConfigurationError(
            f"the PIN command {command[0]} ended with exit code {done.returncode}",
            code=FaultCode.LOGIN_FAILED,
        )
    return _text(done.stdout, f"what {command[0]} prints")


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if len(data) > MAX_BYTES or (data and not text):
        raise ConfigurationError(
            f"{what} is no text of at most {MAX_BYTES} bytes", code=FaultCode.LOGIN_FAILED
        )
    return text
