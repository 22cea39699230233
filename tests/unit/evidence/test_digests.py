from __future__ import annotations

import hashlib

import asn1crypto.core
import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.evidence.digests import (
    PartDigest,
    attachment_part,
    encode_digest_list,
    step_digest,
)

SHA256, SHA512 = DigestAlgorithm.SHA256, DigestAlgorithm.SHA512


class SingleDigest(asn1crypto.core.Sequence):  # type: ignore[misc] # untyped library
    _fields = [  # noqa: RUF012 - the shape of asn1crypto
        ("digestValue", asn1crypto.core.OctetString),
        ("digestMethod", asn1crypto.core.UTF8String),
        ("transforms", asn1crypto.core.SequenceOf, {"spec": asn1crypto.core.UTF8String}),
    ]


class DigestList(asn1crypto.core.SequenceOf):  # type: ignore[misc] # untyped library
    _child_spec = SingleDigest


@pytest.mark.parametrize("count", [0, 1, 2, 3, 200])
@pytest.mark.parametrize("size", [0, 1, 64, 127, 128, 256, 70_000])
def test_encodes_digest_lists_as_an_independent_der_encoder_does(count: int, size: int) -> None:
    values = [bytes([number % 256]) * size for number in range(count if size < 1000 else 2)]
    expected = DigestList(
        [{"digestValue": value, "digestMethod": SHA512.uri, "transforms": []} for value in values]
    ).dump()
    assert encode_digest_list((SHA512, value) for value in values) == expected


def test_names_the_algorithm_of_each_digest_on_its_own() -> None:
    one = encode_digest_list([(SHA256, b"x"), (SHA512, b"y")])
    other = encode_digest_list([(SHA512, b"x"), (SHA256, b"y")])
    assert one != other
    assert SHA256.uri.encode() in one


def test_step_digest_is_the_digest_of_the_list() -> None:
    encoded = encode_digest_list([(SHA256, b"a"), (SHA256, b"b")])
    assert step_digest(SHA256, [b"a", b"b"]) == hashlib.sha256(encoded).digest()


def test_part_digest_knows_other_algorithms_only_while_it_has_the_octets() -> None:
    part = PartDigest.of("/message.xml", b"data", SHA512)
    assert part.value == hashlib.sha512(b"data").digest()
    assert part.under(SHA512) == part.value
    assert part.under(SHA256) == hashlib.sha256(b"data").digest()
    without = PartDigest("/message.xml", SHA512, part.value)
    assert without.under(SHA512) == part.value
    assert without.under(SHA256) is None


def test_does_not_print_message_octets() -> None:
    assert "secret" not in repr(PartDigest.of("/message.xml", b"secret", SHA512))


def test_attachments_are_counted_from_one() -> None:
    assert [attachment_part(number) for number in (1, 12)] == ["/attachment1", "/attachment12"]
