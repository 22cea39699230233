"""The states of a management request."""

from __future__ import annotations

import itertools

import pytest

from postroad.errors import FaultCode, RefusedRequest
from postroad.management.lifecycle import (
    TRANSITIONS,
    RequestOrigin,
    RequestState,
    Step,
    next_state,
    withdrawal,
)


def test_only_waiting_and_submitted_requests_are_pending() -> None:
    pending = {state for state in RequestState if state.is_pending}
    assert pending == {RequestState.WAITING, RequestState.SUBMITTED_FOR_APPROVAL}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(RequestState, Step)))
def test_a_step_is_in_the_table_or_refused(state: RequestState, step: Step) -> None:
    if (state, step) in TRANSITIONS:
        assert next_state(state, step) is TRANSITIONS[state, step]
        return
    with pytest.raises(RefusedRequest) as refused:
        next_state(state, step)
    assert refused.value.code is FaultCode.INVALID_REQUEST


@pytest.mark.parametrize("state", [s for s in RequestState if not s.is_pending])
def test_final_states_stay(state: RequestState) -> None:
    assert not any((state, step) in TRANSITIONS for step in Step)


def test_only_what_the_centre_alone_asked_for_is_revoked() -> None:
    centre, server = RequestOrigin.CENTRE, RequestOrigin.SECURITY_SERVER
    assert withdrawal([centre]) is Step.REVOKE
    assert withdrawal([server]) is withdrawal([centre, server]) is Step.DECLINE
