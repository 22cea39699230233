"""One client can't take what belongs to all."""

from __future__ import annotations

import pytest

from postroad.errors import FaultCode
from postroad.identifiers import SubsystemId
from postroad.securityserver import flood_limits
from postroad.securityserver.flood_limits import FloodLimit, TooManyRequests

ONE = SubsystemId("TEST", "GOV", "1", "one")
OTHER = SubsystemId("TEST", "GOV", "1", "other")


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def admitted(limit: FloodLimit, client: SubsystemId, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            limit.admit(client)
        except TooManyRequests:
            continue
        count += 1
    return count


def test_a_burst_is_let_through_then_the_rate_holds_for_each_client_apart() -> None:
    time = Time()
    limit = FloodLimit(10.0, time)
    assert admitted(limit, ONE, 100) == 20
    assert admitted(limit, OTHER, 100) == 20
    time.now = 1.0
    assert admitted(limit, ONE, 100) == 10
    time.now = 1000.0
    assert admitted(limit, ONE, 100) == 20


def test_who_is_refused_hears_when_to_come_again() -> None:
    time = Time()
    limit = FloodLimit(0.1, time)
    limit.admit(ONE)
    with pytest.raises(TooManyRequests, match="try again in 10 s") as refused:
        limit.admit(ONE)
    assert (refused.value.retry_after, refused.value.code) == (10, FaultCode.BAD_REQUEST)
    time.now = 10.0
    limit.admit(ONE)


def test_zero_is_no_limit() -> None:
    assert admitted(FloodLimit(0.0, Time()), ONE, 1000) == 1000


def test_no_more_clients_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flood_limits, "MAX_CLIENTS", 1)
    limit = FloodLimit(1.0, Time())
    assert admitted(limit, ONE, 5) == 2
    limit.admit(OTHER)
    assert admitted(limit, ONE, 5) == 2
