from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.adapters.openpgp import OpenPgpSecret
from postroad.cli import archive as archive_command
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.log_archive import ArchiveReader
from postroad.securityserver.messagelog.archive_encryption import load_sealer, parse_key_mapping
from postroad.securityserver.settings import Settings, parse_settings
from support.archiving import archive_bench
from support.messagelog import record

OWN, MEMBER, BACKUP = (OpenPgpSecret.generate(name) for name in ("own", "member", "backup"))
MAPPING = f"# keys\nTEST/COM/1234 = {MEMBER.certificate.fingerprint}\n"


def settings_of(home: Path, mapping: str = MAPPING, **more: str) -> Settings:
    """A home with three keys; the mapping names one of them."""
    (home / "pgp").mkdir()
    OWN.store(home / "pgp" / "own.key")
    (home / "pgp" / "member.asc").write_text(str(MEMBER.certificate))
    (home / "pgp" / "backup.asc").write_text(str(BACKUP.certificate))
    (home / "keys.ini").write_text(mapping)
    lines = {
        "archive_encryption_enabled": "true",
        "archive_grouping": '"member"',
        "archive_encryption_keys_config": '"keys.ini"',
        **{key: f'"{value}"' for key, value in more.items()},
    }
    text = "\n".join(f"{key} = {value}" for key, value in lines.items())
    return parse_settings(f'[server]\nidentifier = "T/C/1/S"\n[message_log]\n{text}\n', home=home)


def test_a_members_archives_are_for_the_member_and_others_for_us(tmp_path: Path) -> None:
    sealer = load_sealer(settings_of(tmp_path))
    assert MEMBER.open(sealer.seal(b"x", "TEST/COM/1234"), [OWN.certificate]) == b"x"
    assert MEMBER.open(sealer.seal(b"x", "TEST/COM/1234/app"), [OWN.certificate]) == b"x"
    assert OWN.open(sealer.seal(b"x", "TEST/COM/99"), [OWN.certificate]) == b"x"
    with pytest.raises(ConfigurationError):
        OWN.open(sealer.seal(b"x", "TEST/COM/1234"), [OWN.certificate])


def test_a_default_key_takes_the_place_of_ours(tmp_path: Path) -> None:
    default = BACKUP.certificate.fingerprint[-16:]
    sealer = load_sealer(settings_of(tmp_path, archive_default_encryption_key=default))
    assert BACKUP.open(sealer.seal(b"x", "TEST/COM/99"), [OWN.certificate]) == b"x"


def test_several_keys_of_a_member_all_open_it(tmp_path: Path) -> None:
    mapping = MAPPING + f"TEST/COM/1234 = {BACKUP.certificate.fingerprint}\n"
    sealed = load_sealer(settings_of(tmp_path, mapping)).seal(b"x", "TEST/COM/1234")
    for key in (MEMBER, BACKUP):
        assert key.open(sealed, [OWN.certificate]) == b"x"


@pytest.mark.parametrize("missing", ["own.key", "member.asc"])
def test_a_key_that_is_missing_stops_everything(tmp_path: Path, missing: str) -> None:
    settings = settings_of(tmp_path)
    (tmp_path / "pgp" / missing).unlink()
    with pytest.raises(ConfigurationError) as caught:
        load_sealer(settings)
    assert caught.value.code is FaultCode.KEY_NOT_FOUND


@pytest.mark.parametrize("mapping", ["TEST/COM/1234", "TEST/COM = 1", "= 1", "A/B/C =", "a=b=c"])
def test_a_mapping_that_cannot_be_read_stops_everything(tmp_path: Path, mapping: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_sealer(settings_of(tmp_path, mapping))
    assert caught.value.code is FaultCode.MLOG_ARCHIVING_FAILED


def test_a_member_without_a_short_id_of_somebody_else(tmp_path: Path) -> None:
    short = MEMBER.certificate.fingerprint[-8:]
    with pytest.raises(ConfigurationError, match="too short"):
        load_sealer(settings_of(tmp_path, f"TEST/COM/1234 = {short}"))


def test_separators_may_be_escaped() -> None:
    assert parse_key_mapping("A/B/c\\=\\#d=11\n\n# x = y\n") == {"A/B/c=#d": ["11"]}


def test_encrypted_archives_are_a_chain_that_their_owner_can_verify(tmp_path: Path) -> None:
    sealer = load_sealer(settings_of(tmp_path))
    path = tmp_path / "archive"
    with archive_bench(f"sqlite:///{tmp_path}/log.sqlite", path) as bench:
        for number in range(2):
            bench.append(record(message=b"canary %d" % number))
            report = asyncio.run(bench.archiver(seal=sealer.seal, grouping="member").run())
            assert report.error is None
    files = sorted(path.iterdir())
    assert [file.name.endswith(".zip.gpg") for file in files] == [True, True]
    for file in files:
        opened = MEMBER.open(file.read_bytes(), [OWN.certificate])
        assert len(ArchiveReader(io.BytesIO(opened)).names) == 1
    MEMBER.store(tmp_path / "member.key")
    (tmp_path / "own.asc").write_text(str(OWN.certificate))

    def verify(*options: object) -> int:
        arguments = ["verify", *map(str, (path, *options))]
        return CliRunner().invoke(archive_command.command, arguments).exit_code

    keys = ("--secret-key", tmp_path / "member.key")
    assert verify(*keys, "--signer", tmp_path / "own.asc") == 0
    assert verify(*keys) == 1  # signed by somebody whom the member didn't name
    assert verify() == 2
    files[0].write_bytes(files[0].read_bytes()[:-5])
    assert verify(*keys, "--signer", tmp_path / "own.asc") == 1


def test_nothing_readable_is_written_on_the_way(tmp_path: Path, monkeypatch) -> None:
    sealer = load_sealer(settings_of(tmp_path))
    seen: list[bytes] = []
    with archive_bench(f"sqlite:///{tmp_path}/log.sqlite", tmp_path / "archive") as bench:
        bench.append(record(query_id="canary-query"))

        def look_and_seal(data: bytes, group: str) -> bytes:
            assert b"canary-query" in data
            seen.extend(file.read_bytes() for file in bench.path.iterdir())
            return sealer.seal(data, group)

        asyncio.run(bench.archiver(seal=look_and_seal).run())
        seen.extend(file.read_bytes() for file in bench.path.iterdir())
    assert seen
    assert not any(b"canary-query" in data for data in seen)
