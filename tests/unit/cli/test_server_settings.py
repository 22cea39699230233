"""The operator sees which settings hold, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.cli.server_settings import settings

MINIMAL = '[server]\nidentifier = "DEMO/GOV/1/SS1"\n'


def shown(*arguments: str, environ: dict[str, str] | None = None) -> dict[str, tuple[object, str]]:
    result = CliRunner().invoke(
        settings, [*arguments, "--json"], env=environ or {}, catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return {row["key"]: (row["value"], row["from"]) for row in json.loads(result.output)}


def test_effective_values_come_with_their_origin(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(
        f'profile = "ee"\n{MINIMAL}[message_log]\ndatabase = "postgresql://log:hush@db/log"\n'
    )
    rows = shown("--home", str(tmp_path), environ={"POSTROAD_SERVER__WORKERS": "2"})
    assert rows["profile"] == ("ee", "server.toml")
    assert rows["server.workers"] == (2, "environment")
    assert rows["client_proxy.http_port"] == (80, "profile ee")
    assert rows["server_proxy.port"] == (5500, "default")
    assert rows["message_log.database"] == ("postgresql://log:…@db/log", "server.toml")
    assert not any("hush" in str(row) for row in rows.values())
    few = shown("--home", str(tmp_path), "--changed")
    assert "server_proxy.port" not in few
    assert "client_proxy.http_port" in few


def test_defaults_need_no_server() -> None:
    rows = shown("--defaults", "--home", "/nowhere")
    assert rows["client_proxy.http_port"] == (8080, "default")
    assert shown("--profile", "ee")["client_proxy.http_port"] == (80, "profile ee")


def test_the_table_is_for_people(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(MINIMAL)
    result = CliRunner().invoke(settings, ["--home", str(tmp_path), "--changed"])
    assert 'server.identifier  "DEMO/GOV/1/SS1"  server.toml' in result.output


@pytest.mark.parametrize("arguments", [("--defaults", "--profile", "ee")])
def test_contradictions_are_refused(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(settings, list(arguments)).exit_code != 0
