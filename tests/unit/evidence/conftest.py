from __future__ import annotations

import pytest

from postroad.trustlab.authority import KeyKind
from support.signing import Bench


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench.create()


@pytest.fixture(scope="session", params=list(KeyKind)[:2], ids=lambda kind: kind.value)
def any_bench(request: pytest.FixtureRequest) -> Bench:
    return Bench.create(request.param)
