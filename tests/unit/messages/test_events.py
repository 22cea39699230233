from __future__ import annotations

from postroad.messages.events import COMPLETE, TRANSITIONS, Direction, PartKind, Stage


def reachable(direction: Direction) -> set[Stage]:
    seen, todo = {Stage.START}, [Stage.START]
    while todo:
        for stage in TRANSITIONS[direction][todo.pop()].values():
            if stage not in seen:
                seen.add(stage)
                todo.append(stage)
    return seen


def test_every_stage_of_a_response_can_be_reached_but_the_soap_fault_of_the_decoder() -> None:
    assert reachable(Direction.RESPONSE) == set(Stage) - {Stage.SOAP_FAULT}


def test_a_request_never_carries_a_fault() -> None:
    assert Stage.FAULT not in reachable(Direction.REQUEST)
    assert not any(PartKind.FAULT in nexts for nexts in TRANSITIONS[Direction.REQUEST].values())


def test_nothing_follows_a_complete_message() -> None:
    for table in TRANSITIONS.values():
        assert not table[Stage.SIGNED]
        assert not table[Stage.FAULT]


def test_every_stage_has_a_way_to_a_complete_message() -> None:
    for direction, table in TRANSITIONS.items():
        for stage in reachable(direction) - COMPLETE:
            assert table[stage]
