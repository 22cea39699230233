"""How an instance begins, and what it never becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.adapters.database import create_engine, migrate
from postroad.centralserver.node import MIGRATIONS
from postroad.centralserver.registry import groups, sources
from postroad.centralserver.registry.parameters import own_instance
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import NewKey, SourceType
from postroad.centralserver.registry.system import (
    InstanceStatus,
    change_address,
    initialize,
    instance_status,
)
from postroad.globalconf.anchor import Anchor
from support.central_server import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def blank() -> Iterator[Registry]:
    engine = create_engine("sqlite://")
    migrate(engine, MIGRATIONS)
    yield Registry(engine)
    engine.dispose()


def test_nothing_is_known_before(blank: Registry) -> None:
    with blank.reading() as session:
        assert instance_status(session) == InstanceStatus(None, None)
        with pytest.raises(RegistryRefusal) as refused:
            own_instance(session)
    assert refused.value.problem is Problem.NOT_INITIALIZED


def test_initialising_gives_identifier_address_and_owners_group(blank: Registry) -> None:
    with blank.changing() as change:
        assert initialize(change, "DEV", " cs.example ")
        assert not initialize(change, "DEV", "cs.example")
    with blank.reading() as session:
        assert instance_status(session) == InstanceStatus("DEV", "cs.example")
        assert groups.find_group(session, "security-server-owners") is not None


@pytest.mark.parametrize(("instance", "address"), [("EE", "cs.example"), ("DEV", "x.example")])
def test_an_instance_is_initialised_once(registry: Registry, instance: str, address: str) -> None:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        initialize(change, instance, address)
    assert refused.value.problem is Problem.ALREADY_INITIALIZED


@pytest.mark.parametrize("instance", ["", "D E V", "O'DEV", "DEV/1"])
def test_an_identifier_that_directories_cannot_carry_is_refused(
    blank: Registry, instance: str
) -> None:
    with pytest.raises(RegistryRefusal) as refused, blank.changing() as change:
        initialize(change, instance, "cs.example")
    assert refused.value.problem is Problem.INVALID_IDENTIFIER


def test_a_new_address_stands_in_new_anchors(registry: Registry) -> None:
    with registry.changing() as change:
        new = NewKey("A" * 40, "EC", b"certificate")
        sources.add_signing_key(change, SourceType.INTERNAL, new)
        assert change_address(change, "new.example:8080")
        assert not change_address(change, "new.example:8080")
        anchor = Anchor.parse(sources.load_anchor(change.session, SourceType.INTERNAL))
    assert [source.download_url for source in anchor.sources] == [
        "http://new.example:8080/internalconf",
        "https://new.example:8080/internalconf",
    ]
