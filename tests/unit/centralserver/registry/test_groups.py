"""Who is in which global group, and which group nobody edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry import groups
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.identifiers import MemberId, SubsystemId
from support.central_server import CLIENT, MANAGEMENT, OTHER, OWNER

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.registry.change import Change
    from support.central_server import Registry

OWNERS = "security-server-owners"


@pytest.fixture
def grouped(filled: Registry) -> Registry:
    with filled.changing() as change:
        groups.add_group(change, "group", "A group")
    return filled


def problem_of(registry: Registry, operation: Callable[[Change], object]) -> Problem:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        operation(change)
    return refused.value.problem


def members_of(registry: Registry, code: str = "group") -> list[object]:
    with registry.reading() as session:
        return list(groups.group_clients(groups.load_group(session, code)))


def test_members_and_subsystems_join_once(grouped: Registry) -> None:
    with grouped.changing() as change:
        assert groups.add_group_members(change, "group", [OWNER, CLIENT, OWNER]) == [OWNER, CLIENT]
        assert groups.add_group_members(change, "group", [CLIENT]) == []
    assert members_of(grouped) == [OWNER, CLIENT]


def test_a_member_and_its_subsystem_are_different(grouped: Registry) -> None:
    with grouped.changing() as change:
        groups.add_group_members(change, "group", [OTHER])
        assert groups.add_group_members(change, "group", [CLIENT]) == [CLIENT]


def test_a_client_of_another_instance_may_join(grouped: Registry) -> None:
    foreign = SubsystemId("EE", "GOV", "1", "x")
    with grouped.changing() as change:
        groups.add_group_members(change, "group", [foreign])
    assert members_of(grouped) == [foreign]


def test_our_own_client_must_be_registered(grouped: Registry) -> None:
    nobody = MemberId("DEV", "GOV", "404")
    problem = problem_of(grouped, lambda c: groups.add_group_members(c, "group", [nobody]))
    assert problem is Problem.MEMBER_NOT_FOUND


def test_members_leave(grouped: Registry) -> None:
    with grouped.changing() as change:
        groups.add_group_members(change, "group", [OWNER, CLIENT, MANAGEMENT])
    with grouped.changing() as change:
        groups.remove_group_members(change, "group", [OWNER, MANAGEMENT, OWNER])
        groups.remove_group_members(change, "group", [])
    assert members_of(grouped) == [CLIENT]
    problem = problem_of(grouped, lambda c: groups.remove_group_members(c, "group", [OWNER]))
    assert problem is Problem.GLOBAL_GROUP_MEMBER_NOT_FOUND
    assert members_of(grouped) == [CLIENT]


def test_a_change_is_dated(grouped: Registry) -> None:
    grouped.clock.pass_time(hours=1)
    with grouped.changing() as change:
        groups.add_group_members(change, "group", [OWNER])
        group = groups.load_group(change.session, "group")
        assert group.updated_at == grouped.clock.now()
        assert group.created_at < group.updated_at


def test_a_group_is_described_and_deleted(grouped: Registry) -> None:
    with grouped.changing() as change:
        groups.add_group_members(change, "group", [OWNER])
        assert groups.describe_group(change, "group", "Another text")
        assert not groups.describe_group(change, "group", " Another text")
        groups.delete_group(change, "group")
    with grouped.reading() as session:
        assert [group.group_code for group in groups.list_groups(session)] == [OWNERS]
    problem = problem_of(grouped, lambda c: groups.delete_group(c, "group"))
    assert problem is Problem.GLOBAL_GROUP_NOT_FOUND


def test_a_group_is_added_once(grouped: Registry) -> None:
    problem = problem_of(grouped, lambda c: groups.add_group(c, "group", "x"))
    assert problem is Problem.GLOBAL_GROUP_EXISTS


@pytest.mark.parametrize(
    "operation",
    [
        lambda change: groups.delete_group(change, OWNERS),
        lambda change: groups.describe_group(change, OWNERS, "x"),
        lambda change: groups.add_group_members(change, OWNERS, [OWNER]),
        lambda change: groups.remove_group_members(change, OWNERS, [OWNER]),
    ],
)
def test_nobody_edits_the_owners_group_by_hand(
    filled: Registry, operation: Callable[[Change], object]
) -> None:
    assert problem_of(filled, operation) is Problem.OWNERS_GROUP
    assert members_of(filled, OWNERS) == [OWNER, OTHER]


def test_a_missing_owners_group_is_made_again(filled: Registry) -> None:
    with filled.changing() as change:
        change.session.delete(groups.load_group(change.session, OWNERS))
        change.session.flush()
        groups.update_owners_group(change, OWNER)
    assert members_of(filled, OWNERS) == [OWNER]
