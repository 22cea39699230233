"""``postroad central admin``: the first administrator, and no default password."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from postroad.cli.central import command
from postroad.errors import ConfigurationError, PostroadError

PASSWORD = "canary-password-0815"


def run(home: Path, *arguments: str, given: str | None = None) -> Result:
    result = CliRunner().invoke(command, ["admin", *arguments, "--home", str(home)], input=given)
    assert PASSWORD not in result.output
    return result


def names(home: Path) -> list[str]:
    listed = run(home, "list", "--json")
    return [row["username"] for row in json.loads(listed.output)]


def test_a_password_comes_from_the_input_or_a_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = run(home, "create", "alice", "--password-file", "-", given=PASSWORD + "\n")
    assert first.exit_code == 0
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    role = "XROAD_REGISTRATION_OFFICER"
    second = run(home, "create", "bob", "--role", role, "--password-file", str(file))
    assert second.exit_code == 0
    listed = json.loads(run(home, "list", "--json").output)
    assert {row["username"]: len(row["roles"].split()) for row in listed} == {
        "alice": 3,
        "bob": 1,
    }


def test_there_is_no_default_password(tmp_path: Path) -> None:
    result = run(tmp_path, "create", "alice", given="")
    assert isinstance(result.exception, ConfigurationError)
    assert "--password-file" in result.exception.message
    assert names(tmp_path) == []


@pytest.mark.parametrize("given", ["\n", "short\n", "aaaaaaaaaaaaaa\n"])
def test_a_weak_password_makes_nobody(tmp_path: Path, given: str) -> None:
    result = run(tmp_path, "create", "alice", "--password-file", "-", given=given)
    assert isinstance(result.exception, PostroadError)
    assert names(tmp_path) == []


def test_a_weak_password_must_be_allowed_by_name_and_even_then_there_is_one(tmp_path: Path) -> None:
    allowing = ("create", "alice", "--allow-weak-password", "--password-file", "-")
    assert isinstance(run(tmp_path, *allowing, given="\n").exception, PostroadError)
    assert run(tmp_path, *allowing, given="short\n").exit_code == 0
    assert names(tmp_path) == ["alice"]


def test_a_password_changes_and_an_administrator_goes(tmp_path: Path) -> None:
    run(tmp_path, "create", "alice", "--password-file", "-", given=PASSWORD)
    changed = run(tmp_path, "password", "alice", "--password-file", "-", given=PASSWORD + "2")
    assert changed.exit_code == 0
    assert run(tmp_path, "delete", "alice").exit_code == 0
    assert names(tmp_path) == []


def test_no_person_gets_the_role_of_programs(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        "create",
        "a",
        "--role",
        "XROAD_MANAGEMENT_SERVICE",
        "--password-file",
        "-",
        given=PASSWORD,
    )
    assert result.exit_code == 2
