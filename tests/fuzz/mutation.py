"""Seeded changes of known inputs: what can be done without a coverage-guided fuzzer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

_NASTY = (
    b"\x00",
    b"\xff",
    b"\r\n",
    b"\n",
    b" ",
    b"%",
    b"%00",
    b"--",
    b"&#0;",
    b"<!--",
    b"]]>",
    b"\x80",
    b"\x84\xff\xff\xff\xff",
    b"\x30\x80",
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"9" * 30,
    b"-1",
    b"A" * 5000,
)
_MAX = 300_000


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Endless inputs, the same for the same seed; the seeds themselves come first."""
    yield from seeds
    chance = random.Random(seed)
    vocabulary = (*words, *_NASTY)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            chance.choice(_CHANGES)(chance, data, seeds, vocabulary)
        yield bytes(data[:_MAX])


def _flip(chance: random.Random, data: bytearray, *_: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, data: bytearray, *_: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0x3C, 0x22))


def _cut(chance: random.Random, data: bytearray, *_: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.choice((1, 2, 10, 100, 1000))]


def _truncate(chance: random.Random, data: bytearray, *_: Sequence[bytes]) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _repeat(chance: random.Random, data: bytearray, *_: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    piece = bytes(data[at : at + chance.choice((1, 5, 50, 500))])
    data[at:at] = piece * chance.choice((1, 1, 2, 30))


def _insert(
    chance: random.Random, data: bytearray, _: Sequence[bytes], words: Sequence[bytes]
) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(words)


def _overwrite(
    chance: random.Random, data: bytearray, _: Sequence[bytes], words: Sequence[bytes]
) -> None:
    word = chance.choice(words)
    at = chance.randrange(len(data) + 1)
    data[at : at + len(word)] = word


def _splice(
    chance: random.Random, data: bytearray, seeds: Sequence[bytes], _: Sequence[bytes]
) -> None:
    other = chance.choice(seeds)
    data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other) + 1) :]


_CHANGES: tuple[
    Callable[[random.Random, bytearray, Sequence[bytes], Sequence[bytes]], None], ...
] = (_flip, _set, _cut, _truncate, _repeat, _insert, _overwrite, _splice)
