from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import InlineBody, OmittedBody, SpooledBody
from postroad.securityserver.settings_sections import MessageLogSection
from postroad.securityserver.spool import MEMORY_LIMIT, BodyBuffer, log_limit

RULES = MessageLogSection()


def filled(directory: Path, *pieces: bytes, kept: int | None = None) -> BodyBuffer:
    async def run() -> BodyBuffer:
        buffer = BodyBuffer(directory, kept=kept)
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


@pytest.mark.parametrize("piece", [7, 1000, 70_000, 600_000])
def test_pieces_of_any_size_come_back_in_their_order(tmp_path: Path, piece: int) -> None:
    data = bytes(number * 7 % 251 for number in range(1_300_000))
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    buffer = filled(tmp_path, *pieces)
    assert read(buffer) == data
    assert buffer.digest == hashlib.sha512(data).digest()
    buffer.close()


@pytest.mark.parametrize("limit", [0, MEMORY_LIMIT, 1_000_000])
def test_of_a_body_for_the_log_alone_nothing_is_kept_that_is_over_its_limit(
    tmp_path: Path, limit: int
) -> None:
    rules = msgspec.structs.replace(RULES, max_body_bytes=limit)
    assert log_limit(rules) == limit
    pieces = [bytes([number]) * 100_000 for number in range(15)]
    buffer = filled(tmp_path, *pieces, kept=limit)
    assert list(tmp_path.iterdir()) == []
    digest = hashlib.sha512(b"".join(pieces)).digest()
    assert buffer.log_body(rules) == OmittedBody(digest, 1_500_000)
    buffer.close()


def test_a_body_for_the_log_alone_is_whole_up_to_its_limit(tmp_path: Path) -> None:
    buffer = filled(tmp_path, bytes(600_000), bytes(400_000), kept=1_000_000)
    assert isinstance(buffer.log_body(RULES), SpooledBody)
    assert len(read(buffer)) == 1_000_000
    buffer.close()


def test_without_logged_bodies_the_log_wants_none_of_any_size() -> None:
    assert log_limit(msgspec.structs.replace(RULES, log_bodies=False)) == 0


@pytest.mark.parametrize("side", ["local", "remote"])
def test_a_body_of_a_service_that_is_logged_by_exception_is_whole(
    tmp_path: Path, side: str
) -> None:
    name = f"enabled_body_logging_{side}_producer_subsystems"
    rules = MessageLogSection(log_bodies=False, **{name: ("EE/GOV/1/register",)})
    buffer = filled(tmp_path, b"evidence", kept=log_limit(rules))
    assert buffer.log_body(rules) == InlineBody(b"evidence")
    buffer.close()


def test_a_body_of_which_nothing_was_kept_is_never_logged_as_an_empty_one(tmp_path: Path) -> None:
    buffer = filled(tmp_path, b"evidence", kept=0)
    digest = hashlib.sha512(b"evidence").digest()
    assert buffer.log_body(RULES) == OmittedBody(digest, 8)
    buffer.close()


def test_closing_while_the_thread_still_writes_leaves_nothing_open(tmp_path: Path) -> None:
    async def run() -> None:
        buffer = BodyBuffer(tmp_path)
        await buffer.write(bytes(1_000_000))
        buffer.close()
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)

    def open_files() -> list[str]:
        links = list(Path("/proc/self/fd").iterdir())
        return [str(link.readlink()) for link in links if link.is_symlink()]

    asyncio.run(run())
    assert not [name for name in open_files() if str(tmp_path) in name]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_when_the_body_is_finished(tmp_path: Path) -> None:
    async def run() -> None:
        buffer = BodyBuffer(tmp_path)
        await buffer.write(bytes(600_000))
        await buffer._settle()
        os.close(buffer._file or 0)  # what the disk says about the next block
        buffer._file = os.open("/dev/full", os.O_WRONLY)
        try:
            await buffer.write(bytes(600_000))
            await buffer.finish()
        finally:
            buffer.close()

    with pytest.raises(ConfigurationError, match="No space left") as caught:
        asyncio.run(run())
    assert caught.value.code is FaultCode.IO_ERROR
