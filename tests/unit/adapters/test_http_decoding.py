from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from postroad.adapters.http_decoding import DecodedBody, decode_content
from postroad.errors import FaultCode, MalformedInput

TEXT = b"The quick brown fox. " * 500


class Pieces:
    """A body that arrives in the given pieces."""

    def __init__(self, data: bytes, size: int = 1 << 20) -> None:
        self._pieces = [data[i : i + size] for i in range(0, len(data), size)]

    async def read_some(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def read_all(self, limit: int) -> bytes:
        return b"".join(self._pieces)[:limit]


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def decoded(coding: str, data: bytes, size: int = 1 << 20, limit: int = 1 << 20) -> bytes:
    _, body = decode_content((("Content-Encoding", coding),), Pieces(data, size))
    return asyncio.run(body.read_all(limit))


@pytest.mark.parametrize("size", [1, 10, 1 << 20])
@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZip ", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
def test_reads_compressed_bodies_cut_anywhere(coding: str, compress: object, size: int) -> None:
    assert callable(compress)
    assert decoded(coding, compress(TEXT), size) == TEXT


def test_removes_the_fields_that_no_longer_hold() -> None:
    headers = (
        ("Content-Type", "a/b"),
        ("content-encoding", "gzip"),
        ("Content-Length", "9"),
        ("Content-MD5", "x"),
        ("ETag", "y"),
    )
    kept, _ = decode_content(headers, Pieces(b""))
    assert kept == (("Content-Type", "a/b"), ("ETag", "y"))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Content-Encoding", "br"),),
        (("Content-Encoding", "gzip, gzip"),),
        (("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")),
    ],
)
def test_leaves_other_codings_alone(headers: tuple[tuple[str, str], ...]) -> None:
    body = Pieces(b"abc")
    assert decode_content(headers, body) == (headers, body)


def test_empty_body_has_no_coding() -> None:
    assert decoded("gzip", b"") == b""


@pytest.mark.parametrize("cut", [1, 9, 12, -4])
def test_refuses_a_body_that_ends_early(cut: int) -> None:
    with pytest.raises(MalformedInput) as caught:
        decoded("gzip", gzip.compress(TEXT)[:cut])
    assert caught.value.code is FaultCode.HTTP_ERROR


def test_refuses_a_body_that_is_not_compressed() -> None:
    for coding in ("gzip", "deflate"):
        with pytest.raises(MalformedInput):
            decoded(coding, b"\xff\xfe\xfd plain")


def test_refuses_bytes_after_the_end() -> None:
    with pytest.raises(MalformedInput):
        decoded("gzip", gzip.compress(TEXT) + b"x")
    with pytest.raises(MalformedInput):
        decoded("gzip", gzip.compress(TEXT) + b"x", size=1)


def test_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(MalformedInput) as caught:
        decoded("gzip", bomb, limit=1000)
    assert caught.value.code is FaultCode.INVALID_BODY


def test_pieces_are_small_whatever_the_compression() -> None:
    async def largest() -> int:
        body = DecodedBody(Pieces(gzip.compress(bytes(5_000_000))), 31)
        return max([len(piece) async for piece in body])

    assert asyncio.run(largest()) <= 64 * 1024
