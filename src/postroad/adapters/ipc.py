"""How do Postroad's own processes talk: MessagePack frames over a Unix socket.

A frame is a 4-byte big-endian length and that many bytes of MessagePack. A request is
``[id, method, argument]``; a reply is ``[id, result, null]`` or ``[id, null, [code, message]]``.
Replies may come in any order. The socket's mode is 0600 and the peer must have our user id, so
only our own processes can speak here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar, cast

import msgspec

from postroad.errors import (
    ConfigurationError,
    FaultCode,
    PostroadError,
    UnavailablePeer,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

MAX_FRAME: Final = 64 * 1024 * 1024
STOP_TIMEOUT_S: Final = 5.0
"""How long a server that stops waits for calls under way."""

Answered: TypeAlias = "Callable[[msgspec.Raw | None, PostroadError | None], None]"
"""Hears of a call's end: its result, or why there is none."""
_LENGTH: Final = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


class _Request(msgspec.Struct, array_like=True):
    id: int
    method: str
    argument: msgspec.Raw


class _Reply(msgspec.Struct, array_like=True):
    id: int
    result: msgspec.Raw
    error: tuple[str, str] | None


_request_decoder = msgspec.msgpack.Decoder(_Request)
_reply_decoder = msgspec.msgpack.Decoder(_Reply)


def _frame(value: object) -> bytes:
    data = _encoder.encode(value)
    return _LENGTH.pack(len(data)) + data


class _Message(NamedTuple):
    method: str
    argument: object
    deadline: float


class _FrameProtocol(asyncio.Protocol):
    """Cuts the byte stream into frames and gathers the frames of one loop tick into one write."""

    def __init__(self, on_frame: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports aren't subclasses of asyncio's, so this can't be an isinstance.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            done = self._cut(self._buffer)
            del self._buffer[:done]
        else:
            # Mostly whole frames arrive, which need no copy.
            self._buffer += memoryview(data)[self._cut(data) :]

    def _cut(self, data: bytes | bytearray) -> int:
        """Hand on the whole frames that ``data`` begins with; return how long they are."""
        start = 0
        while len(data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > MAX_FRAME:
                self.close()
                return len(data)
            end = start + _LENGTH.size + length
            if len(data) < end:
                break
            self._on_frame(bytes(data[start + _LENGTH.size : end]))
            start = end
        return start

    def send(self, frame: bytes) -> None:
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(out))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.transport = None
        self._on_lost()


class IpcReply:
    """The way back to the caller of a direct method; answer exactly once."""

    __slots__ = ("_answered", "_id", "_protocol")

    def __init__(
        self, protocol: _FrameProtocol, call_id: int, answered: Callable[[IpcReply], None]
    ) -> None:
        self._protocol = protocol
        self._id = call_id
        self._answered = answered

    def result(self, result: object) -> None:
        """Give the caller a result."""
        self._protocol.send(_frame([self._id, result, None]))
        self._answered(self)

    def refusal(self, error: PostroadError) -> None:
        """Let the caller see an error with the same code and message."""
        self._protocol.send(_frame([self._id, None, [error.code.value, error.message]]))
        self._answered(self)


Direct: TypeAlias = "Callable[[msgspec.Raw, IpcReply], None]"
"""A method that answers whenever it can, without a task of its own; it raises nothing."""


class IpcServer:
    """Serves one Unix socket; ``handler(method, argument)`` answers each call.

    A handler that raises ``PostroadError`` makes the caller see the same code and message.
    ``direct`` methods are for those called so often that a task for each call would cost too much.
    """

    def __init__(
        self,
        path: Path,
        handler: Callable[[str, bytes], Awaitable[object]],
        *,
        direct: Mapping[str, Direct] | None = None,
    ) -> None:
        self._path = path
        self._handler = handler
        self._direct = dict(direct or {})
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: set[IpcReply] = set()
        self._no_replies: asyncio.Event = asyncio.Event()
        self._connections: set[_FrameProtocol] = set()

    async def start(self) -> None:
        """Bind the socket with mode 0600, replacing one that a dead process left."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                self._connect, str(self._path)
            )
        finally:
            os.umask(mask)

    def _connect(self) -> _FrameProtocol:
        def lost() -> None:
            self._connections.discard(protocol)

        def received(data: bytes) -> None:
            self._dispatch(protocol, data)

        protocol = _CheckedPeer(received, lost)
        self._connections.add(protocol)
        return protocol

    def _dispatch(self, protocol: _FrameProtocol, data: bytes) -> None:
        try:
            request = _request_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            protocol.close()
            return
        direct = self._direct.get(request.method)
        if direct is not None:
            reply = IpcReply(protocol, request.id, self._answered)
            self._replies.add(reply)
            direct(request.argument, reply)
            return
        task = asyncio.ensure_future(self._answer(protocol, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, protocol: _FrameProtocol, request: _Request) -> None:
        try:
            result = await self._handler(request.method, bytes(request.argument))
            reply = _frame([request.id, result, None])
        except PostroadError as error:
            reply = _frame([request.id, None, [error.code.value, error.message]])
        except Exception as error:  # noqa: BLE001 - the edge of a process: the caller must hear
            reply = _frame(
                [request.id, None, [FaultCode.INTERNAL_ERROR.value, type(error).__name__]]
            )
        protocol.send(reply)

    def _answered(self, reply: IpcReply) -> None:
        self._replies.discard(reply)
        if not self._replies:
            self._no_replies.set()

    async def stop(self) -> None:
        """Stop listening, let running calls finish, close."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=STOP_TIMEOUT_S)
        if self._replies:
            self._no_replies.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._no_replies.wait()
        await asyncio.sleep(0)
        for protocol in list(self._connections):
            protocol.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class _CheckedPeer(_FrameProtocol):
    """A server side connection that drops a peer of another user."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _pid, uid, _gid = struct.unpack("3i", credentials)
        if uid not in (os.getuid(), 0):
            self.close()


class _Call:
    """A call under way: who hears of its end, and when it has taken too long."""

    __slots__ = ("answered", "timer")

    def __init__(self, answered: Answered, timer: asyncio.TimerHandle) -> None:
        self.answered = answered
        self.timer = timer


class IpcClient:
    """Calls a process behind a Unix socket; connects on demand and again after a loss.

    The error is ``UnavailablePeer`` when the process can't be reached or the connection is lost
    while the call is under way (whether it took effect is then unknown to the caller).
    """

    def __init__(self, path: Path, *, what: str) -> None:
        self._path = path
        self._what = what
        self._protocol: _FrameProtocol | None = None
        self._connecting: asyncio.Lock = asyncio.Lock()
        self._calls: dict[int, _Call] = {}
        self._next_id = 0
        self._posting: set[asyncio.Task[None]] = set()

    async def call(
        self, method: str, argument: object, result_type: type[T], *, deadline: float = 30.0
    ) -> T:
        """Send one call and decode its result as ``result_type``; raises the error."""
        protocol = self._protocol or await self._connect()
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()

        def answered(result: msgspec.Raw | None, error: PostroadError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif result is not None:
                future.set_result(result)

        call_id = self._send(protocol, _Message(method, argument, deadline), answered)
        try:
            raw = await future
        finally:
            self._forget(call_id)
        return msgspec.msgpack.decode(raw, type=result_type)

    def post(self, method: str, argument: object, answered: Answered, *, deadline: float) -> None:
        """Send one call without a task that waits for it; ``answered`` hears of its end once."""
        message = _Message(method, argument, deadline)
        if self._protocol is not None:
            self._send(self._protocol, message, answered)
            return
        task = asyncio.ensure_future(self._connect_and_send(message, answered))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def _connect_and_send(self, message: _Message, answered: Answered) -> None:
        try:
            protocol = await self._connect()
        except UnavailablePeer as error:
            answered(None, error)
        else:
            self._send(protocol, message, answered)

    def _send(self, protocol: _FrameProtocol, message: _Message, answered: Answered) -> int:
        self._next_id += 1
        call_id = self._next_id
        frame = _frame([call_id, message.method, message.argument])
        timer = asyncio.get_running_loop().call_later(
            message.deadline, self._expire, call_id, message.deadline
        )
        self._calls[call_id] = _Call(answered, timer)
        protocol.send(frame)
        return call_id

    async def _connect(self) -> _FrameProtocol:
        async with self._connecting:
            if self._protocol is not None:
                return self._protocol
            try:
                _transport, protocol = await asyncio.get_running_loop().create_unix_connection(
                    lambda: _FrameProtocol(self._received, self._lost), str(self._path)
                )
            except OSError as error:
                raise UnavailablePeer(
                    f"the {self._what} is not running (socket {self._path.name}: {error.strerror})",
                    code=FaultCode.INTERNAL_ERROR,
                ) from error
            self._protocol = protocol
            return protocol

    def _received(self, data: bytes) -> None:
        reply = _reply_decoder.decode(data)
        call = self._forget(reply.id)
        if call is None:
            return
        if reply.error is not None:
            call.answered(None, _error_from(*reply.error))
        else:
            # Raw is a view into this frame's own buffer, which lives as long as the Raw does.
            call.answered(reply.result, None)

    def _forget(self, call_id: int) -> _Call | None:
        call = self._calls.pop(call_id, None)
        if call is not None:
            call.timer.cancel()
        return call

    def _expire(self, call_id: int, deadline: float) -> None:
        call = self._forget(call_id)
        if call is not None:
            message = f"the {self._what} did not answer within {deadline:g} s"
            call.answered(None, UnavailablePeer(message, code=FaultCode.INTERNAL_ERROR))

    def _lost(self) -> None:
        self._protocol = None
        for call_id in list(self._calls):
            call = self._forget(call_id)
            if call is not None:
                message = f"the {self._what} went away during the call"
                call.answered(None, UnavailablePeer(message, code=FaultCode.INTERNAL_ERROR))

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        if self._protocol is not None:
            self._protocol.close()


def _error_from(code: str, message: str) -> PostroadError:
    try:
        return ConfigurationError(message, code=FaultCode(code))
    except ValueError:
        return ConfigurationError(message, code=FaultCode.INTERNAL_ERROR)
