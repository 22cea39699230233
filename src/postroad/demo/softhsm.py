"""How does the demo get a hardware token: SoftHSM, with its token in a folder of the demo."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import write_atomic
from postroad.adapters.signer_protocol import SOFTWARE_ID
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEVICE: Final = "softhsm"
_LABEL: Final = "demo"
_TOKEN_FORMAT: Final = "{moduleType}-{label}"  # noqa: S105 - a format
TOKEN_ID: Final = f"{DEVICE}-{_LABEL}"
_LIBRARIES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
_PROGRAM: Final = "softhsm2-util"


def find_library() -> str | None:
    """Where SoftHSM's library is; None when it isn't installed."""
    if shutil.which(_PROGRAM) is None:
        return None
    return next((each for each in _LIBRARIES if Path(each).exists()), None)


class SoftHsm:
    """One device with one token, for one Security Server."""

    def __init__(self, directory: Path) -> None:
        library = find_library()
        if library is None:
            raise ConfigurationError("SoftHSM is not installed here: apt-get install softhsm2")
        self._library = library
        self._directory = directory
        self.pin_file = directory / "pins"

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process needs that opens the library."""
        return {"SOFTHSM2_CONF": str(self._directory / "softhsm2.conf")}

    @property
    def settings(self) -> str:
        """The section of ``server.toml``."""
        return (
            f'\n[devices.{DEVICE}]\nlibrary = "{self._library}"\n'
            f'token_id_format = "{_TOKEN_FORMAT}"\n'
        )

    def make(self, pin: str) -> None:
        """Make the token; its PIN and that of the software token are for automatic login."""
        tokens = self._directory / "tokens"
        tokens.mkdir(mode=0o700, parents=True)
        write_atomic(
            self._directory / "softhsm2.conf",
            f"directories.tokendir = {tokens}\nobjectstore.backend = file\n"
            "log.level = ERROR\n".encode(),
        )
        self._run("--init-token", "--free", "--label", _LABEL, "--pin", pin)
        write_atomic(self.pin_file, f"{SOFTWARE_ID}:{pin}\n{TOKEN_ID}:{pin}\n".encode())

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603 - the packaged program
            [_PROGRAM, "--module", self._library, *arguments, "--so-pin", secrets.token_hex(8)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ConfigurationError(f"{_PROGRAM} failed: {done.stderr.strip()}")
