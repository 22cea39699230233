from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from postroad.adapters import log_protocol as protocol

AT = datetime(2026, 3, 1, 12, 0, 0, 250_123, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        protocol.AppendOutcome(7),
        protocol.AppendOutcome(0, "logging_failed", "why"),
        protocol.TimestampArgument(b"token", None, AT),
        protocol.ApplyArgument(3, (protocol.StampedArgument(1, b"hash", b"chain"),)),
        protocol.SingleArgument(1, b"hash", b"<s/>", b"token", AT),
        protocol.StateArgument("timestamping", b"{}"),
        protocol.LogStatus(queued=1, written=2, oldest_pending=AT, log_bytes=3),
    ],
)
def test_what_is_said_survives_the_journey(value: msgspec.Struct) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value
