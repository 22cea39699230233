"""What operators type: in processes of their own, or in this one where only the effect counts."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING
from unittest.mock import patch

from postroad.cli.main import main

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


def typed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same command line in this process, a second sooner."""
    words = ["postroad", *map(str, arguments)]
    told, refused = io.StringIO(), io.StringIO()
    code: object = 0
    with redirect_stdout(told), redirect_stderr(refused), patch.object(sys, "argv", words):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, told.getvalue(), refused.getvalue())


def operate(layout: Layout, party: Party, *arguments: object) -> str:
    """A command of a party's Security Server that succeeds; what it printed."""
    result = typed("server", *arguments, "--home", layout.server_home(party))
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
