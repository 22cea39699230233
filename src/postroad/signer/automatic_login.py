"""Where do PINs come from when nobody is there to type them?

From a file, or from what a command prints; the form is that of the reference's autologin: one line
is the PIN of the software token, several are ``TOKEN-ID:PIN`` each. Whoever could read the file
could use the keys, so one that others may read is refused. Nothing here is ever logged.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.private_files import small_text
from postroad.adapters.signer_protocol import SOFTWARE_ID
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        token_id, colon, pin = line.partition(":")
        if not colon or not token_id or not pin or token_id in pins:
            raise ConfigurationError(
                f"line {number} of the PINs is not TOKEN-ID:PIN of a token of its own",
                code=FaultCode.LOGIN_FAILED,
            )
        pins[token_id] = pin
    return pins


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
    return small_text(done.stdout, f"what {command[0]} prints")
