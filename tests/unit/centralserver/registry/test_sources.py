"""How signing keys follow each other without losing a client, and what anchors hold."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry import sources
from postroad.centralserver.registry.change import Change
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import ANNOUNCEMENT, NewKey, SourceType
from postroad.centralserver.registry.system import initialize
from postroad.globalconf.anchor import Anchor

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.registry.change import Change
    from support.central_server import Registry

INTERNAL, EXTERNAL = SourceType.INTERNAL, SourceType.EXTERNAL


def add(registry: Registry, name: str, source: SourceType = INTERNAL, node: str = "") -> None:
    with registry.changing() as change:
        new = NewKey(name, "EC", f"certificate {name}".encode())
        sources.add_signing_key(change, source, new, node)


def keys(registry: Registry) -> list[tuple[str, bool]]:
    with registry.reading() as session:
        return [(key.key_identifier, key.is_active) for key in sources.list_signing_keys(session)]


def anchor(registry: Registry, source: SourceType = INTERNAL) -> Anchor:
    with registry.reading() as session:
        return Anchor.parse(sources.load_anchor(session, source))


def problem_of(registry: Registry, operation: Callable[[Change], object]) -> Problem:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        operation(change)
    return refused.value.problem


def test_the_first_key_of_a_source_is_active(registry: Registry) -> None:
    add(registry, "A")
    add(registry, "B")
    add(registry, "C", EXTERNAL)
    assert keys(registry) == [("A", True), ("B", False), ("C", True)]


def test_a_source_has_at_most_two_keys(registry: Registry) -> None:
    add(registry, "A")
    add(registry, "B")
    new = NewKey("C", "EC", b"c")
    problem = problem_of(registry, lambda c: sources.add_signing_key(c, INTERNAL, new))
    assert problem is Problem.TOO_MANY_SIGNING_KEYS


def test_a_key_signs_only_after_clients_have_learnt_of_it(registry: Registry) -> None:
    add(registry, "A")
    add(registry, "B")
    registry.clock.pass_time(hours=1)

    def activate(change: Change, published_at: datetime | None = None) -> bool:
        return sources.activate_signing_key(change, "B", published_at=published_at)

    # However old the key is: what was never published nobody knows.
    assert problem_of(registry, activate) is Problem.SIGNING_KEY_NOT_ANNOUNCED
    published = registry.clock.now()
    registry.clock.pass_time(seconds=ANNOUNCEMENT.total_seconds() - 1)
    problem = problem_of(registry, lambda c: activate(c, published))
    assert problem is Problem.SIGNING_KEY_NOT_ANNOUNCED
    registry.clock.pass_time(seconds=1)
    with registry.changing() as change:
        assert activate(change, published)
        assert not activate(change)
    assert keys(registry) == [("A", False), ("B", True)]


def test_an_emergency_does_not_wait(registry: Registry) -> None:
    add(registry, "A")
    add(registry, "B")
    with registry.changing() as change:
        assert sources.activate_signing_key(change, "B", force=True)


def test_the_key_that_signs_cannot_be_deleted(registry: Registry) -> None:
    add(registry, "A")
    problem = problem_of(registry, lambda c: sources.delete_signing_key(c, "A"))
    assert problem is Problem.SIGNING_KEY_ACTIVE
    assert keys(registry) == [("A", True)]


def test_an_unknown_key_is_refused(registry: Registry) -> None:
    problem = problem_of(registry, lambda c: sources.delete_signing_key(c, "X"))
    assert problem is Problem.SIGNING_KEY_NOT_FOUND


def test_the_anchor_lists_every_key_http_first(registry: Registry) -> None:
    add(registry, "A")
    add(registry, "B")
    found = anchor(registry)
    assert found.instance == "DEV"
    assert found.generated_at == registry.clock.now()
    assert [source.download_url for source in found.sources] == [
        "http://cs.example/internalconf",
        "https://cs.example/internalconf",
    ]
    both = (b"certificate A", b"certificate B")
    assert [source.verification_certificates for source in found.sources] == [both, both]


def test_activating_leaves_the_anchor_and_deleting_changes_it(registry: Registry) -> None:
    add(registry, "A")
    add(registry, "B")
    before = anchor(registry)
    registry.clock.pass_time(hours=1)
    with registry.changing() as change:
        sources.activate_signing_key(change, "B", force=True)
    assert anchor(registry) == before
    with registry.changing() as change:
        sources.delete_signing_key(change, "A")
    assert anchor(registry).sources[0].verification_certificates == (b"certificate B",)


def test_the_external_anchor_leads_to_the_external_source(registry: Registry) -> None:
    add(registry, "A", EXTERNAL)
    assert anchor(registry, EXTERNAL).sources[0].download_url == "http://cs.example/externalconf"


def test_an_anchor_lists_every_node_of_a_cluster(registry: Registry) -> None:
    with registry.changing() as change:
        initialize(change, "DEV", "node1.example", "node_1")
    add(registry, "A")
    add(registry, "B", node="node_1")
    with registry.reading() as session:
        assert sources.load_anchor(session, INTERNAL) == sources.load_anchor(
            session, INTERNAL, "node_1"
        )
    assert [source.download_url for source in anchor(registry).sources] == [
        "http://cs.example/internalconf",
        "http://node1.example/internalconf",
        "https://cs.example/internalconf",
        "https://node1.example/internalconf",
    ]


def test_there_is_no_anchor_without_a_key(registry: Registry) -> None:
    assert problem_of(registry, lambda c: sources.load_anchor(c.session, INTERNAL)) is (
        Problem.ANCHOR_NOT_FOUND
    )
    with registry.changing() as change:
        assert sources.rebuild_anchors(change, INTERNAL) is None


def test_a_node_needs_an_address(registry: Registry) -> None:
    problem = problem_of(registry, lambda c: sources.node_address(c.session, "node_9"))
    assert problem is Problem.NOT_INITIALIZED
