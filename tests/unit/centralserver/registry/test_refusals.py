from __future__ import annotations

import pytest

from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.errors import FaultCode


@pytest.mark.parametrize("problem", list(Problem))
def test_only_what_is_missing_is_not_found(problem: Problem) -> None:
    refusal = RegistryRefusal(problem, "why")
    assert refusal.problem is problem
    assert (refusal.code is FaultCode.NOT_FOUND) == problem.value.endswith("_not_found")
