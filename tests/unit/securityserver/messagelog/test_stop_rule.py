from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.stop_rule import (
    ServiceStatus,
    TimestampingState,
    decide_logging,
)
from support.messagelog import NOW

HOUR = timedelta(hours=1)
ACCEPTABLE = timedelta(hours=4)


def decide(
    state: TimestampingState,
    *,
    oldest: datetime | None = None,
    since: datetime = NOW - 100 * HOUR,
    acceptable: timedelta = ACCEPTABLE,
) -> ConfigurationError | None:
    return decide_logging(
        state,
        oldest_pending=oldest,
        watching_since=since,
        acceptable_failure=acceptable,
        at=NOW,
    )


def stopped(decision: ConfigurationError | None, fault_code: str) -> str:
    assert decision is not None
    assert decision.fault_code == fault_code
    return decision.message


def test_logs_while_stamping_works() -> None:
    assert decide(TimestampingState(configured=True, last_success=NOW)) is None


def test_stops_without_a_timestamping_service() -> None:
    reason = stopped(
        decide(TimestampingState(configured=False)),
        "logging_failed.mlog.no_timestamping_provider_found",
    )
    assert "no time-stamping service is configured" in reason


def test_stops_while_nobody_knows_whether_there_is_a_service() -> None:
    reason = stopped(
        decide(TimestampingState()), "logging_failed.mlog.no_timestamping_provider_found"
    )
    assert "not started" in reason


def test_logs_while_stamping_fails_for_an_acceptable_time() -> None:
    assert decide(TimestampingState(configured=True, failing_since=NOW - ACCEPTABLE)) is None


def test_stops_when_stamping_has_failed_for_too_long() -> None:
    since = NOW - ACCEPTABLE - timedelta(seconds=1)
    reason = stopped(
        decide(TimestampingState(configured=True, failing_since=since)),
        "logging_failed.timestamping_failed",
    )
    assert "2026-03-01T07:59:59+00:00" in reason


def test_an_acceptable_period_of_zero_never_stops_for_failures() -> None:
    state = TimestampingState(configured=True, failing_since=NOW - 1000 * HOUR)
    assert decide(state, oldest=NOW - 1000 * HOUR, acceptable=timedelta(0)) is None


def test_an_acceptable_period_of_zero_still_needs_a_service() -> None:
    assert decide(TimestampingState(configured=False), acceptable=timedelta(0)) is not None


def test_stops_when_records_stay_unstamped_though_nobody_reports_a_failure() -> None:
    state = TimestampingState(configured=True, last_success=NOW - 9 * HOUR, interval=60)
    oldest = NOW - ACCEPTABLE - timedelta(seconds=61)
    assert decide(state, oldest=oldest + timedelta(seconds=1)) is None
    stopped(decide(state, oldest=oldest), "logging_failed.timestamping_failed")


def test_a_long_interval_is_no_failure() -> None:
    state = TimestampingState(configured=True, interval=timedelta(hours=24).total_seconds())
    assert decide(state, oldest=NOW - 25 * HOUR) is None


def test_time_while_the_server_was_off_does_not_count() -> None:
    state = TimestampingState(configured=True)
    assert decide(state, oldest=NOW - 50 * HOUR, since=NOW - HOUR) is None
    assert decide(state, oldest=NOW - 50 * HOUR, since=NOW - 5 * HOUR) is not None


def test_state_survives_its_stored_form() -> None:
    state = TimestampingState(
        configured=True,
        failing_since=NOW,
        last_success=NOW - HOUR,
        interval=90,
        services=(ServiceStatus(url="http://tsa.test", ok=False, at=NOW, code="x", message="y"),),
    )
    assert TimestampingState.parse(state.encode()) == state


@pytest.mark.parametrize("stored", [None, b"", b"{", b'{"configured": 3}', b"\xff"])
def test_a_state_that_cannot_be_read_counts_as_unknown(stored: bytes | None) -> None:
    assert TimestampingState.parse(stored) == TimestampingState()
