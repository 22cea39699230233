"""Backups of both servers, on both databases: whole or not at all, whoever is killed when."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from postroad.adapters.backups import restoring
from postroad.adapters.backups.restoring import stopped
from postroad.adapters.backups.service import (
    back_up_daily,
    create_backup,
    finish_restore,
    opener_of,
    read_backup,
    restore_backup,
)
from postroad.adapters.backups.tables import check_dump, load_tables
from postroad.adapters.database import transaction
from postroad.centralserver import backups as central
from postroad.centralserver.node import NewInstance, initialize_node, open_node
from postroad.centralserver.registry import members
from postroad.centralserver.registry.change import list_change_log, verify_change_log
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.cli import central as central_cli
from postroad.cli import server as server_cli
from postroad.errors import ConfigurationError, MalformedInput
from postroad.globalconf.anchor import build_anchor
from postroad.securityserver import backups as security
from support.central_server import NOW, PIN, fill, lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.postgresql import PostgresqlServer


def make_central(home: Path, url: str = "", instance: str = "DEV") -> None:
    home.mkdir()
    database = f'[database]\nurl = "{url}"\n' if url else ""
    (home / "central.toml").write_text(f"{database}[distribution]\nhttps = false\n")
    node = open_node(home)
    new = NewInstance(instance=instance, address="cs.example", pin=PIN, algorithm=KeyAlgorithm.EC)
    token = initialize_node(node, new, "tester")
    if instance == "DEV":
        with node.changing("tester") as change:
            fill(change)
        node.generate(token)
    node.close()


def classes(home: Path) -> list[str]:
    node = open_node(home)
    with node.reading() as session:
        verify_change_log(session)
        found = [row.code for row in members.list_member_classes(session)]
    node.close()
    return found


def change_central(home: Path) -> None:
    node = open_node(home)
    with node.changing("tester") as change:
        members.add_member_class(change, "LATER", "after the backup")
    node.close()
    (home / "keys" / "later").write_bytes(b"later")


@pytest.fixture(params=["sqlite", "postgresql"])
def home(
    request: pytest.FixtureRequest,
    postgresql_server: PostgresqlServer,
    tmp_path: Path,
) -> Path:
    url = postgresql_server.create_database() if request.param == "postgresql" else ""
    make_central(tmp_path / "central", url)
    return tmp_path / "central"


def restore(home: Path, path: Path, **options: bool) -> None:
    server = central.backed_up(home)
    restore_backup(server, read_backup(server, path, opener_of(server)), **options)


def test_a_central_server_comes_back_as_it_was(home: Path) -> None:
    path = create_backup(central.backed_up(home), "conf_backup_20260301-120000.gpg")
    before = restoring.collect_files(home, central.LEFT_OUT)
    with path.open("rb") as file:
        assert PIN.encode() not in file.read()
    change_central(home)
    restore(home, path)
    assert classes(home) == ["GOV"]
    assert restoring.collect_files(home, central.LEFT_OUT) == before
    node = open_node(home)
    node.generate(node.unlock(PIN))
    with node.changing("tester") as change:
        members.add_member_class(change, "NEW", "numbers go on after those restored")
    with pytest.raises(Exception, match="append-only"), transaction(node.engine) as session:
        session.execute(text("DELETE FROM change_log"))
    node.close()
    assert classes(home) == ["GOV", "NEW"]


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of a restore in turn is the last one of its process."""
    home, spare = tmp_path / "central", tmp_path / "spare"
    make_central(home)
    path = create_backup(central.backed_up(home), "x.gpg")
    new = restoring.collect_files(home, central.LEFT_OUT)
    change_central(home)
    old = restoring.collect_files(home, central.LEFT_OUT)
    shutil.copytree(home, spare)
    server = central.backed_up(home)
    contents = read_backup(server, path, opener_of(server))
    outcomes = []
    for steps in range(1, 200):
        shutil.rmtree(home)
        shutil.copytree(spare, home)
        status = killed_after(steps, lambda: restore_backup(server, contents), monkeypatch)
        if (home / restoring.COMMITTED).exists():
            with pytest.raises(ConfigurationError, match="interrupted"):
                open_node(home)
        interrupted = finish_restore(server)
        found = restoring.collect_files(home, central.LEFT_OUT)
        with contextlib.closing(sqlite3.connect(home / "db" / "registry.sqlite")) as database:
            codes = [code for (code,) in database.execute("SELECT code FROM member_classes")]
        if found == old:
            assert not interrupted
            assert codes == ["GOV", "LATER"]
            outcomes.append("old")
        else:
            assert found == new
            assert codes == ["GOV"]
            outcomes.append("new")
        if status == 0:
            break
    assert outcomes == sorted(outcomes, reverse=True), "once it counts it counts"
    assert outcomes.count("old") > 3
    assert outcomes.count("new") > 3


def killed_after(steps: int, work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do it in another process that ends, without a word, at that call into the file system."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = steps

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return function(*arguments, **options)

        return call

    try:
        for name in ("rename", "replace", "unlink", "fsync", "mkdir"):
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
        load = "postroad.adapters.backups.service.load_tables"
        from postroad.adapters.backups import service

        monkeypatch.setattr(load, counted(service.load_tables))
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the parent must not run twice
        os._exit(1)


def test_a_running_server_is_not_restored(tmp_path: Path) -> None:
    home = tmp_path / "central"
    make_central(home)
    path = create_backup(central.backed_up(home), "x.gpg")
    lock = central.backed_up(home).lock
    with stopped(lock), pytest.raises(ConfigurationError, match="stop it"):
        restore(home, path)
    restore(home, path)


def test_another_servers_backup_is_refused_but_by_force(tmp_path: Path) -> None:
    home, other = tmp_path / "central", tmp_path / "other"
    make_central(home)
    make_central(other, instance="ELSE")
    path = create_backup(central.backed_up(home), "x.gpg")
    create_backup(central.backed_up(other), "of-its-own.gpg")
    with pytest.raises(ConfigurationError, match="verified"):
        restore(other, path)
    target = central.backed_up(other)
    opener = opener_of(target, key_file=home / restoring.KEY_FILE)
    contents = read_backup(target, path, opener)
    with pytest.raises(ConfigurationError, match="not of central/ELSE"):
        restore_backup(target, contents)
    restore_backup(target, contents, force=True, keep_settings=True)
    assert classes(other) == ["GOV"]
    as_security = security.backed_up(tmp_path / "new")
    with pytest.raises(ConfigurationError, match="revision"):
        read_backup(as_security, path, opener)
    with pytest.raises(ConfigurationError, match="another kind"):
        restore_backup(as_security, contents, force=True)


def test_nothing_changes_when_the_rows_are_not_those_of_the_schema(home: Path) -> None:
    server = central.backed_up(home)
    path = create_backup(server, "x.gpg")
    contents = read_backup(server, path, opener_of(server))
    change_central(home)
    for old, new in (
        (b'"member_classes"', b'"member_classes; DROP TABLE members"'),
        (b'"code"', b'"pg_sleep(9)"'),
        (b'[1,"GOV"', b'["1","GOV"'),
        (b'[1,"GOV"', b"[1,7"),
        (b'[1,"GOV"', b'[1,"GOV",1'),
    ):
        assert old in contents.database
        data = contents.database.replace(old, new)
        with pytest.raises(MalformedInput):
            check_dump(data, server.metadata, "0004")
        with server.open_database() as engine, pytest.raises(MalformedInput):
            load_tables(engine, server.metadata, server.migrations, data)

    assert classes(home) == ["GOV", "LATER"]
    with pytest.raises(ConfigurationError, match="revision"):
        check_dump(contents.database, server.metadata, "0003")


def test_automatic_backups_are_cleaned_up_and_others_stay(tmp_path: Path) -> None:
    home = tmp_path / "central"
    make_central(home)
    server = central.backed_up(home)
    create_backup(server, "conf_backup_20200101-000000.gpg")
    keep = timedelta(days=30)
    for days in (0, 1, 31):
        removed = back_up_daily(server, at=NOW + timedelta(days=days), keep=keep)
    assert removed == ["cs-automatic-backup-2026_03_01_120000.gpg"]
    assert sorted(path.name for path in server.directory.iterdir()) == [
        "conf_backup_20200101-000000.gpg",
        "cs-automatic-backup-2026_03_02_120000.gpg",
        "cs-automatic-backup-2026_04_01_120000.gpg",
    ]


def make_server(home: Path, tmp_path: Path, code: str) -> None:
    anchor = tmp_path / "anchor.xml"
    key = lab().ca_certificate.der
    anchor.write_bytes(
        build_anchor("DEV", [("cs.example", [key])], directory="internalconf", at=NOW).encode()
    )
    ask(home, "init", "--owner", "DEV/GOV/1", "--code", code, "--anchor", str(anchor))


def ask(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        server_cli.command, (*arguments, "--home", str(home)), catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_security_server_moves_to_another_machine(tmp_path: Path) -> None:
    home, moved = tmp_path / "server", tmp_path / "moved"
    make_server(home, tmp_path, "SS1")
    (home / "signer").mkdir(exist_ok=True)
    (home / "signer" / "key.p12").write_bytes(b"protected by its PIN")
    (home / "archive").mkdir(exist_ok=True)
    (home / "archive" / "a.zip").write_bytes(b"evidence")
    file = ask(home, "backup", "create").strip()
    name = Path(file).name
    assert name in ask(home, "backup", "list")
    assert "security/DEV/GOV/1/SS1" in ask(home, "backup", "verify", name)
    moved.mkdir()
    key = ("--key", str(home / restoring.KEY_FILE))
    with pytest.raises(ConfigurationError, match="without the key"):
        ask(moved, "backup", "restore", file)
    with pytest.raises(ConfigurationError, match="this new server"):
        ask(moved, "backup", "restore", file, *key)
    ask(moved, "backup", "restore", file, "--force", *key)
    assert (moved / "signer" / "key.p12").read_bytes() == b"protected by its PIN"
    assert (moved / "configuration-anchor.xml").exists()
    assert not (moved / "archive").exists()
    assert "DEV/GOV/1" in ask(moved, "client", "list")
    assert "no restore" in ask(moved, "backup", "restore", "--finish")
    ask(home, "backup", "delete", name)
    assert ask(home, "backup", "list") == ""


def test_the_central_servers_commands_work_with_names(tmp_path: Path) -> None:
    home = tmp_path / "central"
    make_central(home)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(
            central_cli.command, ("backup", *arguments, "--home", str(home)), catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    name = Path(run("create").strip()).name
    change_central(home)
    assert "BEGIN PGP PUBLIC KEY" in run("key")
    assert "central/DEV" in run("verify", name)
    assert "restored central/DEV" in run("restore", name)
    assert classes(home) == ["GOV"]
    node = open_node(home)
    with node.reading() as session:
        assert list_change_log(session, limit=1)[0].event == "Publish global configuration"
    node.close()
