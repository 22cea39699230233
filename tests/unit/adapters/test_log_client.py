from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from postroad.adapters import log_client
from postroad.adapters import log_protocol as protocol
from postroad.adapters.ipc import IpcServer
from postroad.adapters.log_client import LogClient
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.log_record import SpooledBody
from support.messagelog import NOW, eventually, record


@dataclass
class Writer:
    """The other end of the socket, answering as told."""

    frames: list[list[protocol.RecordForm]] = field(default_factory=list)
    signatures: list[list[protocol.SignatureForm]] = field(default_factory=list)
    arguments: list[tuple[str, bytes]] = field(default_factory=list)
    answer: Callable[[list[protocol.RecordForm]], object] | None = None
    result: object = None
    failure: Exception | None = None

    async def handle(self, method: str, argument: bytes) -> object:
        self.arguments.append((method, argument))
        if self.failure is not None:
            raise self.failure
        if method != protocol.APPEND:
            return self.result
        frame = msgspec.msgpack.decode(argument, type=protocol.AppendArgument)
        self.signatures.append(frame.signatures)
        records = [msgspec.msgpack.decode(data, type=protocol.RecordForm) for data in frame.records]
        self.frames.append(records)
        if self.answer is not None:
            return self.answer(records)
        return protocol.AppendResult([number for number, _ in enumerate(records, 1)])


@contextlib.asynccontextmanager
async def talking(directory: Path, writer: Writer) -> AsyncIterator[LogClient]:
    server = IpcServer(directory / "logwriter.sock", writer.handle)
    await server.start()
    client = LogClient(directory / "logwriter.sock")
    try:
        yield client
    finally:
        client.close()
        await server.stop()


def test_records_of_one_turn_travel_in_one_frame(tmp_path: Path) -> None:
    writer = Writer()
    records = [record() for _ in range(5)]

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            ids = await asyncio.gather(*(client.append(item) for item in records))
            assert ids == [1, 2, 3, 4, 5]
            assert await client.append(records[0]) == 1
        sent = [[form.query_id for form in frame] for frame in writer.frames]
        assert sent == [[item.query_id for item in records], [records[0].query_id]]

    asyncio.run(scenario())


def test_a_batch_sends_its_signature_once(tmp_path: Path) -> None:
    writer = Writer()

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            await asyncio.gather(
                *(
                    client.append(
                        record(signature=signature, hash_chain_result=result, hash_chain=b"<c/>")
                    )
                    for signature, result in [
                        (b"<1/>", b"<a/>"),
                        (b"<2/>", b"<b/>"),
                        (b"<1/>", b"<a/>"),
                        (b"<3/>", b"<a/>"),  # odd, and kept apart
                        (b"<3/>", b"<a/>"),
                    ]
                ),
                client.append(record(signature=b"<4/>")),
                client.append(record(signature=b"<4/>")),
            )
        (signatures,), (frame,) = writer.signatures, writer.frames
        assert [signatures[form.signature].signature for form in frame] == [
            b"<1/>",
            b"<2/>",
            b"<1/>",
            b"<3/>",
            b"<3/>",
            b"<4/>",
            b"<4/>",
        ]
        assert len(signatures) == 5

    asyncio.run(scenario())


def test_a_frame_holds_a_bounded_number_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_client, "FRAME_RECORDS", 2)
    writer = Writer()

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            ids = await asyncio.gather(*(client.append(record()) for _ in range(5)))
        assert ids == [1, 2, 1, 2, 1]
        assert sorted(len(frame) for frame in writer.frames) == [1, 2, 2]

    asyncio.run(scenario())


def test_a_frame_has_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_client, "FRAME_BYTES", 1000)
    writer = Writer()
    sizes = [100, 100, 5000, 100]

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            await asyncio.gather(*(client.append(record(message=bytes(size))) for size in sizes))
        assert sorted(len(frame) for frame in writer.frames) == [1, 3]

    asyncio.run(scenario())


def test_a_record_with_a_file_travels_alone(tmp_path: Path) -> None:
    writer = Writer()

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            await asyncio.gather(
                client.append(record()),
                client.append(record(SpooledBody("f", bytes(64), 70_000))),
                client.append(record()),
            )
        assert sorted(len(frame) for frame in writer.frames) == [1, 2]

    asyncio.run(scenario())


def test_each_record_hears_its_own_outcome(tmp_path: Path) -> None:
    writer = Writer(
        answer=lambda _: protocol.AppendResult(
            [7, 0, 0, 0, 0],
            {
                1: protocol.AppendFailure("timestamping_failed", "since yesterday"),
                2: protocol.AppendFailure("logging_failed", "too long"),
                3: protocol.AppendFailure("of_the_future", "who knows"),
            },
        )
    )

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            outcomes = await asyncio.gather(
                *(client.append(record()) for _ in range(5)), return_exceptions=True
            )
        assert outcomes[0] == 7
        assert [error.fault_code for error in outcomes[1:]] == [
            "logging_failed.timestamping_failed",
            "logging_failed",
            "logging_failed",
            "logging_failed",
        ]
        assert [str(error) for error in outcomes[1:]] == [
            "since yesterday",
            "too long",
            "who knows",
            "the log writer gave no reason",
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: protocol.AppendResult([]),
        lambda _: "nonsense",
        lambda _: None,
        lambda _: protocol.AppendResult([1] * 3),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure(
    tmp_path: Path, answer: Callable[[list[protocol.RecordForm]], object]
) -> None:
    async def scenario() -> None:
        async with talking(tmp_path, Writer(answer=answer)) as client:
            with pytest.raises(ConfigurationError) as failed:
                await client.append(record())
            assert failed.value.fault_code == "logging_failed"

    asyncio.run(scenario())


def test_a_record_that_cannot_be_encoded_fails_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with talking(tmp_path, Writer()) as client:
            outcomes = await asyncio.gather(
                client.append(record()),
                client.append(record(query_id="\ud800")),
                client.append(record()),
                return_exceptions=True,
            )
        assert outcomes[0] == 1
        assert isinstance(outcomes[1], ConfigurationError)
        assert outcomes[1].fault_code == "logging_failed"
        assert outcomes[2] == 2

    asyncio.run(scenario())


def test_a_writer_that_is_not_running_is_a_failure_and_found_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        client = LogClient(tmp_path / "logwriter.sock")
        with pytest.raises(ConfigurationError) as failed:
            await client.append(record())
        assert failed.value.fault_code == "logging_failed"
        with pytest.raises(ConfigurationError):
            await client.status()
        server = IpcServer(tmp_path / "logwriter.sock", Writer().handle)
        await server.start()
        assert await client.append(record()) == 1
        client.close()
        await server.stop()

    asyncio.run(scenario())


def test_a_connection_lost_during_the_call_is_a_failure(tmp_path: Path) -> None:
    async def scenario() -> None:
        never = asyncio.Event()

        async def hang(_method: str, _argument: bytes) -> object:
            await never.wait()
            return []

        server = IpcServer(tmp_path / "logwriter.sock", hang)
        await server.start()
        client = LogClient(tmp_path / "logwriter.sock")
        waiting = asyncio.ensure_future(client.append(record()))
        await eventually(lambda: server._tasks)
        for connection in list(server._connections):
            connection.close()
        with pytest.raises(ConfigurationError, match="went away") as failed:
            await waiting
        assert failed.value.fault_code == "logging_failed"
        never.set()
        client.close()
        await server.stop()

    asyncio.run(scenario())


def test_a_writer_that_does_not_answer_in_time_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_client, "APPEND_DEADLINE", 0.05)

    async def scenario() -> None:
        never = asyncio.Event()

        async def hang(_method: str, _argument: bytes) -> object:
            await never.wait()
            return []

        server = IpcServer(tmp_path / "logwriter.sock", hang)
        await server.start()
        client = LogClient(tmp_path / "logwriter.sock")
        with pytest.raises(ConfigurationError, match="did not answer"):
            await client.append(record())
        never.set()
        client.close()
        await server.stop()

    asyncio.run(scenario())


def test_a_caller_that_gives_up_leaves_the_others_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with talking(tmp_path, Writer()) as client:
            gone = asyncio.ensure_future(client.append(record()))
            other = asyncio.ensure_future(client.append(record()))
            await asyncio.sleep(0)
            gone.cancel()
            assert await other == 2

    asyncio.run(scenario())


def test_what_the_stamping_job_says_arrives(tmp_path: Path) -> None:
    writer = Writer(result=5)

    async def scenario() -> None:
        async with talking(tmp_path, writer) as client:
            assert await client.insert_timestamp(b"token", b"<result/>", b"leaves", at=NOW) == 5
            assert await client.apply_timestamps(9, 100, [1, 2]) == 5
            writer.result = True
            assert await client.apply_single(1, b"h", signature=b"<s/>", token=b"t", at=NOW)
            writer.result = None
            await client.set_state("timestamping", b"{}")
            writer.result = protocol.LogStatus(
                queued=1, written=2, oldest_pending=None, log_bytes=3
            )
            assert (await client.status()).written == 2

    asyncio.run(scenario())
    decoded = [
        msgspec.msgpack.decode(writer.arguments[0][1], type=protocol.TimestampArgument),
        msgspec.msgpack.decode(writer.arguments[1][1], type=protocol.ApplyArgument),
        msgspec.msgpack.decode(writer.arguments[2][1], type=protocol.SingleArgument),
        msgspec.msgpack.decode(writer.arguments[3][1], type=protocol.StateArgument),
    ]
    assert decoded == [
        protocol.TimestampArgument(b"token", b"<result/>", b"leaves", NOW),
        protocol.ApplyArgument(9, 100, [1, 2]),
        protocol.SingleArgument(1, b"h", b"<s/>", b"t", NOW),
        protocol.StateArgument("timestamping", b"{}"),
    ]


def test_a_refusal_keeps_its_reason(tmp_path: Path) -> None:
    failure = ConfigurationError("disk full", code=FaultCode.DATABASE_ERROR)

    async def scenario() -> None:
        async with talking(tmp_path, Writer(failure=failure)) as client:
            with pytest.raises(ConfigurationError, match="disk full") as failed:
                await client.set_state("timestamping", b"{}")
            assert failed.value.fault_code == "logging_failed.database_error"

    asyncio.run(scenario())
