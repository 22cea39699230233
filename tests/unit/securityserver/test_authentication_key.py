from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError, FaultCode, UnavailablePeer
from postroad.ports import LentKey
from postroad.securityserver.authentication_key import AuthenticationKey
from support.exchange import World


def test_nothing_can_be_done_before_a_key_was_lent(tmp_path: Path) -> None:
    key = AuthenticationKey(World(tmp_path).consumer.signer)
    assert key.server_context is None
    for ask in (key.client_tls, lambda: key.certificate):
        with pytest.raises(ConfigurationError) as caught:
            ask()
        assert caught.value.code is FaultCode.SSL_AUTHENTICATION_FAILED


def test_contexts_change_with_the_key_or_the_authorities_only(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        server = world.consumer
        key = AuthenticationKey(server.signer)
        authorities = world.lab.ca_certificates
        assert await key.refresh(authorities)
        assert key.certificate == server.auth.certificate
        context, tls = key.server_context, key.client_tls()
        assert not await key.refresh(authorities)
        assert key.server_context is context
        assert await key.refresh(authorities[:1])
        assert key.server_context is not context
        assert key.client_tls() is tls
        server.signer.authentication = world.lab.auth_certificate(server.id)
        assert await key.refresh(authorities[:1])
        assert key.client_tls() is not tls

    asyncio.run(run())


def test_a_signer_that_is_away_leaves_the_lent_key_in_use(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        key = AuthenticationKey(world.consumer.signer)
        await key.refresh(world.lab.ca_certificates)

        async def away() -> LentKey:
            raise UnavailablePeer("away")

        world.consumer.signer.lend_authentication_key = away
        with pytest.raises(UnavailablePeer):
            await key.refresh(world.lab.ca_certificates)
        assert key.certificate == world.consumer.auth.certificate

    asyncio.run(run())
