from __future__ import annotations

import json

from click.testing import CliRunner

from postroad.cli.explain import command
from postroad.errors import FaultCode


def test_explains_a_code_in_either_spelling_the_same() -> None:
    snake = CliRunner().invoke(command, ["server.serverproxy.access_denied"])
    camel = CliRunner().invoke(command, ["Server.ServerProxy.AccessDenied"])
    assert snake.exit_code == 0
    assert snake.output == camel.output
    assert "Who must act:  the owner of the service" in snake.output


def test_says_when_a_code_is_not_the_protocols() -> None:
    result = CliRunner().invoke(command, ["soapenv:Client"])
    assert result.exit_code == 0
    assert "isn't one of the protocol's" in result.output


def test_lists_every_code_as_json() -> None:
    result = CliRunner().invoke(command, ["--list", "--json"])
    listed = json.loads(result.output)
    assert {entry["code"] for entry in listed} == {code.value for code in FaultCode}
    assert all(entry["known"] and entry["side"] and entry["next_step"] for entry in listed)


def test_wants_a_code() -> None:
    assert CliRunner().invoke(command, []).exit_code == 2
