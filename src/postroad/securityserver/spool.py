"""Where does a body wait until its message has been verified and logged?

A small body stays in memory; a larger one goes to a private file in the spool directory. The
SHA-512 digest that signatures cover grows with every slice. The message log takes a spooled body
over by name, so nothing is copied twice; see ``messagelog.records``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import (
    Body,
    InlineBody,
    OmittedBody,
    SpooledBody,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from postroad.securityserver.settings import MessageLogSection

MEMORY_LIMIT: Final = 64 * 1024
"""Bytes of a body that stay in memory."""
_WRITE_SIZE: Final = 512 * 1024
_READ_SIZE: Final = 256 * 1024


class BodyBuffer:
    """One body: written once from front to back, then read as often as needed.

    Must be closed, which removes the file. The message log may take the file away before: the
    bytes stay readable until then, because the file is kept open. Raises ``ConfigurationError``
    (``io_error``) when the spool directory can't hold the body.
    """

    __slots__ = ("_directory", "_file", "_hash", "_memory", "_name", "_unwritten", "size")

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._memory: list[bytes] = []
        self._unwritten = 0
        self._file: int | None = None
        self._name = ""
        self._hash = hashlib.sha512()
        self.size = 0

    @property
    def digest(self) -> bytes:
        """SHA-512 of everything written so far."""
        return self._hash.digest()

    async def write(self, data: bytes) -> None:
        """Take the next slice."""
        self._hash.update(data)
        self.size += len(data)
        self._memory.append(data)
        self._unwritten += len(data)
        if self._file is None and self.size > MEMORY_LIMIT:
            self._open()
        if self._file is not None and self._unwritten >= _WRITE_SIZE:
            await self._flush()

    async def finish(self) -> None:
        """Everything has been written."""
        if self._file is not None:
            await self._flush()
        else:
            self._memory = [b"".join(self._memory)]

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
                data = await asyncio.to_thread(os.pread, self._file, _READ_SIZE, position)
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
        if self._file is None:
            return InlineBody(b"".join(self._memory))
        return SpooledBody(self._name, self.digest, self.size)

    def close(self) -> None:
        """Forget the body and remove its file, which the message log may have taken away."""
        self._memory = []
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._name:
            (self._directory / self._name).unlink(missing_ok=True)
            self._name = ""

    def _open(self) -> None:
        name = uuid.uuid4().hex
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(self._directory / name, flags, 0o600)
        except OSError as error:
            raise _spool_error("made", error) from error
        self._name = name

    async def _flush(self) -> None:
        data, self._memory, self._unwritten = b"".join(self._memory), [], 0
        try:
            await asyncio.to_thread(_write_all, self._file or 0, data)
        except OSError as error:
            raise _spool_error("written", error) from error


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _spool_error(what: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"a spool file can't be {what}: {error.strerror}", code=FaultCode.IO_ERROR
    )
