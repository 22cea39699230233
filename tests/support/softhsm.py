"""A hardware token for tests: SoftHSM 2, with its tokens in a directory of the test's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "canary-hsm-pin-17"
SO_PIN = "canary-so-pin-99"


class SoftHsm:
    """A device whose tokens can be taken away and put back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokens = directory / "tokens"
        self.tokens.mkdir(parents=True)
        self.configuration = directory / "softhsm2.conf"
        self.configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SOFTHSM2_CONF": str(self.configuration)}

    def add_token(self, label: str, pin: str = PIN) -> None:
        self._run("--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", SO_PIN)

    def take_away(self) -> None:
        """Take the tokens out; the device itself stays."""
        away = self.directory / "away"
        away.mkdir()
        for token in list(self.tokens.iterdir()):
            token.rename(away / token.name)

    def put_back(self) -> None:
        away = self.directory / "away"
        for token in list(away.iterdir()):
            token.rename(self.tokens / token.name)
        away.rmdir()

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            ["softhsm2-util", "--module", LIBRARY, *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            timeout=30,
        )
