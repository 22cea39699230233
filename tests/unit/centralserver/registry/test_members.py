"""How members, classes and subsystems come and go."""

from __future__ import annotations

import pytest

from postroad.centralserver.registry import groups, members
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.identifiers import MemberId, SubsystemId
from support.central_server import CLIENT, MANAGEMENT, OTHER, OWNER, Registry


def problem_of(registry: Registry, operation: str, *arguments: object) -> Problem:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        getattr(members, operation)(change, *arguments)
    return refused.value.problem


def test_a_member_class_is_added_described_and_deleted(registry: Registry) -> None:
    with registry.changing() as change:
        members.add_member_class(change, "GOV", " Government ")
        assert not members.describe_member_class(change, "GOV", "Government")
        assert members.describe_member_class(change, "GOV", "The state")
    with registry.reading() as session:
        assert [c.description for c in members.list_member_classes(session)] == ["The state"]
    with registry.changing() as change:
        members.delete_member_class(change, "GOV")
    with registry.reading() as session:
        assert not members.list_member_classes(session)


def test_a_member_class_in_use_cannot_be_deleted(filled: Registry) -> None:
    assert problem_of(filled, "delete_member_class", "GOV") is Problem.MEMBER_CLASS_IN_USE


def test_what_exists_cannot_be_added_again(filled: Registry) -> None:
    assert problem_of(filled, "add_member_class", "GOV", "x") is Problem.MEMBER_CLASS_EXISTS
    assert problem_of(filled, "add_member", OWNER, "x") is Problem.MEMBER_EXISTS
    assert problem_of(filled, "add_subsystem", CLIENT) is Problem.SUBSYSTEM_EXISTS


def test_what_is_missing_is_named(filled: Registry) -> None:
    nobody = MemberId("DEV", "GOV", "404")
    nothing = SubsystemId("DEV", "GOV", "1", "404")
    assert problem_of(filled, "delete_member_class", "X") is Problem.MEMBER_CLASS_NOT_FOUND
    assert problem_of(filled, "rename_member", nobody, "x") is Problem.MEMBER_NOT_FOUND
    assert problem_of(filled, "rename_subsystem", nothing, "x") is Problem.SUBSYSTEM_NOT_FOUND
    of_nobody = SubsystemId("DEV", "GOV", "404", "x")
    assert problem_of(filled, "add_subsystem", of_nobody) is Problem.MEMBER_NOT_FOUND
    assert problem_of(filled, "delete_subsystem", of_nobody) is Problem.SUBSYSTEM_NOT_FOUND
    without_class = MemberId("DEV", "X", "1")
    assert problem_of(filled, "add_member", without_class, "x") is Problem.MEMBER_CLASS_NOT_FOUND


def test_members_of_another_instance_are_not_ours(filled: Registry) -> None:
    foreign = MemberId("EE", "GOV", "1")
    assert problem_of(filled, "add_member", foreign, "x") is Problem.FOREIGN_INSTANCE
    subsystem = SubsystemId("EE", "GOV", "1", "x")
    assert problem_of(filled, "add_subsystem", subsystem) is Problem.FOREIGN_INSTANCE
    with filled.reading() as session:
        assert members.find_member(session, foreign) is None


def test_codes_are_compared_with_their_case(filled: Registry) -> None:
    with filled.reading() as session:
        assert members.find_member(session, MemberId("DEV", "gov", "1")) is None
        assert members.find_subsystem(session, SubsystemId("DEV", "GOV", "2", "CLIENT")) is None


def test_names_change_only_when_they_differ(filled: Registry) -> None:
    with filled.changing() as change:
        assert members.rename_member(change, OWNER, "New name")
        assert not members.rename_member(change, OWNER, " New name ")
        assert members.rename_subsystem(change, CLIENT, "A client")
        assert not members.rename_subsystem(change, CLIENT, "A client")
        assert members.rename_subsystem(change, CLIENT, " ")
        assert members.load_subsystem(change.session, CLIENT).name is None


def test_a_registered_subsystem_cannot_be_deleted(filled: Registry) -> None:
    assert problem_of(filled, "delete_subsystem", CLIENT) is Problem.SUBSYSTEM_REGISTERED


def test_a_deleted_subsystem_leaves_its_groups(filled: Registry) -> None:
    lonely = SubsystemId("DEV", "GOV", "2", "lonely")
    with filled.changing() as change:
        members.add_subsystem(change, lonely)
        groups.add_group(change, "group", "A group")
        groups.add_group_members(change, "group", [lonely, CLIENT, OTHER])
    with filled.changing() as change:
        members.delete_subsystem(change, lonely)
    with filled.reading() as session:
        assert groups.group_clients(groups.load_group(session, "group")) == [CLIENT, OTHER]


def test_identifiers_are_those_of_the_rows(filled: Registry) -> None:
    with filled.reading() as session:
        assert members.member_id(session, members.load_member(session, OWNER)) == OWNER
        row = members.load_subsystem(session, MANAGEMENT)
        assert members.subsystem_id(session, row) == MANAGEMENT
        assert members.load_client(session, OWNER).id == row.member_id
