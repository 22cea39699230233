"""Every parser of outside bytes keeps the contract over changed known inputs (seeded, bounded).

The long run, guided by coverage where ``atheris`` is installed, is ``make fuzz``.
"""

from __future__ import annotations

import itertools
import time

import pytest

from fuzz.contract import Verdict, judge
from fuzz.mutation import mutations
from fuzz.targets import TARGETS

AT_LEAST, INPUTS = 100, 20_000
SECONDS = 0.8
"""Per target; inputs come in the same order in every run, their number depends on the machine."""


@pytest.mark.parametrize("name", TARGETS)
def test_parser_accepts_or_refuses_whatever_comes(name: str) -> None:
    target = TARGETS[name]
    seen: set[Verdict] = set()
    seeds = target.seeds()
    until = time.monotonic() + SECONDS
    inputs = mutations(seeds, target.words, seed=1)
    for number, data in enumerate(itertools.islice(inputs, INPUTS)):
        seen.add(judge(target, data))
        if number >= len(seeds) + AT_LEAST and time.monotonic() > until:
            break
    assert Verdict.REFUSED in seen
