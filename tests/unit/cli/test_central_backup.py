"""`postroad central backup`: each command that changes something leaves a line, or isn't done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from postroad.cli.central import command
from postroad.errors import ConfigurationError
from support.central_server import MovingClock, filled_node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    filled_node(tmp_path, MovingClock()).close()
    return tmp_path


def run(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        command, ["backup", *arguments, "--home", str(home)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "log" / "audit.log").read_text().splitlines()]


def test_what_changes_something_is_told_and_what_looks_is_not(home: Path) -> None:
    name = run(home, "create").rpartition("/")[2]
    run(home, "list")
    run(home, "verify", name)
    run(home, "key")
    run(home, "restore", name)
    run(home, "delete", name)
    told = lines(home)
    assert [(line["event"], line["data"]) for line in told] == [
        ("Back up configuration", {}),
        ("Restore configuration", {"backupFileName": name}),
        ("Delete backup file", {"backupFileName": name}),
    ]
    assert {line["auth"] for line in told} == {"Cli"}


def test_what_failed_is_told_with_its_reason(home: Path) -> None:
    run(home, "create")
    with pytest.raises(ConfigurationError):
        run(home, "restore", "absent.gpg")
    line = lines(home)[-1]
    assert line["event"] == "Restore configuration failed"
    assert "absent.gpg" in line["reason"]


def test_nothing_is_done_that_can_not_be_audited(home: Path) -> None:
    (home / "log").mkdir(exist_ok=True)
    (home / "log" / "audit.log").mkdir()
    with pytest.raises(ConfigurationError, match="audit log"):
        run(home, "create")
    assert not (home / "backup").exists()
