from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from postroad.adapters.configuration_download import check_anchor
from postroad.clock import FixedClock
from postroad.errors import FaultCode, MalformedInput, PostroadError, UnavailablePeer
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.directory import MAX_DIRECTORY_BYTES
from postroad.ports import FetchedResponse
from support.globalconf import NOW, Instance, Network

if TYPE_CHECKING:
    from postroad.globalconf.trusted import AcceptedUpdate

CLOCK = FixedClock(NOW)


def check(network: Network, anchor: Anchor, *, is_own: bool) -> AcceptedUpdate:
    return asyncio.run(check_anchor(anchor, network, CLOCK, is_own=is_own))


def published() -> Instance:
    instance = Instance()
    instance.publish()
    return instance


def test_accepts_the_anchor_of_our_own_instance() -> None:
    instance = published()
    accepted = check(Network(instance), instance.anchor(), is_own=True)
    assert set(accepted.instances["TEST"]) == {"private-params.xml", "shared-params.xml"}


def test_accepts_the_external_anchor_of_another_instance() -> None:
    instance = published()
    accepted = check(Network(instance), instance.anchor(external=True), is_own=False)
    assert set(accepted.instances["TEST"]) == {"shared-params.xml"}


def test_refuses_an_external_anchor_as_our_own() -> None:
    instance = published()
    with pytest.raises(PostroadError):
        check(Network(instance), instance.anchor(external=True), is_own=True)


def test_refuses_an_internal_anchor_as_another_instances() -> None:
    instance = published()
    with pytest.raises(PostroadError) as caught:
        check(Network(instance), instance.anchor(), is_own=False)
    assert caught.value.code is FaultCode.MALFORMED_ANCHOR


def test_says_why_an_anchor_leads_nowhere() -> None:
    instance = published()
    with pytest.raises(UnavailablePeer):
        check(Network(), instance.anchor(), is_own=True)
    with pytest.raises(UnavailablePeer):
        check(Network(), Anchor("TEST", None, (Source("ftp://x", (b"A",)),)), is_own=True)


def test_an_answer_larger_than_allowed_is_no_answer() -> None:
    instance = published()
    network = Network(instance)
    large = FetchedResponse(200, (), b"x" * (MAX_DIRECTORY_BYTES + 1))
    network.replaced["http://cs.example/internalconf?version=6"] = large
    with pytest.raises(UnavailablePeer, match="larger than allowed"):
        check(network, instance.anchor(), is_own=True)


def test_a_failure_of_the_fetcher_is_a_failure_of_the_address() -> None:
    class Broken(Network):
        async def fetch(self, method: str, url: str, **more: Any) -> FetchedResponse:
            raise MalformedInput("this isn't HTTP")

    with pytest.raises(UnavailablePeer, match="isn't HTTP"):
        check(Broken(), published().anchor(), is_own=True)
