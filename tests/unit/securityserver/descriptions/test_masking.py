"""Large OpenAPI documents are masked elsewhere, to the same result, and not for ever."""

from __future__ import annotations

import time

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.openapi_masking import mask_openapi
from postroad.securityserver.descriptions import masking
from postroad.securityserver.descriptions.masking import SMALL_BYTES, mask_bounded

HEAD = b"openapi: 3.0.0\nservers:\n  - url: http://10.0.0.1:8443/v1\npaths:\n"
LARGE = HEAD + b"".join(
    b"  /p%d:\n    get: {responses: {200: {description: good}}}\n" % number
    for number in range(4000)
)


def test_a_large_document_is_masked_by_a_program_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = mask_openapi(LARGE, is_json=False)
    assert len(LARGE) > SMALL_BYTES
    monkeypatch.setattr(masking, "mask_openapi", None)
    assert mask_bounded(LARGE, is_json=False) == wanted
    assert b"10.0.0.1" not in wanted


@pytest.mark.parametrize(
    ("document", "is_json", "reason"),
    [
        (LARGE + b"  : }\n", False, "not well-formed"),
        (b'{"openapi": "3.0.0", "a": 1, "a": 2, "b": "%s"}' % (b"b" * SMALL_BYTES), True, "twice"),
        (b'{"openapi": "2.0.0", "b": "%s"}' % (b"b" * SMALL_BYTES), True, "version"),
    ],
)
def test_its_refusals_are_those_of_small_documents(
    document: bytes, *, is_json: bool, reason: str
) -> None:
    with pytest.raises(MalformedInput, match=reason) as caught:
        mask_bounded(document, is_json=is_json)
    assert caught.value.code is FaultCode.INTERNAL_ERROR


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "LIMIT_SECONDS", 0.01)
    begun = time.monotonic()
    with pytest.raises(MalformedInput, match="too large"):
        mask_bounded(LARGE, is_json=False)
    assert time.monotonic() - begun < 10
