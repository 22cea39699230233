from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.messages.encoder import IllegalOrder, TransportEncoder
from postroad.messages.events import Direction

if TYPE_CHECKING:
    from collections.abc import Callable


def test_writes_a_rest_request_byte_exact() -> None:
    encoder = TransportEncoder("xtopA", Direction.REQUEST)
    written = b"".join(
        [
            encoder.ocsp(b"D"),
            encoder.rest_request(b"R"),
            encoder.body_start(),
            encoder.body_data(b"B"),
            encoder.body_end(),
            encoder.hash_chain_result(b"H"),
            encoder.hash_chain(b"C"),
            encoder.signature(b"S"),
            encoder.finish(),
        ]
    )
    assert encoder.content_type == "multipart/mixed; charset=UTF-8; boundary=xtopA"
    assert written == (
        b"--xtopA\r\ncontent-type: application/ocsp-response\r\n\r\nD\r\n"
        b"--xtopA\r\ncontent-type: application/x-road-rest-request\r\n\r\nR\r\n"
        b"--xtopA\r\ncontent-type: application/x-road-rest-body\r\n\r\nB\r\n"
        b"--xtopA\r\ncontent-type: application/hash-chain-result\r\n\r\nH\r\n"
        b"--xtopA\r\ncontent-type: application/hash-chain\r\n\r\nC\r\n"
        b"--xtopA\r\ncontent-type: signature/bdoc-1.0/ts\r\n\r\nS\r\n"
        b"--xtopA--\r\n"
    )


def test_closes_a_nested_multipart_with_a_blank_line_before_the_next_part() -> None:
    encoder = TransportEncoder("xtop", Direction.REQUEST)
    written = b"".join(
        [
            encoder.soap("text/xml; charset=UTF-8", b"<e/>"),
            encoder.attachment("a/b", nested_boundary="xatt"),
            encoder.attachment_data(b"1"),
            encoder.signature(b"S"),
        ]
    )
    assert written == (
        b"--xtop\r\ncontent-type: text/xml; charset=UTF-8\r\n\r\n<e/>\r\n"
        b"--xtop\r\ncontent-type: multipart/mixed; charset=UTF-8; boundary=xatt\r\n\r\n"
        b"\r\n--xatt\r\ncontent-type: a/b\r\n\r\n1\r\n--xatt--\r\n"
        b"\r\n--xtop\r\ncontent-type: signature/bdoc-1.0/ts\r\n\r\nS"
    )


def test_a_fault_closes_an_open_body() -> None:
    encoder = TransportEncoder("b", Direction.RESPONSE)
    encoder.rest_response(b"R")
    encoder.body_start()
    assert encoder.fault(b"F") == b"\r\n--b\r\ncontent-type: text/xml; charset=UTF-8\r\n\r\nF"
    assert encoder.finish() == b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda e: e.signature(b""),
        lambda e: e.body_start(),
        lambda e: e.body_data(b""),
        lambda e: e.body_end(),
        lambda e: e.attachment_data(b""),
        lambda e: e.attachment("a/b", nested_boundary="q"),
        lambda e: e.hash_chain(b""),
        lambda e: e.fault(b""),
        lambda e: e.finish(),
        lambda e: e.rest_response(b""),
        lambda e: e.rest_request(b"") + e.rest_request(b""),
        lambda e: e.rest_request(b"") + e.ocsp(b""),
        lambda e: e.rest_request(b"") + e.hash_chain(b""),
        lambda e: e.rest_request(b"") + e.body_start() + e.signature(b""),
        lambda e: e.rest_request(b"") + e.signature(b"") + e.signature(b""),
    ],
)
def test_never_writes_an_illegal_order(wrong: Callable[[TransportEncoder], bytes]) -> None:
    with pytest.raises(IllegalOrder):
        wrong(TransportEncoder("b", Direction.REQUEST))
