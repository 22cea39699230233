from __future__ import annotations

import json
from datetime import timedelta

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.source_state import (
    MAX_STATE_BYTES,
    REPROBE_AFTER,
    ClientState,
    RememberedLocation,
    SourceState,
)
from postroad.globalconf.trusted import History
from support.globalconf import NOW

LOCATION = RememberedLocation("http://cs/internalconf", 6, NOW)
FULL = SourceState("54:70", LOCATION, History(NOW, NOW + timedelta(minutes=10), 6))


def test_is_read_back() -> None:
    state = ClientState({"own/EE": FULL, "federated/FI": SourceState("AA")})
    assert ClientState.parse(state.encode()) == state


def test_another_anchor_makes_a_source_forget() -> None:
    state = ClientState({"own/EE": FULL})
    assert state.of("own/EE", "54:70") is FULL
    assert state.of("own/EE", "other") == SourceState("other")
    assert state.of("own/FI", "54:70") == SourceState("54:70")


def test_a_remembered_version_is_fresh_for_a_while() -> None:
    assert LOCATION.is_fresh(NOW)
    assert LOCATION.is_fresh(NOW + REPROBE_AFTER - timedelta(seconds=1))
    assert not LOCATION.is_fresh(NOW + REPROBE_AFTER)
    assert not LOCATION.is_fresh(NOW - timedelta(seconds=1))  # the clock was set back


def broken(**changes: object) -> bytes:
    document = json.loads(ClientState({"own/EE": FULL}).encode())
    document["sources"]["own/EE"].update(changes)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"format": 2, "sources": {}}',
        b'{"format": 1}',
        b'{"format": 1, "sources": {"a": 5}}',
        b'{"format": 1, "sources": {"a": {}}}',
        broken(version="six"),
        broken(generated_at="yesterday"),
        broken(location={"url": "x"}),
        b"[" * 100_000,
        b" " * (MAX_STATE_BYTES + 1),
    ],
)
def test_refuses_a_broken_file(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        ClientState.parse(data)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_the_broken_examples_are_good_without_their_flaw() -> None:
    assert ClientState.parse(broken()).sources["own/EE"] == FULL
