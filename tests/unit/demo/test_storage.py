"""PostgreSQL and SoftHSM of the demo: who lacks them is told, and nobody else gets in."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from postroad.demo import postgresql, softhsm
from postroad.demo.postgresql import PostgresqlServer, directory_for, find_program
from postroad.demo.softhsm import SoftHsm
from postroad.errors import ConfigurationError


def test_who_lacks_postgresql_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgresql, "_PACKAGED", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="apt-get install postgresql"):
        find_program("initdb")


def test_the_newest_packaged_postgresql_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for version in ("9", "15", "16"):
        program = tmp_path / version / "bin" / "initdb"
        program.parent.mkdir(parents=True)
        program.touch()
    monkeypatch.setattr(postgresql, "_PACKAGED", tmp_path)
    assert find_program("initdb") == str(tmp_path / "16" / "bin" / "initdb")


def test_a_path_that_no_socket_can_have_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    with pytest.raises(ConfigurationError, match="too long for PostgreSQL's socket"):
        PostgresqlServer(directory, log=tmp_path / "log").start()
    assert not directory.exists()


def test_each_home_has_a_database_directory_of_its_own(tmp_path: Path) -> None:
    one, other = directory_for(tmp_path / "one"), directory_for(tmp_path / "other")
    assert one != other
    assert one == directory_for(tmp_path / "one")


def test_the_server_keeps_its_databases_and_lets_nobody_else_in(tmp_path: Path) -> None:
    server = PostgresqlServer(directory_for(tmp_path), log=tmp_path / "log" / "postgresql.log")
    try:
        server.start()
        server.create_databases(["kept"])
        assert server.directory.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(server.url("kept")) as connection:
            listening = connection.execute("SHOW listen_addresses").fetchone()
        assert listening == ("",)
        server.stop()
        assert server.is_made
        server.start()
        psycopg.connect(server.url("kept")).close()
    finally:
        server.stop()
        server.forget()
    assert not server.directory.exists()


def test_who_lacks_softhsm_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(softhsm, "_LIBRARIES", ())
    with pytest.raises(ConfigurationError, match="apt-get install softhsm2"):
        SoftHsm(tmp_path)


def test_the_pins_of_both_tokens_are_their_owners_only(tmp_path: Path) -> None:
    hsm = SoftHsm(tmp_path / "softhsm")
    hsm.make("pin-of-the-demo")
    assert hsm.pin_file.stat().st_mode & 0o777 == 0o600
    assert hsm.pin_file.read_text() == "0:pin-of-the-demo\nsofthsm-demo:pin-of-the-demo\n"
    assert list((tmp_path / "softhsm" / "tokens").iterdir())
