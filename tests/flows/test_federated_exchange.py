"""Exchanges between members of two instances with authorities of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.errors import PostroadError
from postroad.evidence.digests import PartDigest
from postroad.evidence.verification import SignatureDocument, verify_message_signature
from postroad.globalconf.view import GlobalConfiguration
from postroad.identifiers import GlobalGroupId
from postroad.securityserver.messagelog.records import InlineBody
from postroad.securityserver.signing import DIGEST
from support.exchange import CLIENT, INSTANCE, NOW
from support.federation import (
    PARTNER,
    PARTNER_REGISTER,
    PARTNER_TARGET,
    FederatedWorld,
)

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.authorization.rights import Subject
    from postroad.identifiers import ClientId
    from postroad.securityserver.messagelog.records import MessageRecord


def within(tmp_path: Path, story: Callable[[FederatedWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), FederatedWorld(tmp_path) as world:
            await story(world)
            assert world.provider.unexpected == []

    asyncio.run(run())


def verify(record: MessageRecord, signer: ClientId, globalconf: GlobalConfiguration) -> None:
    parts = {"/message.xml": PartDigest.of("/message.xml", record.message, DIGEST)}
    for number, body in enumerate(record.attachments, 1):
        assert isinstance(body, InlineBody)
        name = f"/attachment{number}"
        parts[name] = PartDigest.of(name, body.data, DIGEST)
    document = SignatureDocument(record.signature, record.hash_chain_result, record.hash_chain)
    verify_message_signature(document, signer=signer, parts=parts, globalconf=globalconf, at=NOW)


def test_members_of_two_instances_exchange_what_both_can_prove(tmp_path: Path) -> None:
    async def story(world: FederatedWorld) -> None:
        answer = await world.call("POST", PARTNER_TARGET, (), b"body")
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.header("x-road-service") == "PARTNER/GOV/2/reg/persons"
        assert ("X-Road-Client", "TEST/COM/1/app") in world.called[0][2]
        for server in (world.consumer, world.provider):
            request, response = server.log.records
            for view in world.views.values():
                verify(request, CLIENT, view)
                verify(response, PARTNER_REGISTER, view)
        assert world.provider.reports[-1].peer_server == str(world.consumer.id)
        assert world.consumer.reports[-1].peer_server == str(world.provider.id)

    within(tmp_path, story)


def test_proof_of_another_instance_ends_with_its_configuration(tmp_path: Path) -> None:
    """Who doesn't know the instance can't verify its members' signatures."""

    async def story(world: FederatedWorld) -> None:
        await world.call("GET", PARTNER_TARGET)
        request, response = world.consumer.log.records
        world.known[INSTANCE] = (INSTANCE,)
        world.configure()
        verify(request, CLIENT, world.views[INSTANCE])
        with pytest.raises(PostroadError):
            verify(response, PARTNER_REGISTER, world.views[INSTANCE])

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("unknown_to", "code"),
    [
        (INSTANCE, "server.clientproxy.unknown_member"),
        (PARTNER, "server.serverproxy.ssl_authentication_failed"),
    ],
)
def test_nothing_passes_before_both_sides_know_each_other(
    tmp_path: Path, unknown_to: str, code: str
) -> None:
    async def story(world: FederatedWorld) -> None:
        world.known[unknown_to] = (unknown_to,)
        world.configure()
        answer = await world.call("GET", PARTNER_TARGET)
        assert (answer.status, answer.header("x-road-error")) == (500, code)
        assert json.loads(answer.body)["type"] == code
        assert world.called == []

    within(tmp_path, story)


def test_an_expired_partner_is_as_one_that_was_never_known(tmp_path: Path) -> None:
    async def story(world: FederatedWorld) -> None:
        view = world.views[INSTANCE]
        partner = view.instance(PARTNER)
        assert partner is not None
        expired = replace(partner, shared_expires_at=NOW - timedelta(seconds=1))
        world.views[INSTANCE] = GlobalConfiguration(INSTANCE, [view.own, expired]).visible_at(NOW)
        answer = await world.call("GET", PARTNER_TARGET)
        assert answer.header("x-road-error") == "server.clientproxy.unknown_member"

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        (CLIENT, True),
        (GlobalGroupId(INSTANCE, "callers"), True),
        (GlobalGroupId(PARTNER, "callers"), True),
        (GlobalGroupId(INSTANCE, "others"), False),
        (GlobalGroupId("THIRD", "callers"), False),
    ],
)
def test_rights_go_to_foreign_subsystems_and_groups_of_any_known_instance(
    tmp_path: Path, subject: Subject, *, allowed: bool
) -> None:
    async def story(world: FederatedWorld) -> None:
        world.offer(subject=subject)
        answer = await world.call("GET", PARTNER_TARGET)
        assert (answer.status == 200) is allowed
        if not allowed:
            assert answer.header("x-road-error") == "server.serverproxy.access_denied"

    within(tmp_path, story)


def test_a_group_of_an_instance_that_is_gone_gives_no_right(tmp_path: Path) -> None:
    """The group of our instance counts at the partner only while the partner knows us."""

    async def story(world: FederatedWorld) -> None:
        shared = world.shared[INSTANCE]
        world.publish({INSTANCE: replace(shared, global_groups=())})
        world.offer(subject=GlobalGroupId(INSTANCE, "callers"))
        answer = await world.call("GET", PARTNER_TARGET)
        assert answer.header("x-road-error") == "server.serverproxy.access_denied"

    within(tmp_path, story)
