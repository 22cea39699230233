from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from postroad.adapters import log_protocol as protocol
from postroad.evidence.log_record import Direction, InlineBody, OmittedBody, Side, SpooledBody

AT = datetime(2026, 3, 1, 12, 0, 0, 250_123, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        protocol.AppendArgument([protocol.SignatureForm(b"<s/>", None)], [msgspec.Raw(b"\x01")]),
        protocol.AppendResult([7, 8]),
        protocol.AppendResult([7, 0], {1: protocol.AppendFailure("logging_failed", "why")}),
        protocol.RecordForm(
            "q",
            None,
            Direction.REQUEST,
            Side.SERVER,
            "TEST",
            "COM",
            "1",
            None,
            b"message",
            (InlineBody(b"x"), SpooledBody("f", b"d", 1), OmittedBody(b"d", 2)),
            0,
            b"<chain/>",
            AT,
        ),
        protocol.TimestampArgument(b"token", b"<result/>", bytes(128), AT),
        protocol.ApplyArgument(3, 100, [1, 2]),
        protocol.SingleArgument(1, b"hash", b"<s/>", b"token", AT),
        protocol.StateArgument("timestamping", b"{}"),
        protocol.LogStatus(queued=1, written=2, oldest_pending=AT, log_bytes=3),
    ],
)
def test_what_is_said_survives_the_journey(value: msgspec.Struct) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value
