from __future__ import annotations

import asyncio
import os
import stat
import struct
from typing import TYPE_CHECKING

import msgspec
import pytest

from postroad.adapters.ipc import MAX_FRAME, IpcClient, IpcReply, IpcServer
from postroad.errors import ConfigurationError, FaultCode, PostroadError, UnavailablePeer
from support.messagelog import eventually

if TYPE_CHECKING:
    from pathlib import Path


async def answer(method: str, argument: bytes) -> object:
    if method == "fail":
        raise ConfigurationError("nobody logged in", code=FaultCode.TOKEN_NOT_ACTIVE)
    if method == "crash":
        raise RuntimeError("secret inside")
    if method == "slow":
        await asyncio.sleep(30)
    return msgspec.msgpack.decode(argument)


def run(path: Path, body: object) -> None:
    async def main() -> None:
        server = IpcServer(path, answer)
        await server.start()
        client = IpcClient(path, what="echo process")
        try:
            await body(server, client)
        finally:
            client.close()
            await server.stop()

    asyncio.run(main())


def test_answers_many_calls_over_one_connection(tmp_path: Path) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        values = [os.urandom(size) for size in (0, 1, 70_000, 300_000)]
        got = await asyncio.gather(*(client.call("echo", value, bytes) for value in values))
        assert got == values

    run(tmp_path / "s", body)


def test_socket_is_private(tmp_path: Path) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600

    run(tmp_path / "s", body)


def test_a_refusal_arrives_with_its_code(tmp_path: Path) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        with pytest.raises(ConfigurationError, match="nobody logged in") as caught:
            await client.call("fail", None, object)
        assert caught.value.code is FaultCode.TOKEN_NOT_ACTIVE

    run(tmp_path / "s", body)


def test_an_unexpected_error_names_its_type_and_nothing_else(tmp_path: Path) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        with pytest.raises(ConfigurationError) as caught:
            await client.call("crash", None, object)
        assert "secret" not in caught.value.message

    run(tmp_path / "s", body)


def test_a_call_has_a_deadline(tmp_path: Path) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        with pytest.raises(UnavailablePeer, match="did not answer"):
            await client.call("slow", None, object, deadline=0.01)
        assert await client.call("echo", 1, int) == 1
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    run(tmp_path / "s", body)


def test_calls_under_way_fail_when_the_process_goes_and_work_when_it_is_back(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        path = tmp_path / "s"
        client = IpcClient(path, what="echo process")
        with pytest.raises(UnavailablePeer, match="not running"):
            await client.call("echo", 1, int)

        async def hold(method: str, argument: bytes) -> object:
            await asyncio.Event().wait()
            return None

        server = IpcServer(path, hold)
        await server.start()
        call = asyncio.ensure_future(client.call("echo", 1, int))
        await asyncio.sleep(0.02)
        for connection in list(server._connections):
            connection.close()
        with pytest.raises(UnavailablePeer, match="went away"):
            await call
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await server.stop()
        second = IpcServer(path, answer)
        await second.start()
        assert await client.call("echo", 7, int) == 7
        client.close()
        await second.stop()

    asyncio.run(main())


def test_an_oversized_frame_closes_the_connection(tmp_path: Path) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(struct.pack(">I", MAX_FRAME + 1))
        assert await reader.read() == b""
        writer.close()

    run(tmp_path / "s", body)


def test_a_direct_method_answers_when_it_can_and_a_stop_waits_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        replies: list[IpcReply] = []

        def hold(argument: msgspec.Raw, reply: IpcReply) -> None:
            assert msgspec.msgpack.decode(argument) == "late"
            replies.append(reply)

        server = IpcServer(tmp_path / "s", answer, direct={"hold": hold})
        await server.start()
        client = IpcClient(tmp_path / "s", what="echo process")
        calls = [asyncio.ensure_future(client.call("hold", "late", object)) for _ in range(2)]
        assert await client.call("echo", 1, int) == 1
        await eventually(lambda: len(replies) == 2)
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.01)
        replies[1].refusal(ConfigurationError("not now", code=FaultCode.DATABASE_ERROR))
        replies[0].result([1, 2])
        await stopping
        assert await calls[0] == [1, 2]
        with pytest.raises(ConfigurationError, match="not now") as refused:
            await calls[1]
        assert refused.value.code is FaultCode.DATABASE_ERROR
        client.close()

    asyncio.run(main())


def test_what_is_posted_is_answered_once(tmp_path: Path) -> None:
    async def main() -> None:
        heard: list[tuple[object, object]] = []

        def hear(result: msgspec.Raw | None, error: PostroadError | None) -> None:
            heard.append((None if result is None else msgspec.msgpack.decode(result), error))

        client = IpcClient(tmp_path / "s", what="echo process")
        client.post("echo", 1, hear, deadline=5)
        await eventually(lambda: heard)
        server = IpcServer(tmp_path / "s", answer)
        await server.start()
        client.post("echo", 2, hear, deadline=5)  # connects first
        await eventually(lambda: len(heard) == 2)
        client.post("echo", 3, hear, deadline=5)  # is connected
        await eventually(lambda: len(heard) == 3)
        client.post("fail", 4, hear, deadline=5)
        client.post("slow", 5, hear, deadline=0.01)
        await eventually(lambda: len(heard) == 5)
        client.post("slow", 6, hear, deadline=5)
        await asyncio.sleep(0.01)
        client.close()
        await eventually(lambda: len(heard) == 6)
        assert [result for result, _ in heard] == [None, 2, 3, None, None, None]
        assert [type(error) for _, error in heard] == [
            UnavailablePeer,
            type(None),
            type(None),
            ConfigurationError,
            UnavailablePeer,
            UnavailablePeer,
        ]
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await server.stop()

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
def test_frames_arrive_whole_however_they_are_cut(tmp_path: Path, size: int) -> None:
    async def body(server: IpcServer, client: IpcClient) -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        calls = [msgspec.msgpack.encode([number, "echo", "x" * number]) for number in range(5)]
        data = b"".join(struct.pack(">I", len(call)) + call for call in calls)
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
        got = {}
        for _ in calls:
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            number, result, _ = msgspec.msgpack.decode(await reader.readexactly(length))
            got[number] = result
        assert got == {number: "x" * number for number in range(5)}
        writer.close()

    run(tmp_path / "s", body)
