"""What operators type, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroad.demo.layout import Layout, Party


def postroad(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "postroad", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def operate(layout: Layout, party: Party, *arguments: object) -> str:
    """A command of a party's Security Server that succeeds; what it printed."""
    result = postroad("server", *arguments, "--home", layout.server_home(party))
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
