"""Whatever somebody between the servers changes is refused, and nothing is delivered.

The man in the middle has valid TLS identities of both servers: only the signature is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from postroad.demo.consumer import Answer, call
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.evidence import load_stored
from postroad.demo.layout import CONSUMER, PROVIDER
from postroad.demo.processes import wait_until
from postroad.demo.provider import Provider
from support.middle import Middle
from support.operating import operate

pytestmark = pytest.mark.xdist_group("ecosystem")

BODY = b"what the consumer really said, " * 3
NUMBER = 99


@pytest.fixture(scope="module")
def ecosystem(shared_ecosystem: Ecosystem) -> Ecosystem:
    return shared_ecosystem


@pytest.fixture(scope="module")
def middle(ecosystem: Ecosystem) -> Iterator[Middle]:
    with Middle(ecosystem, NUMBER) as running:

        def move(address: str, *, seen: bool) -> None:
            operate(ecosystem.layout, PROVIDER, "change-address", address)
            ecosystem.publish()

            # The server may not yet have what the others have: it would refuse the way back.
            def knows_itself() -> bool:
                stored = load_stored(ecosystem.layout, PROVIDER)
                return stored.address_of(PROVIDER.server_id) == address

            def has_moved() -> bool:
                before = len(running.seen)
                is_through = exchange(ecosystem).status == 201
                return is_through and (len(running.seen) > before) is seen

            wait_until(f"the address {address}", has_moved)
            wait_until(f"{address} in the provider's own configuration", knows_itself)

        move(running.host, seen=True)
        yield running
        move(ecosystem.layout.address(PROVIDER.number), seen=False)


@pytest.fixture(autouse=True)
def untouched(middle: Middle) -> Iterator[None]:
    middle.reset()
    yield
    middle.reset()


def exchange(ecosystem: Ecosystem) -> Answer:
    url = ecosystem.layout.client_url(CONSUMER)
    return call(url, "POST", "/applications", body=BODY)


def received(ecosystem: Ecosystem) -> int:
    assert isinstance(ecosystem.provider, Provider)
    return ecosystem.provider.requests


def parts(message: bytes) -> tuple[bytes, list[bytes]]:
    """The boundary line and the parts of a transport message, each with its headers."""
    boundary = re.match(rb"--\w+", message)
    assert boundary is not None
    pieces = message.split(boundary.group())
    assert pieces[0] == b""
    assert pieces[-1].startswith(b"--")
    return boundary.group(), pieces[1:-1]


def joined(boundary: bytes, pieces: list[bytes]) -> bytes:
    return b"".join(boundary + piece for piece in pieces) + boundary + b"--\r\n"


def kind_of(piece: bytes) -> str:
    found = re.search(rb"content-type: *([\w./-]+)", piece, re.IGNORECASE)
    assert found is not None
    return found.group(1).decode()


def flip(kind: str, position: float) -> Callable[[bytes], bytes]:
    """Flip one bit inside the content of the first part of that kind."""

    def change(message: bytes) -> bytes:
        boundary, pieces = parts(message)
        index = next(i for i, piece in enumerate(pieces) if kind_of(piece) == kind)
        piece = bytearray(pieces[index])
        start = piece.index(b"\r\n\r\n") + 4
        at = start + int((len(piece) - 3 - start) * position)
        piece[at] ^= 0x01
        pieces[index] = bytes(piece)
        return joined(boundary, pieces)

    return change


def replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(message: bytes) -> bytes:
        assert old in message
        return message.replace(old, new)

    return change


def without(kind: str) -> Callable[[bytes], bytes]:
    def change(message: bytes) -> bytes:
        boundary, pieces = parts(message)
        kept = [piece for piece in pieces if kind_of(piece) != kind]
        assert len(kept) < len(pieces)
        return joined(boundary, kept)

    return change


def doubled(kind: str) -> Callable[[bytes], bytes]:
    def change(message: bytes) -> bytes:
        boundary, pieces = parts(message)
        out = []
        for piece in pieces:
            out += [piece, piece] if kind_of(piece) == kind else [piece]
        return joined(boundary, out)

    return change


def cut(message: bytes) -> bytes:
    return message[: len(message) * 2 // 3]


REQUEST = "application/x-road-rest-request"
RESPONSE = "application/x-road-rest-response"
BODY_PART = "application/x-road-rest-body"
CHAIN_RESULT = "application/hash-chain-result"
CHAIN = "application/hash-chain"
SIGNATURE = "signature/bdoc-1.0/ts"
OCSP = "application/ocsp-response"

REQUEST_CHANGES = {
    "another path": replace(b"/applications\r\n", b"/documents123\r\n"),
    "another client": replace(
        CONSUMER.subsystem.encoded().encode(), PROVIDER.subsystem.encoded().encode()
    ),
    "an added header": replace(b"x-road-request-id", b"X-Injected:1\r\nx-road-request-id"),
    "another body": replace(b"really said", b"never  said"),
    "a bit of the message": flip(REQUEST, 0.5),
    "a bit of the body": flip(BODY_PART, 0.9),
    "a bit of the chain's result": flip(CHAIN_RESULT, 0.8),
    "a bit of the chain": flip(CHAIN, 0.6),
    "a bit of the signature": flip(SIGNATURE, 0.4),
    "a bit of the sender's OCSP response": flip(OCSP, 0.2),
    "no OCSP response": without(OCSP),
    "no body": without(BODY_PART),
    "no chain": without(CHAIN),
    "no chain's result": without(CHAIN_RESULT),
    "no signature": without(SIGNATURE),
    "the message twice": doubled(REQUEST),
    "the body twice": doubled(BODY_PART),
    "the signature twice": doubled(SIGNATURE),
    "an end too early": cut,
}
RESPONSE_CHANGES = {
    "another status": replace(b"201\r\n", b"204\r\n"),
    "another body": replace(b'"received"', b'"REJECTED"'),
    "a bit of the message": flip(RESPONSE, 0.5),
    "a bit of the body": flip(BODY_PART, 0.9),
    "a bit of the chain's result": flip(CHAIN_RESULT, 0.8),
    "a bit of the chain": flip(CHAIN, 0.6),
    "a bit of the signature": flip(SIGNATURE, 0.4),
    "no body": without(BODY_PART),
    "no signature": without(SIGNATURE),
    "the body twice": doubled(BODY_PART),
    "an end too early": cut,
}


def test_an_untouched_message_passes_the_middle(ecosystem: Ecosystem, middle: Middle) -> None:
    before = received(ecosystem)
    assert exchange(ecosystem).status == 201
    assert received(ecosystem) == before + 1


@pytest.mark.parametrize("name", REQUEST_CHANGES)
def test_a_changed_request_never_reaches_the_provider(
    ecosystem: Ecosystem, middle: Middle, name: str
) -> None:
    before = received(ecosystem)
    middle.change_request = REQUEST_CHANGES[name]
    answer = exchange(ecosystem)
    assert answer.fault_code is not None
    assert answer.fault_code.startswith(("server.serverproxy.", "server.clientproxy."))
    assert answer.status == 500
    assert received(ecosystem) == before


@pytest.mark.parametrize("name", RESPONSE_CHANGES)
def test_a_changed_response_never_reaches_the_consumer(
    ecosystem: Ecosystem, middle: Middle, name: str
) -> None:
    middle.change_response = RESPONSE_CHANGES[name]
    answer = exchange(ecosystem)
    assert answer.fault_code is not None
    assert answer.fault_code.startswith("server.clientproxy.")
    assert answer.status == 500
    assert b"received" not in answer.body
    assert b"REJECTED" not in answer.body


def test_an_earlier_request_with_its_signature_cannot_answer_for_another(
    ecosystem: Ecosystem, middle: Middle
) -> None:
    assert exchange(ecosystem).status == 201
    earlier = middle.seen[-1][1]

    def earlier_response(_message: bytes) -> bytes:
        return _with_boundary_of(_message, earlier)

    middle.change_response = earlier_response
    answer = exchange(ecosystem)
    assert answer.fault_code is not None
    assert answer.fault_code.endswith("inconsistent_response")


def _with_boundary_of(message: bytes, other: bytes) -> bytes:
    boundary, _ = parts(message)
    _, pieces = parts(other)
    return joined(boundary, pieces)
