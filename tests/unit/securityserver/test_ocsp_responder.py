from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.securityserver.ocsp_responder import encode_ocsp_answer, parse_ocsp_query
from postroad.securityserver.provider_judgement import parse_ocsp_answer

ONE, TWO = "11" * 20, "22" * 20
LONG = "aa" * 32


def test_sha1_hashes_decide_in_their_order() -> None:
    query = f"/?cert={TWO}&cert={ONE}&cert_hash={LONG}"
    assert parse_ocsp_query(query) == (bytes.fromhex(TWO), bytes.fromhex(ONE))


def test_sha256_hashes_alone_will_do() -> None:
    assert parse_ocsp_query(f"/any/path?cert_hash={LONG.upper()}") == (bytes.fromhex(LONG),)


def test_other_parameters_are_ignored() -> None:
    assert parse_ocsp_query(f"/?x=1&cert={ONE}&y") == (bytes.fromhex(ONE),)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?",
        "/?cert=",
        "/?cert=11",
        f"/?cert={LONG}",
        f"/?cert_hash={ONE}",
        f"/?cert={ONE}zz",
        f"/?cert={ONE[:-1]}g",
        "/?" + "&".join([f"cert={ONE}"] * 17),
        "/?" + "&".join(["a=1"] * 65),
    ],
)
def test_refuses_queries_that_ask_for_nothing_sensible(target: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_ocsp_query(target)
    assert caught.value.code is FaultCode.INVALID_REQUEST


@pytest.mark.parametrize("responses", [[b"one"], [b"one", b"\r\n--b\r\n", b""]])
def test_answer_is_read_back_by_the_asking_side(responses: list[bytes]) -> None:
    body = encode_ocsp_answer(responses, "boundary")
    assert parse_ocsp_answer("multipart/related; boundary=boundary", body) == responses


def test_answer_has_the_layout_of_the_protocol() -> None:
    assert encode_ocsp_answer([b"DER1", b"DER2"], "b") == (
        b"--b\r\ncontent-type: application/ocsp-response\r\n\r\nDER1\r\n"
        b"--b\r\ncontent-type: application/ocsp-response\r\n\r\nDER2\r\n--b--\r\n"
    )
