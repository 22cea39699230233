from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec
import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import InlineBody, OmittedBody, SpooledBody
from postroad.securityserver.settings import MessageLogSection
from postroad.securityserver.spool import MEMORY_LIMIT, BodyBuffer

RULES = MessageLogSection()


def filled(directory: Path, *pieces: bytes) -> BodyBuffer:
    async def run() -> BodyBuffer:
        buffer = BodyBuffer(directory)
        for piece in pieces:
            await buffer.write(piece)
        await buffer.finish()
        return buffer

    return asyncio.run(run())


def read(buffer: BodyBuffer) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in buffer.chunks()])

    return asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT, MEMORY_LIMIT + 1, 2_000_000])
def test_gives_back_what_was_written(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    buffer = filled(tmp_path, data[: size // 2], data[size // 2 :])
    assert read(buffer) == data
    assert read(buffer) == data
    assert buffer.size == size
    assert buffer.digest == hashlib.sha512(data).digest()
    assert len(list(tmp_path.iterdir())) == (1 if size > MEMORY_LIMIT else 0)
    buffer.close()
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_private(tmp_path: Path) -> None:
    buffer = filled(tmp_path, bytes(MEMORY_LIMIT + 1))
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    buffer.close()


def test_closing_is_safe_twice_and_after_the_log_took_the_file(tmp_path: Path) -> None:
    buffer = filled(tmp_path, bytes(MEMORY_LIMIT + 1))
    next(tmp_path.iterdir()).unlink()
    assert len(read(buffer)) == MEMORY_LIMIT + 1
    buffer.close()
    buffer.close()


def test_the_log_gets_small_bodies_inline_and_large_ones_by_name(tmp_path: Path) -> None:
    small = filled(tmp_path, b"small")
    assert small.log_body(RULES) == InlineBody(b"small")
    large = filled(tmp_path, bytes(MEMORY_LIMIT + 1))
    (path,) = tmp_path.iterdir()
    assert large.log_body(RULES) == SpooledBody(path.name, large.digest, large.size)
    large.close()


def test_a_body_over_the_limit_leaves_its_digest_or_is_refused(tmp_path: Path) -> None:
    rules = msgspec.structs.replace(RULES, max_body_bytes=2)
    buffer = filled(tmp_path, b"abc")
    assert buffer.log_body(rules) == OmittedBody(hashlib.sha512(b"abc").digest(), 3)
    strict = msgspec.structs.replace(rules, oversized_bodies="refuse")
    with pytest.raises(ConfigurationError) as caught:
        buffer.log_body(strict)
    assert caught.value.code is FaultCode.LOGGING_FAILED


def test_a_spool_directory_that_is_missing_is_our_own_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        filled(tmp_path / "none", bytes(MEMORY_LIMIT + 1))
    assert caught.value.code is FaultCode.IO_ERROR
