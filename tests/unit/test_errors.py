from __future__ import annotations

import re

import pytest

from postroad import errors
from postroad.errors import FaultCode, PostroadError, RefusedRequest, RemoteFault


def test_the_drawn_tree_is_the_real_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert drawn == [cls.__name__ for cls in PostroadError.__subclasses__()]


def test_prefix_goes_in_front_once() -> None:
    error = RefusedRequest("no")
    assert error.within("server", "serverproxy").fault_code == "server.serverproxy.access_denied"
    assert error.within("server", "serverproxy").fault_code == "server.serverproxy.access_denied"


def test_inner_prefixes_stay_inside() -> None:
    error = RefusedRequest("no", code=FaultCode.INVALID_HASH_CHAIN, prefix=("malformed_signature",))
    assert error.within("server", "clientproxy").fault_code == (
        "server.clientproxy.malformed_signature.invalid_hash_chain"
    )


def test_remote_fault_keeps_its_code_word_for_word() -> None:
    fault = RemoteFault("Server.ServerProxy.AccessDenied", "no right")
    assert fault.within("server", "clientproxy").fault_code == "Server.ServerProxy.AccessDenied"


@pytest.mark.parametrize("code", list(FaultCode))
def test_codes_are_dotted_snake_case(code: FaultCode) -> None:
    assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", code.value)
