from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, PostroadError
from postroad.evidence.digests import PartDigest, encode_digest_list
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.hashchain_verification import (
    MAX_DEPTH,
    ChainPolicy,
    VerifiedHashChain,
    verify_hash_chain,
)
from support.signing import REFERENCE, message_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

SHA256, SHA512 = DigestAlgorithm.SHA256, DigestAlgorithm.SHA512
MESSAGE = "/message.xml"


def vector(name: str) -> bytes:
    return (REFERENCE / "hashchain" / f"hc-verifier{name}.xml").read_bytes()


def verify_vector(
    result: str,
    chain: str,
    inputs: Mapping[str, PartDigest | bytes],
    **others: str,
) -> VerifiedHashChain:
    chains = {"/hashchain.xml": vector(chain)}
    chains |= {f"/{name}.xml": vector(file) for name, file in others.items()}
    return verify_hash_chain(vector(result), chains, inputs)


def refused_with(code: FaultCode, *args: object, **kwargs: object) -> PostroadError:
    with pytest.raises(PostroadError) as refused:
        verify_hash_chain(*args, **kwargs)
    assert refused.value.code is code, refused.value
    return refused.value


# --- vectors of the reference ---------------------------------------------------------------


@pytest.mark.parametrize("known", ["octets", "digest"])
def test_vector_1_verifies(known: str) -> None:
    data = vector("1-message")
    part = data if known == "octets" else PartDigest.of(MESSAGE, data, SHA256)
    verified = verify_vector("1-hashchainresult", "1-hashchain", {MESSAGE: part})
    assert [(r.name, r.verified) for r in verified.references] == [(MESSAGE, True)]
    assert verified.algorithm is SHA256


def test_vector_1_refuses_an_unused_input() -> None:
    refused_with(
        FaultCode.HASHCHAIN_UNUSED_INPUTS,
        vector("1-hashchainresult"),
        {"/hashchain.xml": vector("1-hashchain")},
        {MESSAGE: vector("1-message"), "/attachment1": b""},
    )


def test_vector_1_refuses_another_digest() -> None:
    refused_with(
        FaultCode.INVALID_HASH_CHAIN,
        vector("1-hashchainresult"),
        {"/hashchain.xml": vector("1-hashchain")},
        {MESSAGE: PartDigest.of(MESSAGE, b"other", SHA256)},
    )


def test_vector_1_refuses_other_octets() -> None:
    refused_with(
        FaultCode.INVALID_HASH_CHAIN_REF,
        vector("1-hashchainresult"),
        {"/hashchain.xml": vector("1-hashchain")},
        {MESSAGE: b"other"},
    )


def test_vector_2_with_attachments_verifies() -> None:
    names = [MESSAGE, "/attachment1", "/attachment2", "/attachment3"]
    inputs = {n: PartDigest(n, SHA256, bytes([v])) for v, n in enumerate(names, 0x0B)}
    verified = verify_vector("2-hashchainresult", "2-hashchain", inputs)
    assert [reference.name for reference in verified.references] == names


def test_vector_3_with_transforms_verifies() -> None:
    verify_vector("3-hashchainresult", "3-hashchain", {MESSAGE: vector("3-message")})


def test_vector_3_without_transforms_is_refused() -> None:
    refused_with(
        FaultCode.INVALID_HASH_CHAIN_REF,
        vector("3-hashchainresult"),
        {"/hashchain.xml": vector("3-hashchain-invalid")},
        {MESSAGE: vector("3-message")},
    )


def test_vector_3_is_refused_where_transforms_are_not_allowed() -> None:
    refused_with(
        FaultCode.MALFORMED_HASH_CHAIN,
        vector("3-hashchainresult"),
        {"/hashchain.xml": vector("3-hashchain")},
        {MESSAGE: vector("3-message")},
        policy=ChainPolicy(allow_transforms=False),
    )


def test_vector_4_of_two_files_verifies() -> None:
    verify_vector(
        "4-hashchainresult",
        "4-hashchain1",
        {MESSAGE: vector("4-message")},
        hashchain2="4-hashchain2",
    )


def test_vector_4_without_its_second_file_is_refused() -> None:
    refused_with(
        FaultCode.INVALID_REFERENCE,
        vector("4-hashchainresult"),
        {"/hashchain.xml": vector("4-hashchain1")},
        {MESSAGE: vector("4-message")},
    )


def test_vector_5_is_malformed() -> None:
    refused_with(
        FaultCode.MALFORMED_HASH_CHAIN,
        vector("3-hashchainresult"),
        {"/hashchain.xml": vector("5-hashchain-invalid-schema")},
        {MESSAGE: vector("3-message")},
    )


# --- chains made by hand --------------------------------------------------------------------

CHAIN = "/c.xml"
C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"


def result(value: bytes, uri: str = "/c.xml#S", method: DigestAlgorithm | None = SHA256) -> bytes:
    stated = f'<DigestMethod Algorithm="{method.uri}"/>' if method else ""
    return (
        f'<h:HashChainResult URI="{uri}" xmlns="http://www.w3.org/2000/09/xmldsig#" '
        f'xmlns:h="http://cyber.ee/hashchain">{stated}'
        f"<DigestValue>{b64encode(value).decode()}</DigestValue></h:HashChainResult>"
    ).encode()


def chain(*steps: str, method: DigestAlgorithm | None = SHA256) -> bytes:
    stated = f'<h:DefaultDigestMethod Algorithm="{method.uri}"/>' if method else ""
    content = "".join(
        f'<h:HashStep id="S{number or ""}">{step}</h:HashStep>' for number, step in enumerate(steps)
    )
    return (
        '<h:HashChain xmlns="http://www.w3.org/2000/09/xmldsig#" '
        f'xmlns:h="http://cyber.ee/hashchain">{stated}{content}</h:HashChain>'
    ).encode()


def data_ref(data: bytes, *transforms: str, name: str = MESSAGE, value: bytes | None = None) -> str:
    stated = "".join(f'<Transform Algorithm="{transform}"/>' for transform in transforms)
    stated = f"<Transforms>{stated}</Transforms>" if stated else ""
    digest = b64encode(SHA256.digest(data) if value is None else value).decode()
    return f'<h:DataRef URI="{name}">{stated}<DigestValue>{digest}</DigestValue></h:DataRef>'


def step_ref(uri: str) -> str:
    return f'<h:StepRef URI="{uri}"/>'


def top_of(*values: bytes) -> bytes:
    return SHA256.digest(encode_digest_list((SHA256, value) for value in values))


def test_step_that_refers_to_itself_is_refused() -> None:
    error = refused_with(
        FaultCode.MALFORMED_HASH_CHAIN, result(b""), {CHAIN: chain(step_ref("#S"))}, {}
    )
    assert "more than once" in error.message


def test_steps_in_a_circle_over_two_files_are_refused() -> None:
    chains = {CHAIN: chain(step_ref("/d.xml#S")), "/d.xml": chain(step_ref("/c.xml#S"))}
    refused_with(FaultCode.MALFORMED_HASH_CHAIN, result(b""), chains, {})


def test_step_used_twice_is_refused_before_it_can_multiply() -> None:
    doubled = [step_ref(f"#S{number}") * 2 for number in range(1, 60)]
    refused_with(FaultCode.MALFORMED_HASH_CHAIN, result(b""), {CHAIN: chain(*doubled)}, {})


def test_depth_is_bounded() -> None:
    steps = [step_ref(f"#S{number}") for number in range(1, MAX_DEPTH + 5)]
    error = refused_with(
        FaultCode.MALFORMED_HASH_CHAIN,
        result(b""),
        {CHAIN: chain(*steps, data_ref(b"m"))},
        {MESSAGE: b"m"},
    )
    assert "below each other" in error.message


@pytest.mark.parametrize("uri", ["", "/c.xml", "/c.xml#", "#S", "/c.xml#absent"])
def test_result_must_name_a_step(uri: str) -> None:
    refused_with(
        FaultCode.MALFORMED_HASH_CHAIN, result(b"", uri), {CHAIN: chain(data_ref(b"m"))}, {}
    )


def test_unknown_file_is_refused() -> None:
    refused_with(FaultCode.INVALID_REFERENCE, result(b"", "/x.xml#S"), {CHAIN: chain("")}, {})


def test_empty_step_is_refused() -> None:
    empty = result(SHA256.digest(encode_digest_list([])))
    refused_with(FaultCode.MALFORMED_HASH_CHAIN, empty, {CHAIN: chain("")}, {})


@pytest.mark.parametrize("stated", [(None, SHA256), (SHA256, None)])
def test_digest_without_method_is_refused(
    stated: tuple[DigestAlgorithm | None, DigestAlgorithm | None],
) -> None:
    refused_with(
        FaultCode.MALFORMED_HASH_CHAIN,
        result(b"", method=stated[0]),
        {CHAIN: chain(data_ref(b"m"), method=stated[1])},
        {MESSAGE: b"m"},
    )


def test_part_that_is_not_at_hand_is_refused_unless_that_is_allowed() -> None:
    digests = [SHA256.digest(data) for data in (b"m", b"a")]
    chains = {CHAIN: chain(data_ref(b"m") + data_ref(b"a", name="/attachment1"))}
    refused_with(FaultCode.INVALID_REFERENCE, result(top_of(*digests)), chains, {MESSAGE: b"m"})
    verified = verify_hash_chain(
        result(top_of(*digests)),
        chains,
        {MESSAGE: b"m"},
        policy=ChainPolicy(accept_missing=True),
    )
    assert [reference.name for reference in verified.unverified] == ["/attachment1"]


def test_digest_that_was_sent_along_must_be_ours() -> None:
    # The top is computed from our digest, so only the comparison can tell.
    forged = chain(data_ref(b"", value=b"forged"))
    part = PartDigest.of(MESSAGE, b"m", SHA256)
    refused_with(
        FaultCode.INVALID_HASH_CHAIN_REF,
        result(top_of(part.value)),
        {CHAIN: forged},
        {MESSAGE: part},
    )


def test_part_is_digested_anew_if_the_chain_uses_another_algorithm() -> None:
    part = PartDigest.of(MESSAGE, b"m", SHA512)
    chains = {CHAIN: chain(data_ref(b"m"))}
    verify_hash_chain(result(top_of(SHA256.digest(b"m"))), chains, {MESSAGE: part})
    without = PartDigest(MESSAGE, SHA512, part.value)
    refused_with(
        FaultCode.INVALID_REFERENCE,
        result(top_of(SHA256.digest(b"m"))),
        chains,
        {MESSAGE: without},
    )


@pytest.mark.parametrize("where", ["result", "chain"])
def test_weak_digests_are_for_archives_only(where: str) -> None:
    sha1 = DigestAlgorithm.SHA1
    value = (SHA256 if where == "result" else sha1).digest(b"m")
    ref = data_ref(b"", value=value)
    in_chain = SHA256 if where == "result" else sha1
    encoded = encode_digest_list([(in_chain, value)])
    method = sha1 if where == "result" else SHA256
    top = result(method.digest(encoded), method=method)
    chains = {CHAIN: chain(ref, method=in_chain)}
    refused_with(FaultCode.INVALID_HASH_CHAIN, top, chains, {MESSAGE: b"m"})
    verify_hash_chain(top, chains, {MESSAGE: b"m"}, policy=ChainPolicy(allow_legacy=True))


@pytest.mark.parametrize(
    ("transform", "canonical"),
    [
        (C14N, b'<a xmlns:x="urn:y"><b></b></a>'),
        (C14N + "#WithComments", b'<a xmlns:x="urn:y"><!--c--><b></b></a>'),
        ("http://www.w3.org/2001/10/xml-exc-c14n#", b"<a><b></b></a>"),
        ("http://www.w3.org/2001/10/xml-exc-c14n#WithComments", b"<a><!--c--><b></b></a>"),
    ],
)
def test_canonical_forms_are_applied(transform: str, canonical: bytes) -> None:
    chains = {CHAIN: chain(data_ref(canonical, transform))}
    top = result(top_of(SHA256.digest(canonical)))
    verify_hash_chain(top, chains, {MESSAGE: b'<a xmlns:x="urn:y"><!--c--><b/></a>'})


@pytest.mark.parametrize("transforms", [("urn:other",), (C14N, C14N)])
def test_other_transforms_are_refused(transforms: tuple[str, ...]) -> None:
    chains = {CHAIN: chain(data_ref(b"<a></a>", *transforms))}
    top = result(top_of(SHA256.digest(b"<a></a>")))
    refused_with(FaultCode.MALFORMED_HASH_CHAIN, top, chains, {MESSAGE: b"<a/>"})


@pytest.mark.parametrize("data", [b"m", b'<x xmlns:y="relative"/>'])
def test_transform_of_what_has_no_canonical_form_is_refused(data: bytes) -> None:
    chains = {CHAIN: chain(data_ref(data, C14N))}
    top = result(top_of(SHA256.digest(data)))
    refused_with(FaultCode.INVALID_HASH_CHAIN_REF, top, chains, {MESSAGE: data})


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_built_chains_prove_each_message_and_no_other(count: int) -> None:
    messages = [message_parts(b"m%d" % number, [b"a"] * (number % 3)) for number in range(count)]
    built = build_hash_chains(messages, SHA512)
    for index, parts in enumerate(messages):
        chains = {"/sig-hashchain.xml": built.chains[index]}
        inputs: dict[str, PartDigest | bytes] = {part.name: part for part in parts}
        assert not verify_hash_chain(built.result, chains, inputs).unverified
        inputs[MESSAGE] = PartDigest.of(MESSAGE, b"other", SHA512)
        refused_with(FaultCode.INVALID_HASH_CHAIN, built.result, chains, inputs)


def test_parts_of_different_algorithms_in_one_chain_verify() -> None:
    parts = [
        PartDigest.of(MESSAGE, b"m", SHA512),
        PartDigest.of("/attachment1", b"a", DigestAlgorithm.SHA384),
    ]
    other = [PartDigest.of(MESSAGE, b"o", SHA256)]
    built = build_hash_chains([parts, other], SHA512)
    for chain_document, message in zip(built.chains, (parts, other), strict=True):
        inputs = {part.name: part for part in message}
        verify_hash_chain(built.result, {"/sig-hashchain.xml": chain_document}, inputs)
