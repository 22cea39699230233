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
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec

from postroad.errors import (
    ConfigurationError,
    FaultCode,
    PostroadError,
    UnavailablePeer,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")

MAX_FRAME: Final = 64 * 1024 * 1024
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
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_FRAME:
                self.close()
                return
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            self._on_frame(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        if start:
            del buffer[:start]

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

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.transport = None
        self._on_lost()


class IpcServer:
    """Serves one Unix socket; ``handler(method, argument)`` answers each call.

    A handler that raises ``PostroadError`` makes the caller see the same code and message.
    """

    def __init__(self, path: Path, handler: Callable[[str, bytes], Awaitable[object]]) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
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
        except msgspec.DecodeError:
            protocol.close()
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

    async def stop(self) -> None:
        """Stop listening, let running calls finish, close."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=5)
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


class IpcClient:
    """Calls a process behind a Unix socket; connects on demand and again after a loss.

    Raises ``UnavailablePeer`` when the process can't be reached or the connection is lost while
    the call is under way (whether it took effect is then unknown to the caller).
    """

    def __init__(self, path: Path, *, what: str) -> None:
        self._path = path
        self._what = what
        self._protocol: _FrameProtocol | None = None
        self._connecting: asyncio.Lock = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._next_id = 0

    async def call(
        self, method: str, argument: object, result_type: type[T], *, deadline: float = 30.0
    ) -> T:
        """Send one call and decode its result as ``result_type``."""
        protocol = self._protocol or await self._connect()
        self._next_id += 1
        call_id = self._next_id
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        protocol.send(_frame([call_id, method, argument]))
        try:
            async with asyncio.timeout(deadline):
                raw = await future
        except TimeoutError:
            raise UnavailablePeer(
                f"the {self._what} did not answer within {deadline:g} s",
                code=FaultCode.INTERNAL_ERROR,
            ) from None
        finally:
            self._waiting.pop(call_id, None)
        return msgspec.msgpack.decode(raw, type=result_type)

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
        future = self._waiting.get(reply.id)
        if future is None or future.done():
            return
        if reply.error is not None:
            future.set_exception(_error_from(*reply.error))
        else:
            # Raw is a view into this frame's own buffer, which lives as long as the Raw does.
            future.set_result(reply.result)

    def _lost(self) -> None:
        self._protocol = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(
                    UnavailablePeer(
                        f"the {self._what} went away during the call", code=FaultCode.INTERNAL_ERROR
                    )
                )

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        if self._protocol is not None:
            self._protocol.close()


def _error_from(code: str, message: str) -> PostroadError:
    try:
        return ConfigurationError(message, code=FaultCode(code))
    except ValueError:
        return ConfigurationError(message, code=FaultCode.INTERNAL_ERROR)
