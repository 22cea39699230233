from __future__ import annotations

from datetime import timedelta

import pytest

from postroad.errors import MalformedInput
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.hashchain_verification import verify_hash_chain
from postroad.evidence.xades import add_signature_timestamp
from postroad.evidence.xades_parsing import parse_signature
from postroad.securityserver.messagelog.reading import PendingSignature
from postroad.securityserver.messagelog.records import SIGNATURE_DIGEST
from postroad.securityserver.messagelog.stamping_plan import (
    next_run,
    order_services,
    plan_batch,
    plan_single,
    signatures_to_take,
    stamping_interval,
)
from support.signing import Bench, message_parts


def pending(number: int, signature: bytes) -> PendingSignature:
    return PendingSignature(number, SIGNATURE_DIGEST.digest(signature))


@pytest.fixture(scope="module")
def signature() -> bytes:
    return Bench.create().sign(message_parts(b"message")).signature


def test_a_single_stamp_is_over_the_decoded_signature_value(signature: bytes) -> None:
    plan = plan_single(pending(1, signature), signature)
    assert plan.data == parse_signature(signature).value


def test_a_signature_that_cannot_be_read_gets_no_single_stamp() -> None:
    with pytest.raises(MalformedInput):
        plan_single(pending(1, b"<other/>"), b"<other/>")


def test_a_signature_that_has_a_stamp_gets_no_second_one(signature: bytes) -> None:
    stamped = add_signature_timestamp(signature, b"token")
    with pytest.raises(MalformedInput):
        plan_single(pending(1, stamped), stamped)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_batch_stamp_proves_each_of_its_signatures(count: int) -> None:
    signatures = [f"<signature {number}/>".encode() for number in range(count)]
    plan = plan_batch([pending(number, data) for number, data in enumerate(signatures, 1)])
    assert plan.signature_ids == tuple(range(1, count + 1))
    parts = [PartDigest.of(SIGNATURES_PART, data, SIGNATURE_DIGEST) for data in signatures]
    built = build_hash_chains(
        [[part] for part in (parts if count > 1 else parts * 2)],
        SIGNATURE_DIGEST,
        chain_file=TIMESTAMP_CHAIN_PART,
    )
    assert plan.data == built.result
    assert plan.leaves[: count * SIGNATURE_DIGEST.size] == b"".join(part.value for part in parts)
    for part, chain in zip(parts, built.chains, strict=False):
        verify_hash_chain(plan.data, {TIMESTAMP_CHAIN_PART: chain}, {SIGNATURES_PART: part})


def test_a_batch_may_hold_the_same_signature_twice() -> None:
    plan = plan_batch([pending(1, b"<same/>"), pending(2, b"<same/>")])
    assert plan.signature_ids == (1, 2)


@pytest.mark.parametrize(
    ("configured", "lowered_to", "expected"),
    [
        (300, None, 300),
        (59, None, 60),
        (0, None, 60),
        (86_401, None, 86_400),
        (300, 2.0, 2),
        (300, 600.0, 300),
        (30, 45.0, 45),
    ],
)
def test_the_interval_stays_within_its_bounds_and_settings_only_lower_it(
    configured: int, lowered_to: float | None, expected: int
) -> None:
    interval = stamping_interval(timedelta(seconds=configured), lowered_to)
    assert interval == timedelta(seconds=expected)


@pytest.mark.parametrize(
    ("is_failing", "more_waiting", "interval", "expected"),
    [
        (False, False, 300, 300),
        (False, True, 300, 0),
        (True, False, 300, 60),
        (True, True, 300, 60),
        (True, False, 10, 10),
    ],
)
def test_the_next_run_comes_after(
    is_failing: bool, more_waiting: bool, interval: int, expected: int
) -> None:
    rest = next_run(
        timedelta(seconds=interval),
        is_failing=is_failing,
        more_waiting=more_waiting,
        retry_delay=timedelta(seconds=60),
    )
    assert rest == timedelta(seconds=expected)


def test_after_a_failure_records_are_tried_one_at_a_time() -> None:
    assert signatures_to_take(10_000, is_failing=True) == 1
    assert signatures_to_take(10_000, is_failing=False) == 10_000


def test_services_are_asked_in_the_administrators_order_once_each() -> None:
    assert order_services(["b", "a", "", "b", "c"]) == ("b", "a", "c")
