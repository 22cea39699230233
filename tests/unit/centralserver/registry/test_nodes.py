"""Which nodes there are, how they fare, who may join and who may be taken out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.models.system import NodeGeneration
from postroad.centralserver.registry import nodes, sources, system
from postroad.centralserver.registry.nodes import NodeState
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.globalconf.anchor import Anchor
from support.central_server import NOW

if TYPE_CHECKING:
    from support.central_server import Registry

MINUTE = timedelta(seconds=60)


def add_node(registry: Registry, name: str) -> None:
    with registry.changing() as change:
        system.initialize(change, "DEV", f"{name}.example", name)
        for source_type in sources.SourceType:
            key = sources.NewKey(f"{name}-{source_type}", "EC", name.encode())
            sources.add_signing_key(change, source_type, key, name)


def note(registry: Registry, name: str, *, age: float, failing: bool = False) -> None:
    at = NOW - timedelta(seconds=age)
    with registry.changing() as change:
        row = NodeGeneration(node_name=name, stamp="1", log_sequence=1, content="", error="")
        row.generated_at, row.expires_at = at, at + 10 * MINUTE
        row.failing_since = NOW if failing else None
        change.session.add(row)


def states(registry: Registry) -> dict[str, NodeState]:
    with registry.reading() as session:
        found = nodes.list_nodes(session, at=NOW, interval=MINUTE)
    return {node.shown_name: node.state for node in found}


@pytest.mark.parametrize(
    ("age", "failing", "state"),
    [
        (0, False, NodeState.OK),
        (70, False, NodeState.OK),
        (71, False, NodeState.WARN),
        (10, True, NodeState.WARN),
        (600, True, NodeState.WARN),
        (601, False, NodeState.ERROR),
    ],
)
def test_a_nodes_state_is_how_current_it_is(
    registry: Registry, age: float, failing: bool, state: NodeState
) -> None:
    add_node(registry, "b")
    note(registry, "b", age=age, failing=failing)
    assert states(registry) == {"node_0": NodeState.UNKNOWN, "b": state}


@pytest.mark.parametrize(
    ("instance", "name", "why"),
    [("ELSE", "c", "instance DEV"), ("DEV", "", "needs a name"), ("DEV", "node_0", "already")],
)
def test_who_cannot_join_is_told_why(
    registry: Registry, instance: str, name: str, why: str
) -> None:
    with registry.reading() as session, pytest.raises(RegistryRefusal, match=why):
        nodes.require_new_node(session, instance, name)


def test_a_removed_node_is_in_no_anchor(registry: Registry) -> None:
    add_node(registry, "a")
    add_node(registry, "b")
    note(registry, "b", age=601)
    with registry.changing() as change:
        nodes.remove_node(change, "b", by="a", at_rest=False)
    assert set(states(registry)) == {"node_0", "a"}
    with registry.reading() as session:
        for source_type in sources.SourceType:
            assert sources.find_source(session, source_type, "b") is None
            anchor = Anchor.parse(sources.load_anchor(session, source_type, "a"))
            assert "b.example" not in repr(anchor)
            assert "a.example" in repr(anchor)


@pytest.mark.parametrize(("name", "why"), [("a", "itself"), ("c", "no node"), ("b", "valid until")])
def test_what_still_works_is_not_removed(registry: Registry, name: str, why: str) -> None:
    add_node(registry, "a")
    add_node(registry, "b")
    note(registry, "b", age=0)
    with registry.changing() as change, pytest.raises(RegistryRefusal, match=why):
        nodes.remove_node(change, name, by="a", at_rest=False)
    with registry.changing() as change:
        nodes.remove_node(change, "b", by="a", at_rest=True)


def test_the_unnamed_first_node_can_be_removed_and_the_rest_stays(registry: Registry) -> None:
    add_node(registry, "a")
    with registry.changing() as change:
        nodes.remove_node(change, "", by="a", at_rest=False)
    assert set(states(registry)) == {"a"}
    with registry.reading() as session:
        assert system.instance_status(session, "a").instance == "DEV"
