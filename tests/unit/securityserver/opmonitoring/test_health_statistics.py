from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from postroad.messages.soap_monitoring import ServiceHealth
from postroad.securityserver.opmonitoring.health_statistics import MAX_SERVICES, HealthStatistics
from postroad.securityserver.opmonitoring.record import CLIENT, PRODUCER, OperationalRecord


def record(
    code: str | None = "persons", *, succeeded: int = 1, size: int = 5, kind: str = PRODUCER
) -> OperationalRecord:
    return OperationalRecord(
        security_server_type=kind,
        service_xroad_instance="TEST",
        service_member_class="GOV",
        service_member_code="2",
        service_code=code,
        succeeded=succeeded,
        request_in_ts=1000,
        response_out_ts=1000 + size,
        request_size=size,
    )


def kept(period: int = 600) -> HealthStatistics:
    return HealthStatistics(started=0, period=period)


def only(found: HealthStatistics, at: int) -> ServiceHealth:
    (health,) = found.of_provider(None, at)
    return health


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=30))
def test_the_spread_is_that_of_all_values_in_the_period(sizes: list[int]) -> None:
    found = kept()
    for second, size in enumerate(sizes):
        found.note(record(size=size), second)
    spread = only(found, len(sizes)).request_size
    assert spread is not None
    assert (spread.least, spread.largest) == (min(sizes), max(sizes))
    assert abs(spread.mean - statistics.fmean(sizes)) < 1e-3
    assert abs(spread.deviation - statistics.stdev(sizes)) < 1e-3


def test_one_value_has_no_deviation_and_what_is_unknown_has_no_spread() -> None:
    found = kept()
    found.note(record(), 1)
    health = only(found, 1)
    assert health.request_size is not None
    assert health.request_size.deviation == 0
    assert health.response_size is None


def test_failures_count_and_have_no_spread() -> None:
    found = kept()
    found.note(record(succeeded=0), 1)
    health = only(found, 1)
    assert (health.successes, health.failures) == (0, 1)
    assert (health.last_success, health.last_failure) == (None, 1005)
    assert health.duration is None


def test_what_is_older_than_the_period_is_forgotten_but_for_its_moment() -> None:
    found = kept(period=10)
    found.note(record(), 1)
    assert only(found, 10).successes == 1
    health = only(found, 11)
    assert (health.successes, health.last_success) == (0, 1005)


def test_exchanges_of_our_clients_and_without_a_service_do_not_count() -> None:
    found = kept()
    found.note(record(kind=CLIENT), 1)
    found.note(record(None), 1)
    assert list(found.of_provider(None, 1)) == []


def test_names_of_services_that_do_not_exist_cannot_fill_the_memory() -> None:
    found = kept()
    for number in range(MAX_SERVICES + 10):
        found.note(record(f"s{number}", succeeded=0), 1)
    assert len(list(found.of_provider(None, 1))) == MAX_SERVICES
