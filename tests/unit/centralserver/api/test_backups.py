"""Backups of a node by HTTP: the reference's paths, statuses and codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.adapters.backups.service import opener_of, read_backup
from postroad.adapters.openpgp import OpenPgpSecret
from postroad.centralserver.backups import backed_up
from postroad.centralserver.roles import Role

if TYPE_CHECKING:
    from pathlib import Path

    from support.central_server import MovingClock
    from support.management_api import ManagementApi

ADMIN = Role.SYSTEM_ADMINISTRATOR


def directory_of(api: ManagementApi) -> Path:
    return api.node.settings.home_path / "backup"


def encrypted() -> bytes:
    secret = OpenPgpSecret.generate("somebody")
    return secret.seal(b"anything", [secret.certificate])


def test_a_backup_is_made_listed_downloaded_and_deleted(
    api: ManagementApi, clock: MovingClock
) -> None:
    assert api.ask("GET", "/backups", ADMIN) == []
    first = api.ask("POST", "/backups", ADMIN, status=201)["filename"]
    assert first == f"conf_backup_{clock.now():%Y%m%d-%H%M%S}.gpg"
    clock.pass_time(seconds=1)
    second = api.ask("POST", "/backups", ADMIN, status=201)["filename"]
    assert [each["filename"] for each in api.ask("GET", "/backups", ADMIN)] == [second, first]

    server = backed_up(api.node.settings.home_path)
    contents = read_backup(server, directory_of(api) / first, opener_of(server))
    assert contents.label == "central/DEV"

    answer = api.client.get(f"/api/v1/backups/{first}/download", headers=api.key(ADMIN))
    assert answer.content == (directory_of(api) / first).read_bytes()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="{first}"'

    api.ask("DELETE", f"/backups/{first}", ADMIN, status=204)
    assert [each["filename"] for each in api.ask("GET", "/backups", ADMIN)] == [second]
    gone = (404, "backup_file_not_found")
    assert api.refusal("DELETE", f"/backups/{first}", ADMIN) == gone
    assert api.refusal("GET", f"/backups/{first}/download", ADMIN) == gone
    assert api.refusal("PUT", f"/backups/{first}/restore", ADMIN) == gone


def test_an_upload_replaces_only_what_it_is_asked_to(api: ManagementApi) -> None:
    one, other = encrypted(), encrypted()
    path = "/backups/upload"
    made = api.ask("POST", path, ADMIN, status=201, files={"file": ("mine.gpg", one)})
    assert made == {"filename": "mine.gpg"}
    answer = api.client.post(
        f"/api/v1{path}", headers=api.key(ADMIN), files={"file": ("mine.gpg", other)}
    )
    assert answer.status_code == 400
    assert answer.json() == {
        "status": 400,
        "error": {"code": "warnings_detected", "metadata": ["mine.gpg"]},
        "warnings": [{"code": "warning_file_already_exists", "metadata": ["mine.gpg"]}],
    }
    assert (directory_of(api) / "mine.gpg").read_bytes() == one
    replacing = f"{path}?ignore_warnings=true"
    api.ask("POST", replacing, ADMIN, status=201, files={"file": ("mine.gpg", other)})
    assert (directory_of(api) / "mine.gpg").read_bytes() == other
    assert [each["filename"] for each in api.ask("GET", "/backups", ADMIN)] == ["mine.gpg"]


def test_a_running_server_is_not_restored_by_http(api: ManagementApi) -> None:
    api.ask("POST", "/member-classes", json={"code": "COM", "description": "companies"}, status=201)
    name = api.ask("POST", "/backups", ADMIN, status=201)["filename"]
    api.ask("DELETE", "/member-classes/COM", status=204)
    answer = api.client.request("PUT", f"/api/v1/backups/{name}/restore", headers=api.key(ADMIN))
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "restore_process_failed"
    assert f"postroad central backup restore {name}" in error["metadata"][0]
    assert "COM" not in [each["code"] for each in api.ask("GET", "/member-classes")]


def test_a_server_without_an_instance_has_nothing_to_back_up(empty: ManagementApi) -> None:
    assert empty.refusal("POST", "/backups", ADMIN) == (500, "backup_generation_failed")
    assert empty.ask("GET", "/backups", ADMIN) == []


def test_one_backup_is_written_at_a_time(api: ManagementApi) -> None:
    with api.services.backing_up:
        assert api.refusal("POST", "/backups", ADMIN) == (409, "backup_generation_failed")
    api.ask("POST", "/backups", ADMIN, status=201)


def test_a_full_disk_is_told_as_the_failure_it_is(
    api: ManagementApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("postroad.adapters.backups.sealing.write_atomic", full)
    assert api.refusal("POST", "/backups", ADMIN) == (500, "backup_generation_failed")
    files = {"file": ("mine.gpg", encrypted())}
    refused = api.refusal("POST", "/backups/upload", ADMIN, files=files)
    assert refused == (500, "invalid_backup_file")


def test_what_happens_to_backups_is_audited(api: ManagementApi) -> None:
    name = api.ask("POST", "/backups", ADMIN, status=201)["filename"]
    api.ask("POST", "/backups/upload", ADMIN, status=201, files={"file": ("a.gpg", encrypted())})
    api.refusal("PUT", "/backups/a.gpg/restore", ADMIN)
    api.ask("DELETE", "/backups/a.gpg", ADMIN, status=204)
    told = [(line["event"], line["data"]) for line in api.audit_lines]
    assert told == [
        ("Back up configuration", {"backupFileName": name}),
        ("Upload backup file", {"backupFileName": "a.gpg"}),
        ("Restore configuration failed", {"backupFileName": "a.gpg"}),
        ("Delete backup file", {"backupFileName": "a.gpg"}),
    ]
    assert all(line["user"].startswith("api-key-") for line in api.audit_lines)
