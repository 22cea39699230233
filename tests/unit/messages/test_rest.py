from __future__ import annotations

import base64
import hashlib

import pytest

from postroad.errors import FaultCode, MalformedInput, TrustError
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.messages.rest import (
    DROPPED_HEADERS,
    MAX_TARGET,
    RestRequest,
    RestResponse,
    build_request,
    build_response,
    check_correlation,
    request_hash,
)

TARGET = "/r1/EE/GOV/1/reg/persons"
CLIENT = ("X-Road-Client", "EE/COM/2/app")


def request(target: str = TARGET, *headers: tuple[str, str], method: str = "GET") -> RestRequest:
    return build_request(
        method, target, (CLIENT, *headers), request_id="uuid-1", generated_id="EE-uuid-2"
    )


def block(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def test_writes_the_request_block_byte_exact() -> None:
    built = request(f"{TARGET}/7?x=1", ("Accept", "a/b"), ("Host", "h"), method="POST")
    assert built.encode() == (
        b"POST\r\n/r1/EE/GOV/1/reg/persons/7?x=1\r\nX-Road-Client:EE/COM/2/app\r\nAccept:a/b\r\n"
        b"x-road-request-id:uuid-1\r\nx-road-id:EE-uuid-2\r\n"
    )


def test_keeps_the_consumers_id_at_its_place() -> None:
    built = request(TARGET, ("X-Road-Id", "mine"), ("A", "1"))
    assert [name for name, _ in built.headers] == [
        "X-Road-Client",
        "X-Road-Id",
        "A",
        "x-road-request-id",
    ]
    assert built.query_id == "mine"


def test_drops_the_consumers_request_id_and_hash() -> None:
    built = request(TARGET, ("X-Road-Request-Id", "evil"), ("X-ROAD-REQUEST-HASH", "evil"))
    assert b"evil" not in built.encode()
    assert built.request_id == "uuid-1"


@pytest.mark.parametrize("name", sorted(DROPPED_HEADERS))
def test_drops_headers_of_one_hop_when_building_and_refuses_them_when_reading(name: str) -> None:
    assert name not in {key for key, _ in request(TARGET, (name.title(), "x")).headers}
    with pytest.raises(MalformedInput):
        RestRequest.parse(block("GET", TARGET, "X-Road-Client:EE/COM/2/app", f"{name.title()}:x"))
    with pytest.raises(MalformedInput):
        RestResponse.parse(block("200", "OK", f"{name}:x"))


@pytest.mark.parametrize(
    ("target", "service_path", "query"),
    [
        (TARGET, "", None),
        (f"{TARGET}/", "/", None),
        (f"{TARGET}/a/b%2Fc", "/a/b%2Fc", None),
        (f"{TARGET}?q=1", "", "q=1"),
        (f"{TARGET}/x?", "/x", ""),
        (f"{TARGET}/x?a[]=%20&b=/?", "/x", "a[]=%20&b=/?"),
    ],
)
def test_splits_the_target(target: str, service_path: str, query: str | None) -> None:
    built = RestRequest.parse(request(target).encode())
    assert (built.service_path, built.query) == (service_path, query)


def test_decodes_identifier_segments_once() -> None:
    service = request("/r1/EE/GOV/1/a%2Fb/c%2525+d").service
    assert service.client == SubsystemId("EE", "GOV", "1", "a/b")
    assert service.service_code == "c%25+d"


def test_drops_a_fragment() -> None:
    assert request(f"{TARGET}/x#y").target == f"{TARGET}/x"


@pytest.mark.parametrize(
    "target",
    [
        "/r2/EE/GOV/1/reg/persons",
        "/r1/EE/GOV/1/reg",
        "//r1/EE/GOV/1/reg/persons",
        "https://host/r1/EE/GOV/1/reg/persons",
        "/r1/EE/GOV/1//persons",
        "/r1/EE/GOV/1/%20/persons",
        "/r1/EE/GOV/1/reg/per%2",
        "/r1/EE/GOV/1/reg/per%zz",
        "/r1/EE/GOV/1/reg/per%ff",
        f"{TARGET}/a b",
        f"{TARGET}/a|b",
        f"{TARGET}/é",
        f"{TARGET}/a?b c",
        f"{TARGET}/a?b%4",
        f"{TARGET}/{{x}}",
        "",
    ],
)
def test_refuses_a_broken_target_as_internal_error(target: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        request(target)
    assert caught.value.code is FaultCode.INTERNAL_ERROR


@pytest.mark.parametrize("method", ["get", "CONNECT", "", "GET "])
def test_refuses_an_unknown_verb(method: str) -> None:
    with pytest.raises(MalformedInput):
        request(method=method)


def test_refuses_two_different_clients() -> None:
    with pytest.raises(MalformedInput) as caught:
        request(TARGET, ("x-road-client", "EE/COM/3"))
    assert caught.value.code is FaultCode.INVALID_CLIENT_IDENTIFIER


def test_takes_the_same_client_twice() -> None:
    assert request(TARGET, CLIENT).client.member_code == "2"


def test_refuses_an_endless_target() -> None:
    with pytest.raises(MalformedInput):
        request(f"{TARGET}?{'x' * MAX_TARGET}")


def test_refuses_a_request_without_client() -> None:
    with pytest.raises(MalformedInput) as caught:
        build_request("GET", TARGET, (), request_id="u", generated_id="v")
    assert caught.value.code is FaultCode.INVALID_CLIENT_IDENTIFIER


@pytest.mark.parametrize("client", ["EE/COM", "EE/COM/2/app/x", "EE//2", "EE/COM/%2", ""])
def test_refuses_a_broken_client(client: str) -> None:
    with pytest.raises(MalformedInput):
        request(TARGET, ("X-Road-Client", client))


def test_reads_the_target_server() -> None:
    assert request(TARGET, ("X-Road-Security-Server", "EE/GOV/1/SS")).target_server == (
        SecurityServerId("EE", "GOV", "1", "SS")
    )
    assert request().target_server is None


@pytest.mark.parametrize("server", ["EE/GOV/1", "EE/GOV/1/SS/x", ""])
def test_refuses_a_broken_target_server(server: str) -> None:
    with pytest.raises(MalformedInput):
        request(TARGET, ("X-Road-Security-Server", server))


@pytest.mark.parametrize("party", ["a/b/c", "a/%2"])
def test_refuses_a_broken_represented_party(party: str) -> None:
    with pytest.raises(MalformedInput):
        request(TARGET, ("X-Road-Represented-Party", party))


def test_refuses_an_id_that_no_message_log_can_hold() -> None:
    assert request(TARGET, ("X-Road-Id", "x" * 255)).query_id == "x" * 255
    with pytest.raises(MalformedInput):
        request(TARGET, ("X-Road-Id", "x" * 256))


def test_refuses_too_many_or_too_large_headers() -> None:
    with pytest.raises(MalformedInput):
        request(TARGET, *[("A", "1")] * 200)
    with pytest.raises(MalformedInput):
        request(TARGET, ("A", "x" * 300_000))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET\r\n",
        b"GET\n/r1/EE/GOV/1/reg/persons\nX-Road-Client:EE/COM/2/app\n",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\n\r\n",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\nno colon\r\n",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\nA:1\rB:2\r\n",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\nA:1\nB:2\r\n",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\nA b:1\r\n",
        b"GET\r\n/r1/EE/GOV/1/reg/persons\r\nX-Road-Client:EE/COM/2/app\r\nA:\xff\r\n",
        b"x" * 300_000 + b"\r\n",
        b"GET\r\n/\r\n" + b"A:1\r\n" * 300,
    ],
)
def test_refuses_a_block_that_is_not_exactly_in_its_form(raw: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        RestRequest.parse(raw)
    assert caught.value.code is FaultCode.INTERNAL_ERROR


def test_a_parsed_request_is_written_again_byte_for_byte() -> None:
    raw = block("GET", TARGET, "X-Road-Client: EE/COM/2/app ".replace(" ", ""), "A: spaced ", "B:")
    assert RestRequest.parse(raw).encode() == raw


def test_the_exchange_id_is_found_in_lower_case_only() -> None:
    raw = block("GET", TARGET, "X-Road-Client:EE/COM/2/app", "X-Road-Request-Id:upper")
    assert RestRequest.parse(raw).request_id == ""


def test_writes_the_response_block_byte_exact() -> None:
    built = build_response(
        200,
        "OK",
        (("Content-Type", "a/b"), ("X-Road-Id", "evil"), ("X-Road-Service", "s"), ("Server", "x")),
        request=request(TARGET, ("X-Road-Id", "mine")),
        request_hash=b"\x01" * 64,
    )
    assert built.encode() == (
        b"200\r\nOK\r\nContent-Type:a/b\r\nX-Road-Service:s\r\nx-road-id:mine\r\n"
        b"x-road-client:EE/COM/2/app\r\nx-road-service:EE/GOV/1/reg/persons\r\n"
        b"x-road-request-id:uuid-1\r\nx-road-request-hash:"
        + base64.b64encode(b"\x01" * 64)
        + b"\r\n"
    )


def test_escapes_identifiers_in_response_headers() -> None:
    asked = request("/r1/EE/GOV/1/re%20g/c%2Fd")
    built = build_response(200, "", (), request=asked, request_hash=b"")
    assert ("x-road-service", "EE/GOV/1/re%20g/c%2Fd") in built.headers
    assert built.service == asked.service


def test_a_response_may_have_an_empty_reason() -> None:
    assert RestResponse.parse(block("204", "")) == RestResponse(204, "", ())


@pytest.mark.parametrize("first", ["100", "99", "OK", "0200", "2000", "+20", "²00"])
def test_refuses_a_status_that_ends_no_exchange(first: str) -> None:
    with pytest.raises(MalformedInput):
        RestResponse.parse(block(first, "OK"))


@pytest.mark.parametrize("line", ["A\x00:1", "A:\x08", ""])
def test_refuses_control_characters_in_a_response(line: str) -> None:
    with pytest.raises(MalformedInput):
        RestResponse.parse(block("200", "OK", line))


def test_refuses_a_control_character_in_the_reason() -> None:
    with pytest.raises(MalformedInput):
        RestResponse.parse(block("200", "O\x0bK"))


def test_the_request_hash_joins_both_digests_only_when_there_was_a_body_part() -> None:
    message, body = hashlib.sha512(b"m").digest(), hashlib.sha512(b"").digest()
    assert request_hash(message, None) == message
    assert request_hash(message, body) == hashlib.sha512(message + body).digest()


def answer(asked: RestRequest, digest: bytes = b"h") -> RestResponse:
    return build_response(200, "OK", (), request=asked, request_hash=digest)


def test_accepts_the_answer_to_the_request() -> None:
    asked = request()
    check_correlation(asked, answer(asked), b"h")


def test_the_last_service_header_counts_at_the_client() -> None:
    asked = request()
    built = build_response(
        200, "OK", (("X-Road-Service", "EE/GOV/9/x/y"),), request=asked, request_hash=b"h"
    )
    check_correlation(asked, built, b"h")


@pytest.mark.parametrize(
    "header",
    [
        ("x-road-client", "EE/COM/3/app"),
        ("x-road-client", "%"),
        ("x-road-service", "EE/GOV/1/reg/other"),
        ("x-road-id", "other"),
        ("x-road-request-id", "other"),
        ("x-road-request-hash", base64.b64encode(b"other").decode()),
        ("x-road-request-hash", "é"),
    ],
)
def test_refuses_an_answer_to_another_request(header: tuple[str, str]) -> None:
    asked = request()
    good = answer(asked)
    with pytest.raises(TrustError) as caught:
        check_correlation(asked, RestResponse(200, "OK", (*good.headers, header)), b"h")
    assert caught.value.code is FaultCode.INCONSISTENT_RESPONSE


@pytest.mark.parametrize(
    "name",
    ["x-road-client", "x-road-service", "x-road-id", "x-road-request-id", "x-road-request-hash"],
)
def test_refuses_an_answer_that_lacks_an_identifier(name: str) -> None:
    asked = request()
    kept = tuple(pair for pair in answer(asked).headers if pair[0] != name)
    with pytest.raises(TrustError):
        check_correlation(asked, RestResponse(200, "OK", kept), b"h")


def test_user_and_issue_are_opaque() -> None:
    built = request(TARGET, ("X-Road-UserId", "EE:1"), ("X-Road-Issue", "#5"))
    assert (built.user_id, built.issue) == ("EE:1", "#5")
    assert (request().user_id, request().issue) == (None, None)


def test_a_character_beyond_utf_8_is_refused() -> None:
    with pytest.raises(MalformedInput):
        request(TARGET, ("A", "\ud800"))
