"""Backups that want to be put where they don't belong: each is refused before anything changes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pysequoia
import pytest

from postroad.adapters.backups import sealing
from postroad.adapters.backups.contents import (
    BackupContents,
    encode_contents,
    parse_contents,
)
from postroad.adapters.backups.restoring import collect_files, finish, stage
from postroad.adapters.openpgp import OpenPgpSecret
from postroad.errors import ConfigurationError, MalformedInput

CONTENTS = BackupContents("central/DEV", b"{}", {"central.toml": b"x", "keys/token.p12": b"y"})


def entry(name: str, data: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    label = entry("label", b"postroad-backup 1\ncentral/DEV\n")
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in (label, entry("database.json", b"{}"), *entries):
            tar.addfile(info, io.BytesIO(data))
    return output.getvalue()


def test_what_is_written_is_read_again() -> None:
    assert parse_contents(encode_contents(CONTENTS)) == CONTENTS
    assert parse_contents(tar_of(entry("files/a/b"))).files == {"a/b": b"x"}


@pytest.mark.parametrize(
    "path",
    [
        "files//etc/passwd",
        "files/../x",
        "files/a/../../x",
        "files/./x",
        "files/a//b",
        "files/",
        "files/a/",
        "files/.hidden",
        "files/.restore/plan.json",
        "files/a\\b",
        "files/a\nb",
        "files/a\x7fb",
        "files/" + "a" * 256,
        "files/" + "/".join("abcdefghi"),
        "files/cafe\u0301",
        "/files/x",
        "../files/x",
        "elsewhere/x",
        "files",
    ],
)
def test_no_path_leads_out_of_the_home(path: str) -> None:
    with pytest.raises(MalformedInput):
        parse_contents(tar_of(entry(path)))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
    ],
)
@pytest.mark.parametrize("target", ["", "/etc/passwd"])
def test_only_regular_files_are_in_a_backup(kind: bytes, target: str) -> None:
    with pytest.raises(MalformedInput):
        parse_contents(tar_of(entry("files/x", b"", type=kind, linkname=target)))


@pytest.mark.parametrize(
    "names",
    [
        ("files/x", "files/x"),
        ("files/Key", "files/key"),
        ("files/stra\u00dfe", "files/STRASSE"),
        ("files/\ufb01x", "files/fix"),
        ("files/x", "files/x/y"),
        ("files/X", "files/x/y"),
        ("label", "files/x"),
        ("LABEL", "files/x"),
        ("database.json", "files/x"),
    ],
)
def test_no_path_is_there_twice_in_any_spelling(names: tuple[str, ...]) -> None:
    with pytest.raises(MalformedInput):
        parse_contents(tar_of(*(entry(name) for name in names)))


def test_an_extended_header_names_no_other_path() -> None:
    output = io.BytesIO(tar_of())
    with tarfile.open(fileobj=output, mode="a", format=tarfile.PAX_FORMAT) as tar:
        info, data = entry("files/x", pax_headers={"path": "files/../../x"})
        tar.addfile(info, io.BytesIO(data))
    with pytest.raises(MalformedInput):
        parse_contents(output.getvalue())


def test_a_truncated_or_compressed_backup_is_none() -> None:
    import gzip

    whole = encode_contents(CONTENTS)
    for data in (b"", b"x" * 2000, gzip.compress(whole), whole[:700], whole[:1600]):
        with pytest.raises(MalformedInput):
            parse_contents(data)


def test_too_many_and_too_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "postroad.adapters.backups.contents"
    monkeypatch.setattr(f"{module}.MAX_FILES", 4)
    assert parse_contents(tar_of(entry("files/a"), entry("files/b")))
    with pytest.raises(MalformedInput, match="more than"):
        parse_contents(tar_of(*(entry(f"files/{name}") for name in "abc")))
    monkeypatch.setattr(f"{module}.MAX_FILE_BYTES", 1000)
    with pytest.raises(MalformedInput, match="1001 bytes"):
        parse_contents(tar_of(entry("files/a", b"x" * 1001)))
    monkeypatch.setattr(f"{module}.MAX_BYTES", 1000)
    with pytest.raises(MalformedInput, match="larger"):
        parse_contents(tar_of())


@pytest.fixture
def key() -> OpenPgpSecret:
    return OpenPgpSecret.generate("central/DEV")


def test_a_small_file_does_not_open_into_a_large_one(
    key: OpenPgpSecret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "MAX_BYTES", 100_000)
    path = tmp_path / "bomb.gpg"
    path.write_bytes(sealing.seal(b"x" * 99_000, key))
    assert len(sealing.open_sealed(path, key, [key.certificate])) == 99_000
    with monkeypatch.context() as larger:
        larger.setattr(sealing, "MAX_BYTES", 1 << 20)
        path.write_bytes(sealing.seal(b"x" * 300_000, key))
    with pytest.raises(ConfigurationError, match="larger"):
        sealing.open_sealed(path, key, [key.certificate])
    monkeypatch.setattr(Path, "stat", lambda _self, **_options: Small())
    with pytest.raises(ConfigurationError, match="the backup"):
        sealing.open_sealed(path, key, [key.certificate])


class Small:
    """What a compressed file of a few bytes says of itself."""

    st_size = 10


def test_only_the_servers_own_signature_opens(key: OpenPgpSecret, tmp_path: Path) -> None:
    stranger = OpenPgpSecret.generate("somebody")
    path = tmp_path / "x.gpg"
    unsigned = pysequoia.encrypt(b"data", recipients=[key.certificate.raw], armor=False)
    changed = bytearray(sealing.seal(b"data", key))
    changed[-20] ^= 1
    for sealed in (
        stranger.seal(b"data", [key.certificate]),
        unsigned,
        bytes(changed),
        b"",
        b"data",
        encode_contents(CONTENTS),
    ):
        path.write_bytes(sealed)
        with pytest.raises(ConfigurationError):
            sealing.open_sealed(path, key, [key.certificate])
    path.write_bytes(sealing.seal(b"data", key))
    with pytest.raises(ConfigurationError):
        sealing.open_sealed(path, stranger, [key.certificate])


@pytest.mark.parametrize("name", ["", ".gpg", "../x.gpg", "a/b.gpg", "x.tar", "x.gpg\n", "ü.gpg"])
def test_a_backups_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        sealing.store_backup(tmp_path, name, b"")
    with pytest.raises(ConfigurationError):
        sealing.find_backup(tmp_path, name)


def test_links_in_the_home_are_neither_read_nor_written_through(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (home / "link").symlink_to(outside / "secret")
    (home / "keys").symlink_to(outside)
    (home / "kept").mkdir()
    (home / "kept" / "log").write_bytes(b"log")
    (home / "central.toml").symlink_to(outside / "secret")
    (home / "sub").mkdir()
    (home / "sub" / "down").symlink_to(outside)
    assert collect_files(home, {"kept"}) == {}
    stage(home, CONTENTS, {"kept"})
    loaded: list[bytes] = []
    assert finish(home, loaded.append)
    assert loaded == [b"{}"]
    assert collect_files(home, {"kept"}) == dict(CONTENTS.files)
    assert (outside / "secret").read_bytes() == b"secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (home / "kept" / "log").read_bytes() == b"log"
    assert (home / "keys" / "token.p12").stat().st_mode & 0o777 == 0o600
