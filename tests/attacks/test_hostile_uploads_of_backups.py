"""Backups that come by HTTP from somebody who wants more than to keep them."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.backups.sealing import ensure_key, seal
from postroad.adapters.backups.service import opener_of, read_backup
from postroad.adapters.openpgp import OpenPgpSecret
from postroad.centralserver.backups import backed_up
from postroad.centralserver.registry.system import initialize
from postroad.centralserver.roles import Role
from postroad.centralserver.token_login import TokenLogin
from postroad.errors import ConfigurationError, MalformedInput
from support.central_server import MovingClock, plain_node
from support.management_api import opened_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.management_api import ManagementApi

ADMIN = Role.SYSTEM_ADMINISTRATOR
UPLOAD = "/backups/upload"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ManagementApi]:
    home = tmp_path / "home"
    home.mkdir()
    node = plain_node(home, MovingClock())
    with node.changing("tester") as change:
        initialize(change, "DEV", "cs.example")
    with opened_api(node, TokenLogin(node.settings.token_path), home) as opened:
        yield opened
    node.close()


def sealed(data: bytes = b"anything") -> bytes:
    secret = OpenPgpSecret.generate("somebody")
    return secret.seal(data, [secret.certificate])


def files_below(home: Path) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "../central.toml",
        "../../evil.gpg",
        "/etc/cron.d/evil.gpg",
        "a/b.gpg",
        "..\\evil.gpg",
        "..",
        ".gpg",
        ".hidden.gpg",
        "a.tar",
        "a.gpg ",
        "a.gpg\n",
        "a.gpg;id",
        "ä.gpg",
        "a" * 300 + ".gpg",
        "backup-key.pgp",
    ],
)
def test_no_uploaded_name_is_a_path(api: ManagementApi, name: str) -> None:
    before = files_below(api.node.settings.home_path)
    status, code = api.refusal("POST", UPLOAD, ADMIN, files={"file": (name, sealed())})
    assert (status, code) in {(400, "invalid_filename"), (400, "validation_failure")}
    changed = files_below(api.node.settings.home_path) - before
    assert all(path.startswith(("log/", "db/")) for path in changed)


@pytest.mark.parametrize("operation", ["DELETE", "GET /download", "PUT /restore"])
@pytest.mark.parametrize(
    "name",
    [
        "..%2Fcentral.toml",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5Ccentral.toml",
        "..",
        ".hidden.gpg",
        "central.toml",
        "a.gpg%00",
        "%2Fetc%2Fpasswd",
    ],
)
def test_no_named_backup_is_another_file(api: ManagementApi, operation: str, name: str) -> None:
    directory = api.node.settings.home_path / "backup"
    directory.mkdir(exist_ok=True)
    (directory / ".hidden.gpg").write_bytes(b"kept")
    method, _space, tail = operation.partition(" ")
    before = files_below(api.node.settings.home_path)
    assert api.refusal(method, f"/backups/{name}{tail}", ADMIN)[0] in {400, 404, 405}
    assert before <= files_below(api.node.settings.home_path)


def test_a_link_in_the_directory_is_not_followed(api: ManagementApi, tmp_path: Path) -> None:
    directory = api.node.settings.home_path / "backup"
    directory.mkdir(exist_ok=True)
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    (directory / "link.gpg").symlink_to(secret)
    assert api.ask("GET", "/backups", ADMIN) == []
    assert api.refusal("GET", "/backups/link.gpg/download", ADMIN)[0] == 404
    assert api.refusal("DELETE", "/backups/link.gpg", ADMIN)[0] == 404
    new = sealed()
    form = {"file": ("link.gpg", new)}
    assert api.refusal("POST", UPLOAD, ADMIN, files=form) == (400, "warnings_detected")
    api.ask("POST", f"{UPLOAD}?ignore_warnings=true", ADMIN, status=201, files=form)
    assert secret.read_text() == "of somebody else"
    assert (directory / "link.gpg").read_bytes() == new
    assert not (directory / "link.gpg").is_symlink()


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"label\0" * 100, b"<?xml"]
)
def test_what_is_not_encrypted_is_not_kept(api: ManagementApi, data: bytes) -> None:
    refused = api.refusal("POST", UPLOAD, ADMIN, files={"file": ("a.gpg", data)})
    assert refused == (400, "invalid_file_content_type")
    assert api.ask("GET", "/backups", ADMIN) == []


def test_an_upload_is_bounded(api: ManagementApi) -> None:
    large = b"\xc1" + bytes(11 * 1024 * 1024)
    answer = api.client.post(
        f"/api/v1{UPLOAD}", headers=api.key(ADMIN), files={"file": ("a.gpg", large)}
    )
    assert answer.status_code == 413
    two = [("file", ("a.gpg", sealed())), ("file", ("b.gpg", sealed()))]
    assert api.refusal("POST", UPLOAD, ADMIN, files=two) == (400, "validation_failure")
    assert api.refusal("POST", UPLOAD, ADMIN, data={"file": "text"}, files={"x": b""})[0] == 400
    assert api.ask("GET", "/backups", ADMIN) == []


def escaping() -> bytes:
    """An archive with one file outside of the home directory."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, data in (
            ("label", b"postroad-backup 1\ncentral/DEV\n"),
            ("database.json", b"{}"),
            ("files/../../evil", b"#!/bin/sh\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return written.getvalue()


def test_an_uploaded_archive_with_a_path_escape_is_never_unpacked(
    api: ManagementApi, tmp_path: Path
) -> None:
    home = api.node.settings.home_path
    server = backed_up(home)
    key = ensure_key(home, server.label)
    ours = seal(escaping(), key)  # even if somebody could sign in our name
    foreign = OpenPgpSecret.generate("thief").seal(escaping(), [key.certificate])
    for name, data in (("ours.gpg", ours), ("foreign.gpg", foreign)):
        api.ask("POST", UPLOAD, ADMIN, status=201, files={"file": (name, data)})
        assert api.refusal("PUT", f"/backups/{name}/restore", ADMIN) == (
            409,
            "restore_process_failed",
        )
    opener = opener_of(server)
    with pytest.raises(MalformedInput, match="can't be the path"):
        read_backup(server, server.directory / "ours.gpg", opener)
    with pytest.raises(ConfigurationError, match=r"signed|verified"):
        read_backup(server, server.directory / "foreign.gpg", opener)
    assert not list(tmp_path.rglob("evil"))


def test_who_restores_backups_is_no_other_role(api: ManagementApi) -> None:
    for role in set(Role) - {ADMIN}:
        for method, path in (
            ("GET", "/backups"),
            ("POST", "/backups"),
            ("POST", UPLOAD),
            ("DELETE", "/backups/a.gpg"),
            ("GET", "/backups/a.gpg/download"),
            ("PUT", "/backups/a.gpg/restore"),
        ):
            assert api.refusal(method, path, role) == (403, "access_denied"), (role, path)
