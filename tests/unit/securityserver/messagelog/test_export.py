from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.asic import parse_container
from postroad.evidence.container_verification import verify_container
from postroad.identifiers import MemberId
from postroad.securityserver.messagelog.export import (
    build_container,
    encode_record,
    export_containers,
)
from postroad.securityserver.messagelog.reading import StoredRecord
from postroad.securityserver.messagelog.records import Direction
from support.signing import CLIENT, REST_REQUEST, Bench
from support.stamping import StampingBench, sqlite_url, stamping_bench


@pytest.fixture(scope="module")
def signing() -> Bench:
    return Bench.create()


@pytest.fixture
def bench(tmp_path: Path, signing: Bench) -> Iterator[StampingBench]:
    with stamping_bench(sqlite_url(tmp_path), signing) as made:
        yield made


def stamp(bench: StampingBench) -> None:
    asyncio.run(bench.job().run_once())


def load(bench: StampingBench, record_id: int) -> StoredRecord:
    stored = bench.log.reader.load(record_id)
    assert stored is not None
    return stored


def test_a_container_holds_what_was_logged(bench: StampingBench) -> None:
    record_id = bench.append(b"the body")
    bench.append()
    stamp(bench)
    stored = load(bench, record_id)
    container = build_container(stored)
    assert container.message == REST_REQUEST
    assert container.signatures == stored.signature
    assert (container.hash_chain, container.hash_chain_result) == (
        stored.hash_chain,
        stored.hash_chain_result,
    )
    assert stored.timestamp is not None
    assert container.timestamp == stored.timestamp.token
    assert [(a.name, a.data) for a in container.attachments] == [("attachment1", b"the body")]


def test_a_record_stamped_by_itself_has_its_token_in_the_signature_only(
    bench: StampingBench,
) -> None:
    record_id = bench.append()
    stamp(bench)
    container = build_container(load(bench, record_id))
    assert container.timestamp is None
    assert container.timestamp_chain is None
    assert container.timestamp_chain_result is None
    verify_container(container, bench.signing.globalconf)


def test_a_body_that_was_not_kept_is_listed_as_unseen(bench: StampingBench) -> None:
    record_id = bench.append(b"too large", keep_body=False)
    stamp(bench)
    container = build_container(load(bench, record_id))
    assert container.attachments == ()
    report = verify_container(container, bench.signing.globalconf)
    (attachment,) = report.attachments
    assert attachment.name == "attachment1"


def test_an_unstamped_record_makes_no_container(bench: StampingBench) -> None:
    record_id = bench.append()
    with pytest.raises(ConfigurationError) as refused:
        build_container(load(bench, record_id))
    assert refused.value.code is FaultCode.ASIC_TIMESTAMP_NOT_FOUND


def test_a_container_file_is_named_by_the_protocols_rule(bench: StampingBench) -> None:
    record_id = bench.append(query_id="a/b c", direction=Direction.RESPONSE)
    stamp(bench)
    assert encode_record(load(bench, record_id)).name == "a%2Fb+c-response-1.asice"


def test_all_containers_of_a_message_are_written(bench: StampingBench, tmp_path: Path) -> None:
    bench.append(query_id="q", direction=Direction.REQUEST)
    bench.append(query_id="q", direction=Direction.RESPONSE)
    bench.append(query_id="other")
    stamp(bench)
    out = tmp_path / "out"
    out.mkdir()
    written = export_containers(bench.log.url, "q", out)
    assert [path.name for path in written] == ["q-request-1.asice", "q-response-2.asice"]
    for path in written:
        verify_container(parse_container(path.read_bytes()), bench.signing.globalconf)
    only = export_containers(bench.log.url, "q", out, direction=Direction.REQUEST, party=CLIENT)
    assert only == written[:1]


def test_nothing_is_written_for_an_unknown_message(bench: StampingBench, tmp_path: Path) -> None:
    bench.append(query_id="q")
    assert export_containers(bench.log.url, "unknown", tmp_path) == []
    assert export_containers(bench.log.url, "q", tmp_path, party=MemberId("A", "B", "C")) == []


def test_a_directory_that_cannot_be_written_is_told(bench: StampingBench, tmp_path: Path) -> None:
    bench.append(query_id="q")
    stamp(bench)
    with pytest.raises(ConfigurationError, match="can't be written") as refused:
        export_containers(bench.log.url, "q", tmp_path / "none")
    assert refused.value.code is FaultCode.IO_ERROR
