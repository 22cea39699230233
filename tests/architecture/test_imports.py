"""The import contracts hold, and each would catch a planted violation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT), "--no-cache", "--config", str(tree / "pyproject.toml")],
        cwd=tree / "src",
        env={"PYTHONPATH": str(tree / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copytree(
        ROOT / "src" / "postroad",
        copy / "src" / "postroad",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return copy


def test_the_contracts_are_kept(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("crypto/algorithms.py", "import postroad.messages.rest"),
        ("messages/rest.py", "import postroad.globalconf.view"),
        ("evidence/xades.py", "import postroad.adapters.files"),
        ("evidence/xades.py", "import socket"),
        ("globalconf/view.py", "import asyncio"),
        ("adapters/files.py", "import postroad.securityserver.settings"),
        ("signer/tokens.py", "import postroad.securityserver.settings"),
        ("utils.py", "NOTHING = 1"),
    ],
)
def test_a_planted_violation_is_caught(tree: Path, module: str, line: str) -> None:
    path = tree / "src" / "postroad" / module
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        assert lint(tree).returncode != 0
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
