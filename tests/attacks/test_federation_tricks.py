"""What the registry of a federated instance must not be able to say about our own members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from postroad.crypto.ocsp import CertificateStatus
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.shared_parameters import (
    ApprovedCa,
    CertificationAuthority,
    OcspInfo,
    SecurityServer,
    SharedParameters,
)
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import MemberId
from postroad.messages.events import Direction
from postroad.trustlab.authority import TrustLab
from support.attacker import encode_message, parts_of, request_block, send, sign
from support.exchange import CLIENT, CONSUMER, INSTANCE, NOW, World
from support.federation import PARTNER, PARTNER_LAB, PARTNER_TARGET, FederatedWorld

OTHER = "OTHER"
EVIL = TrustLab.create(at=NOW, name="Evil")


def federate(world: World, *servers: SecurityServer) -> None:
    """Add an instance that approves our CA too, with an OCSP responder of its own choice."""
    responder = OcspInfo("http://evil", EVIL.ocsp_certificate.der)
    shared = SharedParameters(
        instance=OTHER,
        approved_cas=(
            ApprovedCa(
                name="lab",
                top=CertificationAuthority(world.lab.ca_certificate.der, (responder,)),
                certificate_profile=world.lab.profile,
            ),
        ),
        security_servers=servers,
    )
    world.globalconf = GlobalConfiguration(
        world.globalconf.own_instance,
        [
            world.globalconf.own,
            InstanceConfiguration(instance=OTHER, index=InstanceIndex(shared), shared_version=6),
        ],
    )


def attack(tmp_path: Path, forge: Callable[[World], tuple[bytes, str]]) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            message, code = forge(world)
            assert await send(world, message) == code
            assert world.called == []
            assert world.provider.log.records == []

    asyncio.run(run())


def excused_sign_certificate(world: World) -> tuple[bytes, str]:
    federate(world)
    world.lab.revoke(world.consumer.sign.certificate.serial)
    excuse = world.lab.ocsp(
        world.consumer.sign.certificate,
        status=CertificateStatus.GOOD,
        responder=EVIL.issuing.ocsp_responder,
        at=world.clock.at,
    )
    block = request_block()
    signature = sign(world, world.consumer.sign, parts_of(block, None), ocsp=excuse)
    own = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
    message = encode_message(Direction.REQUEST, block, None, signature, ocsp=own)
    return message, "server.serverproxy.signature_verification.incorrect_validation_info"


def excused_authentication_certificate(world: World) -> tuple[bytes, str]:
    federate(world)
    excuse = world.lab.ocsp(
        world.consumer.auth.certificate,
        status=CertificateStatus.GOOD,
        responder=EVIL.issuing.ocsp_responder,
        at=world.clock.at,
    )
    block = request_block()
    signature = sign(world, world.consumer.sign, parts_of(block, None))
    message = encode_message(Direction.REQUEST, block, None, signature, ocsp=[excuse])
    return message, "server.serverproxy.ssl_authentication_failed"


def client_adopted_by_a_foreign_server(world: World) -> tuple[bytes, str]:
    server = SecurityServer(
        owner=MemberId(OTHER, "COM", "1"),
        code="EVIL",
        address="127.0.0.1",
        auth_certificate_hashes=(world.consumer.auth.certificate.sha256,),
        clients=(CLIENT,),
    )
    world.configure(consumer_clients=())
    federate(world, server)
    block = request_block()
    signature = sign(world, world.consumer.sign, parts_of(block, None))
    own = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
    message = encode_message(Direction.REQUEST, block, None, signature, ocsp=own)
    return message, "server.serverproxy.ssl_authentication_failed"


@pytest.mark.parametrize(
    "forge",
    [
        excused_sign_certificate,
        excused_authentication_certificate,
        client_adopted_by_a_foreign_server,
    ],
    ids=lambda forge: forge.__name__,
)
def test_a_federated_instance_does_not_speak_for_our_members(
    tmp_path: Path, forge: Callable[[World], tuple[bytes, str]]
) -> None:
    attack(tmp_path, forge)


# --- authorities of the wrong instance ---------------------------------------------------------


def foreign_sign_certificate(world: FederatedWorld) -> tuple[bytes, str]:
    """The partner's authority certifies a signing key for our member."""
    forged = PARTNER_LAB.sign_certificate(CONSUMER)
    block = request_block(target=PARTNER_TARGET)
    signature = sign(
        world,
        forged,
        parts_of(block, None),
        ocsp=PARTNER_LAB.ocsp(forged.certificate, at=world.clock.at),
    )
    own = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
    message = encode_message(Direction.REQUEST, block, None, signature, ocsp=own)
    return message, "server.serverproxy.signature_verification.cannot_create_cert_path"


def foreign_authentication_certificate(world: FederatedWorld) -> tuple[bytes, str]:
    """Our registry lists our server with a certificate that the partner's authority issued."""
    forged = PARTNER_LAB.auth_certificate(world.consumer.id)
    world.consumer.auth = forged
    (server,) = world.shared[INSTANCE].security_servers
    listed = replace(server, auth_certificate_hashes=(forged.certificate.sha256,))
    world.publish({INSTANCE: replace(world.shared[INSTANCE], security_servers=(listed,))})
    block = request_block(target=PARTNER_TARGET)
    signature = sign(world, world.consumer.sign, parts_of(block, None))
    own = [PARTNER_LAB.ocsp(forged.certificate, at=world.clock.at)]
    message = encode_message(Direction.REQUEST, block, None, signature, ocsp=own)
    return message, "server.serverproxy.ssl_authentication_failed"


def foreign_responder(world: FederatedWorld) -> tuple[bytes, str]:
    """The partner's responder says that our revoked signing certificate is good."""
    world.lab.revoke(world.consumer.sign.certificate.serial)
    excuse = world.lab.ocsp(
        world.consumer.sign.certificate,
        status=CertificateStatus.GOOD,
        responder=PARTNER_LAB.issuing.ocsp_responder,
        at=world.clock.at,
    )
    block = request_block(target=PARTNER_TARGET)
    signature = sign(world, world.consumer.sign, parts_of(block, None), ocsp=excuse)
    own = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
    message = encode_message(Direction.REQUEST, block, None, signature, ocsp=own)
    return message, "server.serverproxy.signature_verification.incorrect_validation_info"


def genuine(world: FederatedWorld) -> tuple[bytes, str]:
    block = request_block(target=PARTNER_TARGET)
    signature = sign(world, world.consumer.sign, parts_of(block, None))
    own = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
    return encode_message(Direction.REQUEST, block, None, signature, ocsp=own), ""


@pytest.mark.parametrize(
    "forge",
    [
        genuine,
        foreign_sign_certificate,
        foreign_authentication_certificate,
        foreign_responder,
    ],
    ids=lambda forge: forge.__name__,
)
def test_authorities_of_one_instance_vouch_for_nobody_of_another(
    tmp_path: Path, forge: Callable[[FederatedWorld], tuple[bytes, str]]
) -> None:
    async def run() -> None:
        async with FederatedWorld(tmp_path) as world:
            message, code = forge(world)
            assert await send(world, message) == code
            assert bool(world.called) == (code == "")
            assert bool(world.provider.log.records) == (code == "")

    asyncio.run(run())


def test_a_provider_with_a_certificate_of_our_authority_is_not_the_partners(
    tmp_path: Path,
) -> None:
    """Our authority certifies a server for the partner's member, and its registry lists it."""

    async def run() -> None:
        world = FederatedWorld(tmp_path)
        forged = world.lab.auth_certificate(world.provider.id)
        world.provider.auth = forged
        world.provider.ocsp.responses = {
            **world.provider.ocsp.responses,
            forged.certificate.sha1: world.lab.ocsp(forged.certificate, at=world.clock.at),
        }
        (server,) = world.shared[PARTNER].security_servers
        listed = replace(server, auth_certificate_hashes=(forged.certificate.sha256,))
        world.publish({PARTNER: replace(world.shared[PARTNER], security_servers=(listed,))})
        async with world:
            answer = await world.call("GET", PARTNER_TARGET)
            assert answer.header("x-road-error") == "server.clientproxy.ssl_authentication_failed"
            assert world.called == []
            assert world.consumer.log.records == []

    asyncio.run(run())
