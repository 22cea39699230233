from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import PostroadError
from postroad.evidence.asic import AsicContainer, Attachment, encode_container, parse_container
from postroad.evidence.container_verification import verify_container
from postroad.evidence.digests import PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.hashchain_parsing import parse_hash_chain, parse_hash_chain_result
from postroad.evidence.hashchain_verification import verify_hash_chain
from postroad.evidence.logged_message import parse_logged_message
from postroad.evidence.verification import verify_message_signature
from postroad.evidence.xades_parsing import parse_signature
from support.signing import CLIENT, NOW, Bench, message_parts

if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN = "/sig-hashchain.xml"
digests = st.sampled_from([DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512])
messages = st.builds(
    message_parts, st.binary(max_size=20), st.lists(st.binary(max_size=20), max_size=4)
)
batches = st.lists(messages, min_size=1, max_size=12).filter(
    lambda batch: len(batch) > 1 or len(batch[0]) > 1
)
optional = st.none() | st.binary(max_size=50)
BENCH = Bench.create()


@settings(deadline=None, max_examples=60)
@given(batches, digests)
def test_every_message_of_a_batch_is_proved_by_its_own_chain(
    batch: list[list[PartDigest]], algorithm: DigestAlgorithm
) -> None:
    built = build_hash_chains(batch, algorithm)
    assert len(built.chains) == len(batch)
    for chain, parts in zip(built.chains, batch, strict=True):
        inputs = {part.name: part for part in parts}
        verified = verify_hash_chain(built.result, {CHAIN: chain}, inputs)
        assert {reference.name for reference in verified.references} == set(inputs)
        assert not verified.unverified


@settings(deadline=None, max_examples=60)
@given(batches, st.data())
def test_no_chain_proves_a_changed_part(batch: list[list[PartDigest]], data: st.DataObject) -> None:
    built = build_hash_chains(batch, DigestAlgorithm.SHA512)
    index = data.draw(st.integers(0, len(batch) - 1))
    parts = batch[index]
    changed = data.draw(st.sampled_from(parts))
    other = data.draw(st.binary(max_size=20).filter(lambda octets: octets != changed.data))
    inputs = {part.name: part for part in parts}
    inputs[changed.name] = PartDigest.of(changed.name, other, DigestAlgorithm.SHA512)
    with pytest.raises(PostroadError):
        verify_hash_chain(built.result, {CHAIN: built.chains[index]}, inputs)


@settings(deadline=None, max_examples=25)
@given(messages, st.lists(messages, max_size=4), st.data())
def test_every_signature_made_is_a_signature_that_verifies(
    parts: list[PartDigest], others: list[list[PartDigest]], data: st.DataObject
) -> None:
    mine = data.draw(st.integers(0, len(others)))
    document = BENCH.sign(parts, *others, mine=mine)
    verified = verify_message_signature(
        document,
        signer=CLIENT,
        parts={part.name: part for part in parts},
        globalconf=BENCH.globalconf,
        at=NOW,
    )
    assert verified.batch == (bool(others) or len(parts) > 1)


@st.composite
def containers(draw: st.DrawFn) -> AsicContainer:
    has_chain, has_stamp = draw(st.booleans()), draw(st.booleans())
    octets = st.binary(max_size=50)
    contents = draw(st.lists(octets, max_size=5))
    return AsicContainer(
        message=draw(octets),
        signatures=draw(octets),
        hash_chain_result=draw(octets) if has_chain else None,
        hash_chain=draw(octets) if has_chain else None,
        timestamp_chain_result=draw(octets) if has_stamp else None,
        timestamp_chain=draw(octets) if has_stamp else None,
        timestamp=draw(st.binary(min_size=1, max_size=50)) if has_stamp else None,
        attachments=tuple(
            Attachment(f"attachment{number}", data) for number, data in enumerate(contents, 1)
        ),
    )


@settings(deadline=None, max_examples=80)
@given(containers(), st.datetimes().map(lambda moment: moment.replace(tzinfo=NOW.tzinfo)))
def test_every_container_written_is_read_again(container: AsicContainer, at: object) -> None:
    assert parse_container(encode_container(container, at)) == container


READERS: list[Callable[[bytes], object]] = [
    parse_container,
    parse_hash_chain,
    parse_hash_chain_result,
    parse_logged_message,
    parse_signature,
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=300))
def test_readers_refuse_junk_with_a_documented_error(
    read: Callable[[bytes], object], data: bytes
) -> None:
    try:
        read(data)
    except PostroadError as error:
        assert error.fault_code  # noqa: PT017 - junk may also be accepted, then nothing is asked


CONTAINER = encode_container(
    BENCH.container(attachments=[b"body"], batch=True, batch_timestamp=True), NOW
)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(CONTAINER) - 1), st.integers(1, 255), st.integers(0, 40))
def test_a_damaged_container_is_refused_with_a_documented_error_or_says_the_same(
    position: int, change: int, cut: int
) -> None:
    damaged = bytearray(CONTAINER)
    damaged[position] ^= change
    del damaged[position + 1 : position + 1 + cut]
    try:
        report = verify_container(parse_container(bytes(damaged)), BENCH.globalconf)
    except PostroadError:
        return
    # Only what proves nothing (times of entries, manifests) can have been hit.
    intact = parse_container(CONTAINER)
    assert report.message == parse_logged_message(intact.message)
    assert [attachment.size for attachment in report.attachments] == [4]
