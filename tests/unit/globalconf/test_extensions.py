from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.extensions import FetchInterval, Monitoring, NextUpdate, check_extension
from postroad.identifiers import MemberId
from support.globalconf import HANDMADE, OWNER, REGISTRY

if TYPE_CHECKING:
    from postroad.identifiers import ClientId


def read(name: str) -> bytes:
    return (HANDMADE / f"{name}-params.xml").read_bytes()


def test_reads_the_reference_examples() -> None:
    assert Monitoring.parse(read("valid-monitoring")).client == MemberId("fdev", "GOV", "66655666")
    assert FetchInterval.parse(read("valid-fetchinterval")).interval == timedelta(seconds=500)
    assert NextUpdate.parse(read("valid-nextupdate")).verify is False


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("MONITORING", "invalid-monitoring"),
        ("FETCHINTERVAL", "invalid-fetchinterval"),
        ("FETCHINTERVAL", "empty-fetchinterval"),
        ("NEXTUPDATE", "invalid-nextupdate"),
        ("NEXTUPDATE", "empty-nextupdate"),
        ("MONITORING", "valid-nextupdate"),
    ],
)
def test_refuses_parts_that_break_their_schema(identifier: str, name: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        check_extension(identifier, read(name))
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_an_empty_monitoring_client_means_nobody() -> None:
    assert Monitoring.parse(read("empty-monitoring")).client is None


@pytest.mark.parametrize("client", [None, OWNER, REGISTRY])
def test_monitoring_is_read_back(client: ClientId | None) -> None:
    assert Monitoring.parse(Monitoring(client).encode()) == Monitoring(client)


def test_the_others_are_read_back() -> None:
    interval = FetchInterval(timedelta(seconds=90))
    assert FetchInterval.parse(interval.encode()) == interval
    for verify in (True, False):
        assert NextUpdate.parse(NextUpdate(verify).encode()).verify is verify


def test_fetch_interval_is_at_least_a_minute() -> None:
    data = FetchInterval(timedelta(seconds=1)).encode()
    assert FetchInterval.parse(data).interval == timedelta(seconds=60)


@pytest.mark.parametrize("number", ["0", "-5", "99999999999999999999"])
def test_refuses_impossible_fetch_intervals(number: str) -> None:
    data = read("valid-fetchinterval").replace(b"500", number.encode())
    with pytest.raises(MalformedInput):
        FetchInterval.parse(data)


def test_refuses_unknown_parts() -> None:
    with pytest.raises(MalformedInput):
        check_extension("FOO", read("valid-monitoring"))
