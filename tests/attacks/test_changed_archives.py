"""Somebody who can write to the archives' directory changes what the message log has proven."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.cli import archive as archive_command
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.asic import container_file_name, encode_container
from postroad.evidence.linking_info import ArchiveEnd
from postroad.evidence.log_archive import ArchiveBuilder, check_links
from support.archives import AT, archive_of, read, rewritten
from support.signing import REFERENCE, Bench

CHAIN = REFERENCE / "messagelog" / "archive-chain"
ONE, TWO = "q0-request-0.asice", "q1-request-1.asice"


def verify(*arguments: object) -> tuple[int, dict[str, list[dict[str, object]]]]:
    result = CliRunner().invoke(archive_command.command, ["verify", "--json", *map(str, arguments)])
    return result.exit_code, json.loads(result.stdout)


def problems(data: bytes) -> dict[str, str]:
    return {name: wrong for name, _data, wrong in check_links(read(data)) if wrong}


def refused(data: bytes) -> str:
    with pytest.raises(MalformedInput) as caught:
        list(check_links(read(data)))
    assert caught.value.code is FaultCode.MLOG_INVALID_ARCHIVE
    return caught.value.message


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three archives that follow one another."""
    end = ArchiveEnd()
    for number in range(3):
        end, data = archive_of(b"a%d" % number, b"b%d" % number, previous=end)
        (tmp_path / end.file_name).write_bytes(data)
    return tmp_path


def test_untouched_archives_are_valid(directory: Path) -> None:
    code, report = verify(directory)
    assert code == 0
    assert len(report["chains"]) == 1


def test_a_changed_container_is_named() -> None:
    data = rewritten(archive_of(b"one", b"two", b"three")[1], {TWO: b"TWO"})
    assert problems(data) == {TWO: "its digest is not the linked one"}


def test_a_container_that_was_taken_away_is_missed() -> None:
    assert TWO in problems(rewritten(archive_of(b"one", b"two")[1], {TWO: None}))


def test_a_container_that_was_slipped_in_is_not_covered() -> None:
    data = rewritten(archive_of(b"one")[1], {"evil.asice": b"x"})
    assert problems(data) == {"evil.asice": "no link covers it"}


def test_containers_in_another_order_are_seen() -> None:
    data = archive_of(b"one", b"two")[1]
    order = [TWO, ONE, "linkinginfo"]
    assert "not in the order" in problems(rewritten(data, {}, order))["linkinginfo"]


def test_links_that_are_made_anew_no_longer_join_the_next_archive(directory: Path) -> None:
    files = sorted(directory.iterdir())
    by_previous = {read(path.read_bytes()).linking.previous.digest: path for path in files}
    first = by_previous[""]
    end, forged = archive_of(b"forged", b"b0")
    first.unlink()
    (directory / end.file_name).write_bytes(forged)
    code, report = verify(directory)
    assert code == 1
    assert any("before it is missing" in str(entry["problems"]) for entry in report["archives"])


@pytest.mark.parametrize("gone", [0, 1])
def test_an_archive_that_was_taken_away_is_missed(directory: Path, gone: int) -> None:
    links = {read(path.read_bytes()).linking.previous.digest: path for path in directory.iterdir()}
    path = links[""]
    for _ in range(gone):
        path = links[read(path.read_bytes()).linking.last_digest]
    path.unlink()
    assert verify(directory)[0] == 1


def test_the_newest_archive_is_missed_when_its_end_is_known(directory: Path) -> None:
    linkings = [read(path.read_bytes()).linking for path in directory.iterdir()]
    previous = {linking.previous.digest for linking in linkings}
    (end,) = {linking.last_digest for linking in linkings} - previous
    assert verify(directory, "--last", end)[0] == 0
    for path in directory.iterdir():
        if read(path.read_bytes()).linking.last_digest == end:
            path.unlink()
    assert verify(directory)[0] == 0
    assert verify(directory, "--last", end)[0] == 1


def test_archives_with_exchanged_names_are_seen(directory: Path) -> None:
    one, two, _three = sorted(directory.iterdir())
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert verify(directory)[0] == 1


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_cut_archive_is_refused(directory: Path, cut: int) -> None:
    path = next(iter(directory.iterdir()))
    path.write_bytes(path.read_bytes()[:-cut])
    assert verify(directory)[0] == 1


def test_every_changed_byte_of_a_container_is_noticed() -> None:
    _end, data = archive_of(b"one " * 20)
    at = data.index(b"one ")
    for offset in range(0, 80, 7):
        changed = bytearray(data)
        changed[at + offset] ^= 1
        assert "damaged" in problems(bytes(changed))[ONE]  # the ZIP's own checksum


@pytest.mark.parametrize(
    "name", ["../x.asice", "/etc/passwd", "a/b.asice", "a\\b.asice", "..", "a\x1b[2Jb.asice"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    data = rewritten(archive_of(b"one")[1], {name: b"x"})
    assert "no plain file name" in refused(data)


def test_two_entries_of_one_name_are_refused() -> None:
    out = io.BytesIO(archive_of(b"one")[1])
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(ONE, b"other")
    assert "two entries" in refused(out.getvalue())


def test_a_bomb_is_not_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("linkinginfo", "- - SHA-512\n")
        archive.writestr("x.asice", b"x")
    data = bytearray(out.getvalue())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 0xFFFFFFF0)
    assert "unpacks to" in refused(bytes(data))


def test_entries_that_share_bytes_are_refused() -> None:
    _end, data = archive_of(b"one", b"two")
    entry = struct.Struct("<4s20x2xH")
    changed = bytearray(data)
    first = changed.index(b"PK\x01\x02")
    second = changed.index(b"PK\x01\x02", first + 4)
    assert entry.size
    changed[second + 42 : second + 46] = changed[first + 42 : first + 46]
    assert "overlap" in refused(bytes(changed))


def test_a_rest_of_something_else_is_no_archive() -> None:
    for data in (b"", b"PK", b"PK\x05\x06" + bytes(18), bytes(100)):
        assert refused(data)


def test_a_container_under_another_messages_name_is_seen(tmp_path: Path) -> None:
    bench = Bench.create()
    data = encode_container(bench.container(), AT)
    for query_id, problem in (("q-1", False), ("another", True)):
        file = io.BytesIO()
        builder = ArchiveBuilder(file, ArchiveEnd())
        name = container_file_name(query_id, is_response=False, record_id=7)
        builder.add(name, data, AT)
        builder.finish(AT)
        path = tmp_path / f"{query_id}.zip"
        path.write_bytes(file.getvalue())
        verdict = archive_command.Judge(bench.globalconf).judge(path)
        assert bool(verdict.problems) is problem
        assert verdict.verified == (0 if problem else 1)


def test_a_container_whose_signature_fails_makes_its_archive_invalid(tmp_path: Path) -> None:
    bench, other = Bench.create(), Bench.create()
    data = encode_container(other.container(), AT)
    end, archive = archive_of(data)
    (tmp_path / end.file_name).write_bytes(archive)
    judge = archive_command.Judge(bench.globalconf)
    assert judge.judge(tmp_path / end.file_name).word == "invalid"


def test_the_references_two_archives_follow_each_other() -> None:
    code, report = verify(CHAIN)
    assert code == 0
    assert report["chains"] == [["message-archive-0.zip", "message-archive-1.zip"]]
    assert verify(CHAIN / "message-archive-1.zip")[0] == 1
    previous = read((CHAIN / "message-archive-0.zip").read_bytes()).linking.last_digest
    assert verify(CHAIN / "message-archive-1.zip", "--previous", previous)[0] == 0


def test_what_cannot_be_judged_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mlog-x.zip.gpg").write_bytes(b"?")
    assert verify(tmp_path)[0] == 2
