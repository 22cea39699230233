"""Messages that a member signed together must not be taken apart and put together anew.

Whoever received two messages of one batch holds all their digests, and could show a court the head
of one with the body of the other, with the member's genuine signature below.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from postroad.crypto.algorithms import SignatureAlgorithm, sign_digest
from postroad.errors import FaultCode, PostroadError
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.verification import SignatureDocument, verify_message_signature
from postroad.evidence.xades import prepare_signature
from postroad.securityserver.signing import DIGEST
from support.attacker import parts_of
from support.exchange import CLIENT, World

ONE, OTHER = parts_of(b"head 1", b"body 1"), parts_of(b"head 2", b"body 2")


def value(part: PartDigest) -> str:
    return f"<DigestValue>{b64encode(part.value).decode()}</DigestValue>"


def known(part: PartDigest) -> str:
    return f'<ns2:DataRef URI="{part.name}">{value(part)}</ns2:DataRef>'


def given(part: PartDigest) -> str:
    return f"<ns2:HashValue>{value(part)}</ns2:HashValue>"


def chain(*steps: str) -> bytes:
    namespaces = 'xmlns:ns2="http://cyber.ee/hashchain" xmlns="http://www.w3.org/2000/09/xmldsig#"'
    inner = "".join(
        f'<ns2:HashStep id="STEP{number}">{step}</ns2:HashStep>'
        for number, step in enumerate(steps)
    )
    method = f'<ns2:DefaultDigestMethod Algorithm="{DIGEST.uri}"/>'
    return f"<ns2:HashChain {namespaces}>{method}{inner}</ns2:HashChain>".encode()


FORK = '<ns2:StepRef URI="#STEP1"/><ns2:StepRef URI="#STEP2"/>'


def judge(world: World, hash_chain: bytes, parts: list[PartDigest]) -> None:
    chains = build_hash_chains([ONE, OTHER], DIGEST)
    identity = world.consumer.sign
    prepared = prepare_signature(
        reference_uri=HASH_CHAIN_RESULT_PART,
        reference_digest=DIGEST.digest(chains.result),
        certificate=identity.certificate,
        algorithm=SignatureAlgorithm.for_key(identity.certificate.public_key, DIGEST),
        signing_time=world.clock.now(),
    )
    signed = sign_digest(identity.private_key, prepared.algorithm, prepared.digest, ecdsa_raw=True)
    ocsp = world.lab.ocsp(identity.certificate, at=world.clock.now())
    verify_message_signature(
        SignatureDocument(prepared.assemble(signed, [ocsp]), chains.result, hash_chain),
        signer=CLIENT,
        parts={part.name: part for part in parts},
        globalconf=world.globalconf,
        at=world.clock.now(),
    )


def test_refuses_the_head_of_one_message_with_the_body_of_another(tmp_path: Path) -> None:
    mixed = chain(FORK, known(ONE[0]) + given(ONE[1]), given(OTHER[0]) + known(OTHER[1]))
    with pytest.raises(PostroadError) as caught:
        judge(World(tmp_path), mixed, [ONE[0], OTHER[1]])
    assert caught.value.code is FaultCode.MALFORMED_HASH_CHAIN


def test_takes_each_message_as_it_was_signed(tmp_path: Path) -> None:
    world = World(tmp_path)
    judge(world, chain(FORK, known(ONE[0]) + known(ONE[1]), given(OTHER[0]) + given(OTHER[1])), ONE)
