from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from postroad.cli.server import command
from postroad.cli.server_audit import AUDITED, UNAUDITED
from postroad.errors import ConfigurationError

ANCHOR = Path(__file__).parents[2] / "data/reference/anchors/configuration-anchor1.xml"
DECLARATION = '[[client]]\nid = "EE/GOV/1/registry"\n'


def server(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--home", str(home)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "server"
    init = ("init", "--owner", "EE/GOV/1", "--code", "SS1", "--anchor", str(ANCHOR))
    assert server(home, *init).exit_code == 0
    return home


def lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "log/audit.log").read_text().splitlines()]


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    for name, each in group.commands.items():
        if not isinstance(each, click.Group) or each.invoke_without_command:
            yield prefix + name
        if isinstance(each, click.Group):
            yield from commands(each, f"{prefix}{name} ")


def test_every_command_is_audited_or_known_to_change_nothing() -> None:
    assert sorted(commands(command)) == sorted([*AUDITED, *UNAUDITED])


def test_parameters_named_in_the_table_exist() -> None:
    for path, entry in AUDITED.items():
        found: click.Command = command
        for name in path.split():
            assert isinstance(found, click.Group)
            found = found.commands[name]
        assert entry.data.keys() <= {str(each.name) for each in found.params}, path


def test_no_secret_parameter_is_ever_told() -> None:
    for entry in AUDITED.values():
        assert not [name for name in entry.data if "pin" in name or "password" in name]


def test_a_line_says_who_did_what_and_is_for_the_owner_alone(home: Path) -> None:
    (line,) = lines(home)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "event": "Initialize server configuration",
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "auth": "Cli",
        "data": {"ownerIdentifier": "EE/GOV/1", "serverCode": "SS1"},
    }
    assert (home / "log/audit.log").stat().st_mode & 0o777 == 0o600


def test_the_environment_does_not_say_who_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    server(home, "log-key", "add", "k1")
    assert lines(home)[-1]["user"] == pwd.getpwuid(os.getuid()).pw_name


def test_what_a_command_finds_out_is_told_too(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    file.write_text(DECLARATION)
    assert server(home, "apply", str(file)).exit_code == 0
    data = lines(home)[-1]["data"]
    assert lines(home)[-1]["event"] == "Apply declaration"
    assert any("EE/GOV/1/registry" in change for change in data["changes"])


def test_a_refused_command_leaves_its_reason(home: Path) -> None:
    error = server(home, "client", "delete", "EE/GOV/9/none", "--yes").exception
    assert isinstance(error, ConfigurationError)
    line = lines(home)[-1]
    assert line["event"] == "Delete client failed"
    assert line["reason"] == error.message
    assert line["data"]["clientIdentifier"] == {
        "xRoadInstance": "EE",
        "memberClass": "GOV",
        "memberCode": "9",
        "subsystemCode": "none",
    }


def test_a_command_that_never_reached_the_signer_is_told_as_failed(home: Path) -> None:
    server(home, "key", "generate", "--label", "forged\n{}")
    line = lines(home)[-1]
    assert line["event"] == "Generate key failed"
    assert line["data"]["keyLabel"] == "forged\n{}"


def test_looking_leaves_no_line(home: Path) -> None:
    server(home, "client", "list")
    server(home, "csr", "list")
    assert len(lines(home)) == 1


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    server(tmp_path / "none", "log-key", "add", "k1")
    assert not (tmp_path / "none").exists()


def test_nothing_is_changed_that_can_not_be_audited(home: Path) -> None:
    (home / "log/audit.log").unlink()
    (home / "log/audit.log").mkdir()
    error = server(home, "log-key", "add", "k1").exception
    assert isinstance(error, ConfigurationError)
    assert "audit log" in error.message
    assert not (home / "messagelog-keys.toml").exists()
