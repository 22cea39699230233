from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.container_verification import ContainerReport, verify_container
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART, PartDigest
from postroad.evidence.hashchain_verification import verify_hash_chain
from postroad.ports import FetchedResponse
from postroad.securityserver.messagelog import timestamping
from postroad.securityserver.messagelog.export import build_container
from postroad.securityserver.messagelog.stop_rule import TimestampingState
from postroad.securityserver.messagelog.timestamping import StampingReport, StampingRules
from support.signing import NOW, SHA512, Bench
from support.stamping import TSA, StampingBench, sqlite_url, stamping_bench, unreachable


@pytest.fixture(scope="module")
def signing() -> Bench:
    return Bench.create()


@pytest.fixture
def bench(tmp_path: Path, signing: Bench) -> Iterator[StampingBench]:
    with stamping_bench(sqlite_url(tmp_path), signing) as made:
        yield made


def run(bench: StampingBench) -> StampingReport:
    return asyncio.run(bench.job().run_once())


def verified(bench: StampingBench, record_id: int) -> ContainerReport:
    stored = bench.log.reader.load(record_id)
    assert stored is not None
    return verify_container(build_container(stored), bench.signing.globalconf)


def test_a_lone_record_gets_a_stamp_of_its_own(bench: StampingBench) -> None:
    record_id = bench.append(b"body")
    report = run(bench)
    assert (report.stamped, report.error) == (1, None)
    proof = verified(bench, record_id)
    assert not proof.batch_timestamp
    assert abs(proof.timestamp.gen_time - bench.clock.now()) < timedelta(seconds=1)
    stored = bench.log.reader.load(record_id)
    assert stored is not None
    assert b"<xades:SignatureTimeStamp" in stored.signature


def test_several_records_share_a_stamp(bench: StampingBench) -> None:
    ids = [bench.append(), bench.append(b"body"), bench.append(b"not kept", keep_body=False)]
    assert run(bench).stamped == 3
    assert bench.services.asked == [TSA]
    for record_id in ids:
        assert verified(bench, record_id).batch_timestamp


def test_nothing_is_asked_when_nothing_waits(bench: StampingBench) -> None:
    report = run(bench)
    assert (report.stamped, report.error, report.next_in) == (0, None, 300)
    assert bench.services.asked == []
    assert bench.state().configured is True


def test_a_stamped_record_is_not_stamped_again(bench: StampingBench) -> None:
    bench.append()
    run(bench)
    assert run(bench).stamped == 0


def test_the_stored_token_holds_the_authoritys_certificate(bench: StampingBench) -> None:
    record_id = bench.append()
    run(bench)
    stored = bench.log.reader.load(record_id)
    assert stored is not None
    assert stored.timestamp is not None
    assert bench.signing.lab.tsa_certificate.der in stored.timestamp.token


def test_a_full_batch_is_followed_at_once(bench: StampingBench) -> None:
    bench.rules = StampingRules(records_limit=2)
    for _ in range(3):
        bench.append()
    first, second = run(bench), run(bench)
    assert (first.stamped, first.next_in) == (2, 0)
    assert (second.stamped, second.next_in) == (1, 300)


def test_records_are_marked_in_small_steps(
    bench: StampingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamping, "APPLY_CHUNK", 2)
    for _ in range(5):
        bench.append()
    assert run(bench).stamped == 5
    assert bench.direct.chunks == [2, 2, 1]


def test_the_next_service_is_asked_when_one_fails(bench: StampingBench) -> None:
    bench.urls = ["http://down.test", "http://broken.test", TSA]
    bench.services.answers = {
        "http://down.test": unreachable(),
        "http://broken.test": FetchedResponse(503, (), b""),
    }
    bench.append()
    assert run(bench).stamped == 1
    state = bench.state()
    assert state.failing_since is None
    assert [(s.url, s.ok, s.code) for s in state.services] == [
        ("http://down.test", False, "network_error"),
        ("http://broken.test", False, "mlog.timestamping_non_ok_response"),
        (TSA, True, ""),
    ]


def test_an_unapproved_service_is_not_believed(bench: StampingBench) -> None:
    stranger = Bench.create().lab
    bench.services.lab = stranger
    bench.append()
    report = run(bench)
    assert report.error is not None
    assert report.error.code is FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND
    assert bench.log.reader.count_pending() == 1


def test_a_stamp_over_other_data_is_not_believed(bench: StampingBench) -> None:
    from postroad.crypto.algorithms import DigestAlgorithm
    from postroad.crypto.timestamps import build_request

    other = build_request(bytes(64), DigestAlgorithm.SHA512)
    bench.services.answers[TSA] = bench.signing.lab.answer_timestamp(other, at=NOW)
    bench.append()
    report = run(bench)
    assert report.error is not None
    assert report.error.code is FaultCode.TIMESTAMPING_FAILED


@pytest.mark.parametrize("answer", [b"\x30\x00", b"not DER", b"\x00" * 300_000])
def test_an_answer_that_is_no_response_is_a_failure(bench: StampingBench, answer: bytes) -> None:
    bench.services.answers[TSA] = answer
    bench.append()
    assert run(bench).error is not None
    assert bench.state().failing_since == bench.clock.now()


def test_a_failure_is_remembered_from_its_beginning(bench: StampingBench) -> None:
    bench.services.answers[TSA] = unreachable()
    bench.append()
    began = bench.clock.now()
    first = run(bench)
    assert (first.next_in, first.state.failing_since) == (60, began)
    bench.clock.pass_time(minutes=1)
    assert run(bench).state.failing_since == began
    assert bench.state().last_success is None


def test_after_a_failure_records_are_stamped_singly_until_it_works(bench: StampingBench) -> None:
    bench.services.answers[TSA] = unreachable()
    ids = [bench.append(), bench.append(), bench.append()]
    run(bench)
    bench.services.answers.clear()
    first = run(bench)
    assert (first.stamped, first.next_in, first.state.failing_since) == (1, 0, None)
    assert not verified(bench, ids[0]).batch_timestamp
    assert run(bench).stamped == 2
    assert verified(bench, ids[1]).batch_timestamp


def test_no_service_means_not_configured(bench: StampingBench) -> None:
    bench.urls = []
    bench.append()
    report = run(bench)
    assert (report.stamped, report.state.configured, report.next_in) == (0, False, 5)
    bench.urls = [TSA]
    assert run(bench).stamped == 1
    assert bench.state().configured is True


def test_without_a_valid_configuration_nothing_is_tried_and_nothing_blamed(
    bench: StampingBench,
) -> None:
    globalconf = bench.globalconf
    bench.globalconf = ConfigurationError("expired", code=FaultCode.GLOBAL_CONF_OUTDATED)
    bench.append()
    report = run(bench)
    assert report.error is bench.globalconf
    assert report.next_in == 5
    assert bench.state() == TimestampingState(configured=True)
    assert bench.services.asked == []
    bench.globalconf = globalconf
    assert run(bench).stamped == 1


def test_a_configuration_problem_does_not_end_a_failure(bench: StampingBench) -> None:
    bench.services.answers[TSA] = unreachable()
    bench.append()
    began = bench.clock.now()
    run(bench)
    bench.globalconf = ConfigurationError("expired", code=FaultCode.GLOBAL_CONF_OUTDATED)
    assert run(bench).state.failing_since == began


@pytest.mark.parametrize("calls", range(5))
def test_a_crash_at_any_step_is_made_good_by_the_next_run(
    bench: StampingBench, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    monkeypatch.setattr(timestamping, "APPLY_CHUNK", 1)
    ids = [bench.append(), bench.append(), bench.append()]
    bench.direct.fail_after = calls
    job = bench.job()
    with pytest.raises(ConfigurationError):
        asyncio.run(job.run_once())
    bench.direct.fail_after = 10**9
    for _ in range(4):
        run(bench)
    assert bench.log.reader.count_pending() == 0
    for record_id in ids:
        verified(bench, record_id)


def test_a_single_stamp_lost_in_a_crash_is_made_good(bench: StampingBench) -> None:
    record_id = bench.append()
    bench.direct.fail_after = 0
    with pytest.raises(ConfigurationError):
        run(bench)
    bench.direct.fail_after = 10**9
    assert run(bench).stamped == 1
    verified(bench, record_id)


def test_a_signature_that_cannot_carry_a_stamp_gets_one_beside_it(bench: StampingBench) -> None:
    from support.messagelog import record

    (odd,) = bench.log.store.append_many([record(signature=b"<odd/>")])
    report = run(bench)
    assert (report.stamped, report.error) == (1, None)
    stored = bench.log.reader.load(odd)
    assert stored is not None
    assert stored.signature == b"<odd/>"
    assert stored.timestamp is not None
    assert stored.timestamp.hash_chain_result is not None
    verify_hash_chain(
        stored.timestamp.hash_chain_result,
        {TIMESTAMP_CHAIN_PART: stored.timestamp.hash_chain or b""},
        {SIGNATURES_PART: PartDigest.of(SIGNATURES_PART, b"<odd/>", SHA512)},
    )


def test_a_damaged_signature_is_no_obstacle_for_others(bench: StampingBench) -> None:
    bench.services.answers[TSA] = unreachable()
    damaged = bench.append(at=NOW - timedelta(hours=1))
    bench.log.store._database.change(
        "UPDATE signature SET signature = ? WHERE id = ?", (b"<x/>", damaged)
    )
    good = bench.append()
    run(bench)
    bench.services.answers.clear()
    assert [run(bench).stamped, run(bench).stamped] == [1, 1]  # one at a time, the damaged first
    verified(bench, good)


def test_certain_records_can_be_stamped_now(bench: StampingBench) -> None:
    ids = [bench.append(), bench.append(), bench.append()]
    asyncio.run(bench.job().stamp_now([ids[1]]))
    assert not verified(bench, ids[1]).batch_timestamp
    assert [waiting.id for waiting in bench.log.reader.pending(10)] == [ids[0], ids[2]]
    asyncio.run(bench.job().stamp_now([ids[1]]))
    assert len(bench.services.asked) == 1


def test_stamping_now_tells_when_nobody_stamps(bench: StampingBench) -> None:
    record_id = bench.append()
    bench.services.answers[TSA] = unreachable()
    with pytest.raises(ConfigurationError) as failed:
        asyncio.run(bench.job().stamp_now([record_id]))
    assert failed.value.code is FaultCode.TIMESTAMPING_FAILED
    bench.urls = []
    with pytest.raises(ConfigurationError) as nobody:
        asyncio.run(bench.job().stamp_now([record_id]))
    assert nobody.value.code is FaultCode.MLOG_NO_TIMESTAMPING_PROVIDER_FOUND


def test_runs_of_one_job_follow_each_other(bench: StampingBench) -> None:
    bench.append()
    job = bench.job()

    async def both() -> list[int]:
        reports = await asyncio.gather(job.run_once(), job.run_once())
        return [report.stamped for report in reports]

    assert asyncio.run(both()) == [1, 0]
    assert len(bench.services.asked) == 1


def test_two_jobs_may_stamp_at_once_and_each_record_keeps_one_stamp(bench: StampingBench) -> None:
    ids = [bench.append(), bench.append()]

    async def both() -> int:
        reports = await asyncio.gather(bench.job().run_once(), bench.job().run_once())
        return sum(report.stamped for report in reports)

    assert asyncio.run(both()) == 2
    for record_id in ids:
        verified(bench, record_id)


def test_a_service_whose_clock_differs_is_remarked(bench: StampingBench) -> None:
    bench.append()
    bench.services.clock = replace(bench.clock)
    bench.services.clock.pass_time(seconds=45)
    assert run(bench).stamped == 1
    (status,) = bench.state().services
    assert status.ok
    assert "its clock says" in status.message


@pytest.mark.parametrize("minutes", [2, -2, 60, -60])
def test_a_stamp_far_from_our_own_time_is_refused(bench: StampingBench, minutes: int) -> None:
    bench.append()
    bench.services.clock = replace(bench.clock)
    bench.services.clock.pass_time(minutes=minutes)
    assert run(bench).stamped == 0
    (status,) = bench.state().services
    assert not status.ok
    assert "its clock says" in status.message
    assert bench.state().failing_since is not None


def test_a_service_that_is_no_longer_configured_is_forgotten(bench: StampingBench) -> None:
    bench.append()
    run(bench)
    bench.urls = ["http://other.test"]
    assert run(bench).state.services == ()
