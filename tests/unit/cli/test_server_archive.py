from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from postroad.adapters.openpgp import OpenPgpSecret
from postroad.cli import server_archive, server_log
from postroad.securityserver.messagelog.record_keys import load_log_keys
from support.archiving import archive_bench
from support.messagelog import record


def home_in(tmp_path: Path) -> Path:
    (tmp_path / "db").mkdir()
    (tmp_path / "server.toml").write_text('[server]\nidentifier = "TEST/COM/1/SS"\n')
    return tmp_path


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_status_names_the_ends_of_the_chains_and_what_waits(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    url = f"sqlite:///{home}/db/messagelog.sqlite"
    with archive_bench(url, home / "archive") as bench:
        bench.append(record())
        asyncio.run(bench.archiver().run())
        bench.append(record(), record(), stamped=False)
        (end,) = bench.planner.ends().values()
    result = run(server_archive.archive, "status", "--home", home)
    assert result.exit_code == 0
    assert end.digest in result.stdout
    assert "records in no archive yet: 2" in result.stdout
    told = json.loads(run(server_archive.archive, "status", "--json", "--home", home).stdout)
    assert told["waiting_records"] == 2
    assert told["chains"] == [
        {"group": "", "last_archive": end.file_name, "last_digest": end.digest}
    ]


def test_a_server_makes_its_own_key_once(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    result = run(server_archive.archive, "make-key", "--home", home)
    assert result.exit_code == 0
    assert "BEGIN PGP PUBLIC KEY BLOCK" in result.output
    assert "PRIVATE" not in result.output
    key = OpenPgpSecret.load(home / "pgp" / "own.key")
    assert key.certificate.fingerprint in result.output
    assert run(server_archive.archive, "make-key", "--home", home).exit_code != 0


def test_a_log_key_is_made_and_listed(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    assert run(server_log.log_key, "add", "2026", "--home", home).exit_code == 0
    assert load_log_keys(home / "messagelog-keys.toml").ids == ("2026",)
    with (home / "server.toml").open("a") as file:
        file.write(
            '[message_log]\nmessagelog_encryption_enabled = true\nmessagelog_key_id = "2026"\n'
        )
    listed = run(server_log.log_key, "list", "--home", home).stdout.split()
    assert listed == ["KEY", "USED", "2026", "yes"]
