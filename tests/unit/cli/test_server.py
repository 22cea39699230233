"""`postroad server`: making a home, declaring clients and services, looking at them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from postroad.cli.server import command
from postroad.cli.server_context import PIN_VARIABLE, read_pin
from postroad.errors import ConfigurationError, UnavailablePeer
from postroad.securityserver.serverconf.snapshot import load_snapshot
from postroad.securityserver.settings import load_settings

ANCHOR = Path(__file__).parents[2] / "data/reference/anchors/configuration-anchor1.xml"

DECLARATION = """
[[client]]
id = "EE/GOV/1/registry"

[[client.service]]
code = "pets"
url = "https://pets.internal"
allow = ["EE/COM/2/app"]
"""


def server(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--home", str(home)])


def init(home: Path, owner: str = "EE/GOV/1") -> Result:
    return server(home, "init", "--owner", owner, "--code", "SS1", "--anchor", str(ANCHOR))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "server"
    result = init(home)
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def declaration(tmp_path: Path) -> str:
    path = tmp_path / "clients.toml"
    path.write_text(DECLARATION)
    return str(path)


def test_init_makes_a_home_that_only_its_owner_reads(home: Path) -> None:
    settings = load_settings(home)
    assert str(settings.server_id) == "EE/GOV/1/SS1"
    assert settings.anchor_path.read_bytes() == ANCHOR.read_bytes()
    assert load_snapshot(settings.snapshot_path).clients[0].identifier == "EE/GOV/1"
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_init_shows_the_fingerprint_of_the_anchor(tmp_path: Path) -> None:
    result = init(tmp_path / "server")
    assert "CC:2D:DB:13:0D:56" in result.output


def test_init_twice_keeps_the_settings(home: Path) -> None:
    path = home / "server.toml"
    path.write_text(path.read_text() + "\n# mine\n")
    assert init(home).exit_code == 0
    assert path.read_text().endswith("# mine\n")


def test_init_refuses_the_anchor_of_another_instance(tmp_path: Path) -> None:
    result = init(tmp_path / "server", "FI/GOV/1")
    assert isinstance(result.exception, ConfigurationError)
    assert not (tmp_path / "server").exists()


def test_init_refuses_the_home_of_another_server(home: Path) -> None:
    result = init(home, "EE/GOV/2")
    assert isinstance(result.exception, ConfigurationError)


def test_diff_tells_by_its_exit_code_and_apply_makes_it_nothing(
    home: Path, declaration: str
) -> None:
    before = server(home, "diff", declaration)
    assert before.exit_code == 1
    assert "+ client EE/GOV/1/registry" in before.output
    applied = server(home, "apply", declaration)
    assert applied.exit_code == 0
    assert applied.output == before.output
    after = server(home, "diff", declaration)
    assert (after.exit_code, after.output) == (0, "no differences\n")
    again = server(home, "apply", declaration)
    assert (again.exit_code, again.output) == (0, "no differences\n")


def test_diff_changes_nothing(home: Path, declaration: str) -> None:
    settings = load_settings(home)
    before = load_snapshot(settings.snapshot_path)
    server(home, "diff", declaration)
    assert load_snapshot(settings.snapshot_path) == before


def test_lists_show_clients_and_services(home: Path, declaration: str) -> None:
    server(home, "apply", declaration)
    listed = server(home, "client", "list").output
    assert "EE/GOV/1/registry" in listed
    assert "SSLAUTH" in listed
    services = server(home, "service", "list").output.splitlines()
    assert services[1].split() == [
        "EE/GOV/1/registry/pets",
        "REST",
        "yes",
        "https://pets.internal",
        "60",
        "1",
    ]


def test_faulty_declaration_is_refused(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text("[[client]]\nid = 7\n")
    result = server(home, "apply", str(path))
    assert isinstance(result.exception, ConfigurationError)


def test_status_tells_what_ran_and_that_it_is_stopped(home: Path) -> None:
    assert isinstance(server(home, "status").exception, ConfigurationError)
    run = load_settings(home).run_path
    child = {"name": "signer", "state": "running", "pid": 7, "restarts": 2, "last_end": "signal 9"}
    (run / "status.json").write_text(
        json.dumps({"state": "running", "pid": os.getpid(), "children": [child]})
    )
    (run / "status-ocsp.json").write_text(
        json.dumps({"job": "ocsp", "state": "failed", "at": "now", "error": "nobody there"})
    )
    result = server(home, "status")
    assert "EE/GOV/1/SS1: running" in result.output
    assert "signal 9" in result.output
    assert "nobody there" in result.output
    (run / "status.json").write_text(json.dumps({"state": "running", "pid": 0x3FFFFFFF}))
    assert json.loads(server(home, "status", "--json").output)["state"] == "stopped"


@pytest.mark.parametrize(
    "arguments",
    [("token", "status"), ("key", "list"), ("cert", "list"), ("token", "logout")],
)
def test_commands_for_the_signer_say_when_it_does_not_run(
    home: Path, arguments: tuple[str, ...]
) -> None:
    result = server(home, *arguments)
    assert isinstance(result.exception, UnavailablePeer)
    assert "not running" in result.exception.message


def test_pin_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pin"
    path.write_text("from file \nsecond line\n")
    monkeypatch.setenv(PIN_VARIABLE, "from environment")
    assert read_pin(path) == "from file "
    assert read_pin(None) == "from environment"
    with pytest.raises(ConfigurationError):
        read_pin(tmp_path / "missing")
    monkeypatch.delenv(PIN_VARIABLE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigurationError, match="--pin-file"):
        read_pin(None)
