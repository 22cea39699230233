"""What every parser of outside bytes promises: accepted, or refused as one of our families.

Anything else that comes out is a finding, and so is an input that takes too long for its size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from postroad.errors import PostroadError

SECONDS = 2.0
"""CPU time that any input of a fuzzer may take; real messages take milliseconds."""


class Verdict(Enum):
    """What a parser said."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


class FindingError(AssertionError):
    """A parser broke its promise; the message holds the input."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under the contract; it raises for what it refuses."""

    name: str
    parse: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    """What a mutation may put in: the words of the format."""


def judge(target: Target, data: bytes) -> Verdict:
    """Feed one input; raises ``FindingError`` if the parser breaks the contract."""
    started = time.process_time()
    try:
        target.parse(data)
        verdict = Verdict.ACCEPTED
    except PostroadError:
        verdict = Verdict.REFUSED
    except Exception as error:
        raise FindingError(f"{target.name}: {type(error).__name__}: {error}; {data!r}") from error
    seconds = time.process_time() - started
    if seconds > SECONDS:
        raise FindingError(f"{target.name}: took {seconds:.1f} s for {len(data)} bytes; {data!r}")
    return verdict
