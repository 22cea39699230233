from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest

from postroad.adapters.openpgp import OpenPgpSecret
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, RefusedRequest
from postroad.evidence.asic import parse_container
from postroad.evidence.container_verification import verify_container
from postroad.globalconf.stored import load
from postroad.identifiers import ClientId, MemberId
from postroad.securityserver.messagelog import container_requests
from postroad.securityserver.messagelog.archive_encryption import seal_for
from postroad.securityserver.messagelog.container_requests import (
    Answer,
    encode_verification_configuration,
    handle_asic,
    handle_verification_configuration,
    parse_question,
)
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import Direction
from postroad.securityserver.settings import parse_settings
from support.signing import CLIENT, REFERENCE, Bench
from support.stamping import TSA, StampingBench, sqlite_url, stamping_bench, unreachable

PARTY = {
    "xRoadInstance": "TEST",
    "memberClass": "COM",
    "memberCode": "1234",
    "subsystemCode": "app",
}


@pytest.fixture(scope="module")
def signing() -> Bench:
    return Bench.create()


@pytest.fixture
def bench(tmp_path: Path, signing: Bench) -> Iterator[StampingBench]:
    with stamping_bench(sqlite_url(tmp_path), signing) as made:
        yield made


def query(*flags: str, **fields: str) -> str:
    return "&".join([urlencode({"queryId": "q-1", **PARTY, **fields}), *flags])


def ask(
    bench: StampingBench,
    text: str,
    *,
    known: ClientId = CLIENT,
    may_stamp: bool = True,
    seal: Callable[[bytes, ClientId], bytes] | None = None,
) -> Answer:
    async def authenticate(client: ClientId) -> None:
        if client != known:
            raise RefusedRequest("not you", code=FaultCode.UNKNOWN_MEMBER)

    async def stamp(record_ids: Sequence[int]) -> None:
        await bench.job().stamp_now(record_ids)

    return asyncio.run(
        handle_asic(
            text,
            open_reader=lambda: LogReader.open(bench.log.url),
            authenticate=authenticate,
            stamp_now=stamp if may_stamp else None,
            seal=seal,
        )
    )


def stamp(bench: StampingBench) -> None:
    asyncio.run(bench.job().run_once())


def exchange(bench: StampingBench, query_id: str = "q-1") -> None:
    bench.append(b"body", query_id=query_id, direction=Direction.REQUEST)
    bench.append(query_id=query_id, direction=Direction.RESPONSE)


def test_both_containers_come_in_an_uncompressed_zip(bench: StampingBench) -> None:
    exchange(bench)
    stamp(bench)
    answer = ask(bench, query())
    assert answer.status == 200
    assert dict(answer.headers) == {
        "Content-Type": "application/zip",
        "Content-Disposition": 'attachment; filename="q-1.zip"',
    }
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.namelist() == ["q-1-request-1.asice", "q-1-response-2.asice"]
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            verify_container(parse_container(archive.read(entry)), bench.signing.globalconf)


@pytest.mark.parametrize(
    ("flag", "kind"), [("requestOnly", "request"), ("responseOnly", "response")]
)
def test_one_direction_can_be_asked_for(bench: StampingBench, flag: str, kind: str) -> None:
    exchange(bench)
    stamp(bench)
    answer = ask(bench, query(flag))
    assert dict(answer.headers)["Content-Disposition"] == f'attachment; filename="q-1-{kind}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert [kind in name for name in archive.namelist()] == [True]


def test_a_unique_container_comes_as_it_is(bench: StampingBench) -> None:
    exchange(bench)
    stamp(bench)
    answer = ask(bench, query("unique", "requestOnly"))
    assert dict(answer.headers) == {
        "Content-Type": "application/vnd.etsi.asic-e+zip",
        "Content-Disposition": 'attachment; filename="q-1-request-1.asice"',
    }
    verify_container(parse_container(answer.body), bench.signing.globalconf)


def test_a_message_id_used_twice_is_not_unique(bench: StampingBench) -> None:
    exchange(bench)
    exchange(bench)
    stamp(bench)
    assert ask(bench, query("unique", "requestOnly")).status == 400
    with zipfile.ZipFile(io.BytesIO(ask(bench, query()).body)) as archive:
        assert len(set(archive.namelist())) == 4


def test_an_unstamped_message_is_a_server_error_unless_forced(bench: StampingBench) -> None:
    exchange(bench)
    waiting = ask(bench, query())
    assert waiting.status == 500
    assert dict(waiting.headers) == {"Content-Type": "text/plain;charset=utf-8"}
    assert b"no time-stamp yet" in waiting.body
    assert ask(bench, query("force"), may_stamp=False).status == 500
    assert ask(bench, query("force")).status == 200
    assert bench.log.reader.count_pending() == 0
    assert ask(bench, query()).status == 200


def test_force_stamps_the_messages_asked_for_only(bench: StampingBench) -> None:
    exchange(bench)
    exchange(bench, "other")
    assert ask(bench, query("force")).status == 200
    assert bench.log.reader.count_pending() == 2


def test_force_tells_when_nobody_stamps(bench: StampingBench) -> None:
    exchange(bench)
    bench.services.answers[TSA] = unreachable()
    answer = ask(bench, query("force"))
    assert answer.status == 500
    assert b"can't be time-stamped now" in answer.body


def test_a_caller_that_is_not_the_client_is_turned_away(bench: StampingBench) -> None:
    exchange(bench)
    stamp(bench)
    answer = ask(bench, query(), known=MemberId("TEST", "COM", "1234"))
    assert (answer.status, answer.body) == (401, b"not you\n")


def test_a_stranger_does_not_learn_what_exists(bench: StampingBench) -> None:
    assert ask(bench, query(), known=MemberId("TEST", "COM", "1")).status == 401


@pytest.mark.parametrize(
    "fields", [{"queryId": "other"}, {"xRoadInstance": "ELSEWHERE"}, {"memberCode": "4321"}]
)
def test_nothing_found_is_not_found(bench: StampingBench, fields: dict[str, str]) -> None:
    exchange(bench)
    stamp(bench)
    text = query(**fields)
    assert ask(bench, text, known=parse_question(text).party).status == 404


def test_a_member_finds_nothing_of_its_subsystems(bench: StampingBench) -> None:
    exchange(bench)
    stamp(bench)
    text = query(subsystemCode="")
    assert parse_question(text).party == MemberId("TEST", "COM", "1234")
    assert ask(bench, text, known=MemberId("TEST", "COM", "1234")).status == 404


@pytest.mark.parametrize(
    "text",
    [
        "",
        "queryId=q-1",
        query(queryId=""),
        query(xRoadInstance=""),
        query("requestOnly", "responseOnly"),
        query("unique"),
        query("queryId=second"),
        query("broken=%ff"),
        query(queryId="x" * 20_000),
        query(*(f"field{number}" for number in range(60))),
        query(memberCode="x" * 256),
    ],
)
def test_a_question_that_breaks_the_rules_is_a_bad_request(bench: StampingBench, text: str) -> None:
    answer = ask(bench, text)
    assert answer.status == 400
    assert dict(answer.headers) == {"Content-Type": "text/plain;charset=utf-8"}


def test_a_bad_question_says_what_is_missing() -> None:
    with pytest.raises(MalformedInput, match="memberClass"):
        parse_question("queryId=q&xRoadInstance=TEST")


def test_a_message_id_cannot_break_out_of_a_header(bench: StampingBench) -> None:
    evil = 'a"\r\nX-Evil: 1\r\n'
    bench.append(query_id=evil)
    stamp(bench)
    for text in (query(queryId=evil), query("unique", "requestOnly", queryId=evil)):
        disposition = dict(ask(bench, text).headers)["Content-Disposition"]
        assert "\r" not in disposition
        assert disposition.count('"') == 2


def test_more_than_memory_allows_is_refused(
    bench: StampingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_requests, "MAX_ANSWER_BYTES", 3)
    exchange(bench)
    stamp(bench)
    assert ask(bench, query()).status == 400
    assert ask(bench, query("responseOnly")).status == 200


def test_a_record_purged_meanwhile_is_not_found(
    bench: StampingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange(bench)
    stamp(bench)
    monkeypatch.setattr(LogReader, "load", lambda self, record_id: None)
    assert ask(bench, query()).status == 404


def test_a_log_that_cannot_be_read_is_a_server_error(
    bench: StampingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConfigurationError("disk on fire", code=FaultCode.DATABASE_ERROR)

    monkeypatch.setattr(LogReader, "find", broken)
    assert ask(bench, query()).status == 500


def stored_files(name: str) -> dict[str, bytes]:
    root = REFERENCE / "globalconf" / "stored" / name
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", ["globalconf_good_v2", "globalconf_good_v6"])
def test_the_verification_configuration_can_be_loaded_again(name: str) -> None:
    files = stored_files(name)
    answer = asyncio.run(handle_verification_configuration(lambda: files))
    assert answer.status == 200
    assert dict(answer.headers) == {
        "Content-Type": "application/zip",
        "Content-Disposition": 'filename="verificationconf.zip"',
    }
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        unpacked = {
            path.removeprefix("verificationconf/"): archive.read(path)
            for path in archive.namelist()
        }
    before, after = load(files), load(unpacked)
    assert after.own_instance == before.own_instance
    assert after.tsa_certificates() == before.tsa_certificates()
    assert after.ca_certificates() == before.ca_certificates()
    assert not [path for path in unpacked if "private" in path]
    for path, data in unpacked.items():
        if path.endswith(".metadata"):
            assert set(json.loads(data)) == {"configurationVersion"}


def test_an_instance_without_shared_parameters_is_left_out() -> None:
    files = {"instance-identifier": b"TEST", "OTHER/private-params.xml": b"<x/>"}
    data = encode_verification_configuration(files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["verificationconf/instance-identifier"]


def test_no_configuration_is_a_server_error() -> None:
    answer = asyncio.run(handle_verification_configuration(dict))
    assert answer.status == 500


def test_where_archives_are_encrypted_answers_are_too(bench: StampingBench, tmp_path: Path) -> None:
    (tmp_path / "pgp").mkdir()
    own, member = OpenPgpSecret.generate("own"), OpenPgpSecret.generate("member")
    own.store(tmp_path / "pgp" / "own.key")
    (tmp_path / "pgp" / "member.asc").write_text(str(member.certificate))
    (tmp_path / "keys").write_text(f"TEST/COM/1234 = {member.certificate.fingerprint}")
    settings = parse_settings(
        '[server]\nidentifier = "T/C/1/S"\n[message_log]\narchive_encryption_enabled = true\n'
        'archive_grouping = "member"\narchive_encryption_keys_config = "keys"\n',
        home=tmp_path,
    )
    exchange(bench)
    stamp(bench)
    answer = ask(bench, query(), seal=partial(seal_for, settings))
    assert dict(answer.headers) == {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": 'attachment; filename="q-1.zip.gpg"',
    }
    opened = member.open(answer.body, [own.certificate])
    with zipfile.ZipFile(io.BytesIO(opened)) as archive:
        assert len(archive.namelist()) == 2
    (tmp_path / "pgp" / "member.asc").unlink()
    refused = ask(bench, query(), seal=partial(seal_for, settings))
    assert refused.status == 500
    assert b"PK" not in refused.body
    assert str(tmp_path).encode() not in refused.body
