"""Where does a body wait until its message has been verified and logged?

A small body stays in memory; a larger one goes to a private file in the spool directory. The
SHA-512 digest that signatures cover grows with every slice. The message log takes a spooled body
over by name, so nothing is copied twice; see ``messagelog.records``.

A large body is written by a thread, block by block, while the event loop goes on with what follows:
no other exchange waits for the disk. Hashing stays in the loop, because handing so little work to a
thread costs as much as the work.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import (
    Body,
    InlineBody,
    OmittedBody,
    SpooledBody,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from postroad.securityserver.settings_sections import MessageLogSection

MEMORY_LIMIT: Final = 64 * 1024
"""Bytes of a body that stay in memory."""
_BLOCK: Final = 512 * 1024
"""Bytes that the thread writes at once; up to twice as many of a body are in memory."""
_READ_SIZE: Final = 128 * 1024
_MOST_PIECES: Final = 64
"""More pieces of a block than that are joined before they are written."""


def log_limit(rules: MessageLogSection) -> int:
    """The size up to which the message log wants bodies, of whatever service.

    It isn't known yet whose the body is: exceptions from not logging count as logging here.
    """
    wanted = (
        rules.log_bodies
        or rules.enabled_body_logging_local_producer_subsystems
        or rules.enabled_body_logging_remote_producer_subsystems
    )
    return rules.max_body_bytes if wanted else 0


class BodyBuffer:
    """One body: written once from front to back, then read as often as needed.

    ``kept`` is for a body that nobody will read but the message log: once it has more bytes than
    that, none are kept, and what remains are its size and digest.

    Must be closed, which removes the file. The message log may take the file away before: the
    bytes stay readable until then, because the file is kept open. Raises ``ConfigurationError``
    (``io_error``) when the spool directory can't hold the body.
    """

    __slots__ = (
        "_directory",
        "_file",
        "_hash",
        "_kept",
        "_memory",
        "_name",
        "_unwritten",
        "_writing",
        "size",
    )

    def __init__(self, directory: Path, *, kept: int | None = None) -> None:
        self._directory = directory
        self._kept = kept
        self._memory: list[bytes] = []
        self._unwritten = 0
        self._file: int | None = None
        self._name = ""
        self._hash = hashlib.sha512()
        self._writing: asyncio.Future[None] | None = None
        """What the thread does at the moment, or did last."""
        self.size = 0

    @property
    def digest(self) -> bytes:
        """SHA-512 of everything written so far."""
        return self._hash.digest()

    async def write(self, data: bytes) -> None:
        """Take the next slice."""
        self._hash.update(data)
        self.size += len(data)
        if self._kept is not None and self.size > self._kept:
            await self._settle()
            self.close()
            return
        self._memory.append(data)
        self._unwritten += len(data)
        if self._unwritten >= _BLOCK:
            await self._pass_on()

    async def finish(self) -> None:
        """Everything has been written."""
        if self._file is None and self.size <= MEMORY_LIMIT:
            self._memory = [b"".join(self._memory)]
        elif self._memory:
            await self._pass_on()
        await self._settle()

    @property
    def at_hand(self) -> bytes | None:
        """All of the body if it is in memory; only after ``finish``."""
        return b"".join(self._memory) if self._file is None else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its beginning, in slices; only after ``finish``."""
        if self._file is None:
            for data in self._memory:
                if data:
                    yield data
            return
        position = 0
        while position < self.size:
            try:
                data = await self._read(self._file, position)
            except OSError as error:
                raise _spool_error("read", error) from error
            if not data:
                raise ConfigurationError("a spooled body is cut short", code=FaultCode.IO_ERROR)
            position += len(data)
            yield data

    def log_body(self, rules: MessageLogSection) -> Body:
        """What the message log is to keep of this body, where it keeps bodies.

        Raises ``ConfigurationError`` (``logging_failed``) for a body that is too large, where the
        settings want it refused.
        """
        if self.size > rules.max_body_bytes:
            if rules.oversized_bodies == "refuse":
                raise ConfigurationError(
                    f"the body has {self.size} bytes; at most {rules.max_body_bytes} can be logged",
                    code=FaultCode.LOGGING_FAILED,
                )
            return OmittedBody(self.digest, self.size)
        if self._kept is not None and self.size > self._kept:
            return OmittedBody(self.digest, self.size)  # an empty body would be false evidence
        if self._file is None:
            return InlineBody(b"".join(self._memory))
        return SpooledBody(self._name, self.digest, self.size)

    def close(self) -> None:
        """Forget the body and remove its file, which the message log may have taken away."""
        self._memory = []
        file, self._file = self._file, None
        if file is not None:
            if self._writing is None:
                os.close(file)
            else:
                # The thread still writes to it, and must not find another file under its number.
                self._writing.add_done_callback(partial(_close_after, file))
        if self._name:
            (self._directory / self._name).unlink(missing_ok=True)
            self._name = ""

    async def _pass_on(self) -> None:
        """Give what has gathered to the thread, once it has done with what it got before."""
        await self._settle()
        if self._file is None:
            self._file = self._open()
        pieces, self._memory, self._unwritten = self._memory, [], 0
        self._writing = asyncio.get_running_loop().run_in_executor(
            None, _write_all, self._file, pieces
        )

    async def _settle(self) -> None:
        if self._writing is None:
            return
        try:
            await asyncio.shield(self._writing)
        except OSError as error:
            raise _spool_error("written", error) from error
        self._writing = None

    async def _read(self, file: int, position: int) -> bytes:
        """Read a slice at once if the kernel has it in memory, and in a thread otherwise."""
        size = min(_READ_SIZE, self.size - position)
        buffer = bytearray(size)
        with suppress(OSError):
            if os.preadv(file, [buffer], position, os.RWF_NOWAIT) == size:
                return bytes(buffer)
        return await asyncio.to_thread(os.pread, file, size, position)

    def _open(self) -> int:
        name = uuid.uuid4().hex
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            file = os.open(self._directory / name, flags, 0o600)
        except OSError as error:
            raise _spool_error("made", error) from error
        self._name = name
        return file


def _write_all(file: int, pieces: Sequence[bytes]) -> None:
    if len(pieces) > _MOST_PIECES:
        pieces = [b"".join(pieces)]
    views = [memoryview(piece) for piece in pieces]
    while views:
        written = os.writev(file, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


def _close_after(file: int, task: asyncio.Future[None]) -> None:
    if not task.cancelled():
        task.exception()  # nobody else will ask
    os.close(file)


def _spool_error(what: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"a spool file can't be {what}: {error.strerror}", code=FaultCode.IO_ERROR
    )
