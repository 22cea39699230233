"""What does a REST message say, and which bytes stand for it in hashes, signatures and logs?

A serialised REST message is a header block: request line parts or status, then ``Name:Value``
lines, each ended by CRLF, no blank line, no body (PR-REST 4; reference: RestRequest, RestResponse).
Parsing is strict: only a block that would be written again byte for byte is accepted, so what was
hashed is always what is understood.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final

from postroad.errors import FaultCode, MalformedInput, PostroadError, TrustError
from postroad.identifiers import (
    ClientId,
    SecurityServerId,
    ServiceId,
    SubsystemId,
    parse_client_id,
    percent_decode_segment,
)
from postroad.wire.headers import (
    HeaderList,
    is_header_name,
    is_header_value,
    last_value,
    without,
)

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
FORWARDED_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose body the provider's server hands to the service (PR-REST 4.2)."""

BODYLESS_STATUSES: Final = frozenset({204, 205, 304})
"""Statuses whose responses never have a body part."""

DROPPED_HEADERS: Final = frozenset(
    {
        "transfer-encoding",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "connection",
        "user-agent",
        "host",
        "content-length",
        "server",
        "expect",
    }
)
"""Headers of one HTTP hop; they are dropped when a block is built and refused when one is read."""

_DROPPED_FROM_REQUEST = DROPPED_HEADERS | {"x-road-request-id", "x-road-request-hash"}
_DROPPED_FROM_RESPONSE = DROPPED_HEADERS | {
    "x-road-id",
    "x-road-request-hash",
    "x-road-client",
    "x-road-request-id",
}
_SAID_ONCE: Final = frozenset(
    {
        "x-road-client",
        "x-road-id",
        "x-road-issue",
        "x-road-represented-party",
        "x-road-request-id",
        "x-road-security-server",
        "x-road-userid",
    }
)
"""What a request says of itself. Servers read the last of two values, many services the first."""
_NOT_IN_VARIABLES: Final = re.compile(r"[^0-9a-z]")
MAX_BLOCK_BYTES: Final = 256 * 1024
MAX_TARGET: Final = 64 * 1024
"""Longest target of a request; what is remembered of targets has a bound by it."""
MAX_HEADERS: Final = 200
_SHORT_NAME: Final = 64
MAX_QUERY_ID: Final = 255
"""Longest X-Road-Id: longer ones can't be found again in a message log of the protocol's peers."""

_ESCAPED_TEXT = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/{extra}]|%[0-9A-Fa-f]{{2}})*"
_RAW_PATH = re.compile(_ESCAPED_TEXT.format(extra=""))
_RAW_QUERY = re.compile(_ESCAPED_TEXT.format(extra=r"?\[\]"))
_STATUS = re.compile(r"[2-9][0-9]{2}")


@dataclass(frozen=True, slots=True)
class _Target:
    service: ServiceId
    service_path: str
    query: str | None


@dataclass(frozen=True)
class RestRequest:
    r"""A REST request: verb, raw target (still percent-escaped) and the headers that travel.

    >>> request = RestRequest.parse(b"GET\r\n/r1/EE/GOV/1/reg/persons/7?x=1\r\n"
    ...                             b"X-Road-Client:EE/COM/2/app\r\nx-road-request-id:u\r\n")
    >>> str(request.service), request.service_path, request.query
    ('EE/GOV/1/reg/persons', '/7', 'x=1')

    Raises ``MalformedInput``; the codes are those of the reference (PR-REST 4, wire code
    ``internal_error`` for a broken target, ``invalid_client_identifier`` without a client).
    """

    method: str
    target: str
    headers: HeaderList
    query_id: str = field(init=False, repr=False, compare=False)
    """The X-Road-Id; empty if a peer sent none."""
    request_id: str = field(init=False, repr=False, compare=False)
    """The identifier of this exchange, made by the client's server; empty if there is none."""
    _block: bytes = field(init=False, repr=False, compare=False)
    _last: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # What is asked for again and again while the message is carried is worked out once.
        last = _last_values(self.headers)
        own = self.__dict__
        own["_block"] = _encode_block((self.method, self.target), self.headers)
        own["_last"] = last
        own["query_id"] = last.get("x-road-id", "")
        # Looked up in lower case only: that is how the sender writes it (reference behaviour).
        own["request_id"] = dict(self.headers).get("x-road-request-id", "")

    @classmethod
    def parse(cls, block: bytes) -> RestRequest:
        """Read a serialised request block and check everything it claims."""
        lines = _block_lines(block)
        request = cls(lines[0], lines[1], _parse_header_lines(lines[2:]))
        _check_equal_encoding(block, request.encode())
        request.check()
        return request

    def check(self) -> None:
        """Raise ``MalformedInput`` unless verb, target, client and server identifiers are valid."""
        if self.method not in METHODS:
            raise _malformed(f"{self.method[:20]!r} is not a method of the REST protocol")
        _check_headers(self.headers)
        _parse_target(self.target)
        _check_said_once(self.headers)
        _ = self.client
        _ = self.target_server
        _check_represented_party(self._last.get("x-road-represented-party"))
        if len(self.query_id) > MAX_QUERY_ID:
            raise _malformed(f"X-Road-Id is longer than {MAX_QUERY_ID} characters")

    def encode(self) -> bytes:
        """The bytes that are transported, hashed, signed and logged."""
        return self._block

    @cached_property
    def service(self) -> ServiceId:
        """The service that the target names."""
        return _parse_target(self.target).service

    @property
    def service_path(self) -> str:
        """Raw path after the service code, with its leading slash; empty if there is none."""
        return _parse_target(self.target).service_path

    @property
    def query(self) -> str | None:
        """Raw query without the question mark, or None."""
        return _parse_target(self.target).query

    @cached_property
    def client(self) -> ClientId:
        """The service client: the last X-Road-Client header."""
        value = self._last.get("x-road-client")
        if value is None:
            raise MalformedInput(
                "the request has no X-Road-Client header",
                code=FaultCode.INVALID_CLIENT_IDENTIFIER,
            )
        return _client_of(value)

    @property
    def target_server(self) -> SecurityServerId | None:
        """The security server the consumer asks for, or None."""
        value = self._last.get("x-road-security-server")
        return None if value is None else _server_of(value)

    @property
    def user_id(self) -> str | None:
        """X-Road-UserId, opaque."""
        return self._last.get("x-road-userid")

    @property
    def issue(self) -> str | None:
        """X-Road-Issue, opaque."""
        return self._last.get("x-road-issue")

    @property
    def represented_party(self) -> str | None:
        """X-Road-Represented-Party, ``[CLASS/]CODE`` with escaped parts."""
        return self._last.get("x-road-represented-party")


def build_request(
    method: str,
    raw_target: str,
    consumer_headers: HeaderList,
    *,
    request_id: str,
    generated_id: str,
) -> RestRequest:
    """The request block for a consumer's HTTP request (PR-REST 4.3).

    ``generated_id`` becomes the X-Road-Id only if the consumer sent none. Raises
    ``MalformedInput`` for whatever ``RestRequest.parse`` would refuse.
    """
    headers = without(consumer_headers, _DROPPED_FROM_REQUEST)
    own: list[tuple[str, str]] = [("x-road-request-id", request_id)]
    if last_value(headers, "x-road-id") is None:
        own.append(("x-road-id", generated_id))
    request = RestRequest(method, raw_target.partition("#")[0], (*headers, *own))
    request.check()
    if len(request.encode()) > MAX_BLOCK_BYTES:
        raise _malformed(f"request headers exceed {MAX_BLOCK_BYTES} bytes")
    return request


@dataclass(frozen=True)
class RestResponse:
    """A REST response: status, reason (may be empty) and the headers that travel."""

    status: int
    reason: str
    headers: HeaderList
    _block: bytes = field(init=False, repr=False, compare=False)
    _last: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Both are asked for again and again while the message is carried.
        own = self.__dict__
        own["_block"] = _encode_block((str(self.status), self.reason), self.headers)
        own["_last"] = _last_values(self.headers)

    @classmethod
    def parse(cls, block: bytes) -> RestResponse:
        """Read a serialised response block; raises ``MalformedInput``."""
        lines = _block_lines(block)
        if _STATUS.fullmatch(lines[0]) is None:
            raise _malformed(f"{lines[0][:20]!r} is not the status of a final response")
        response = cls(int(lines[0]), lines[1], _parse_header_lines(lines[2:]))
        _check_equal_encoding(block, response.encode())
        response.check()
        return response

    def check(self) -> None:
        """Raise ``MalformedInput`` unless status, reason and headers can stand in a block."""
        if _STATUS.fullmatch(str(self.status)) is None:
            raise _malformed(f"{self.status} is not the status of a final response")
        if not is_header_value(self.reason):
            raise _malformed("the reason phrase holds a control character")
        _check_headers(self.headers)

    def encode(self) -> bytes:
        """The bytes that are transported, hashed, signed and logged."""
        return self._block

    @property
    def query_id(self) -> str | None:
        """The X-Road-Id that is answered."""
        return self._last.get("x-road-id")

    @property
    def client(self) -> ClientId | None:
        """The service client that is answered."""
        value = self._last.get("x-road-client")
        return None if value is None else _client_of(value)

    @property
    def service(self) -> ServiceId | None:
        """The service that answers; the last header counts, the provider's server wrote it."""
        value = self._last.get("x-road-service")
        return None if value is None else _service_of(value)

    @property
    def request_id(self) -> str | None:
        """The exchange that is answered."""
        return self._last.get("x-road-request-id")

    @property
    def request_hash(self) -> str | None:
        """Base64 of the hash of the request that is answered."""
        return self._last.get("x-road-request-hash")


def build_response(
    status: int,
    reason: str,
    service_headers: HeaderList,
    *,
    request: RestRequest,
    request_hash: bytes,
) -> RestResponse:
    """The response block for a service's HTTP response (PR-REST 4.4)."""
    own = (
        ("x-road-id", request.query_id),
        ("x-road-client", request.client.encoded()),
        ("x-road-service", request.service.encoded()),
        ("x-road-request-id", request.request_id),
        ("x-road-request-hash", base64.b64encode(request_hash).decode("ascii")),
    )
    response = RestResponse(
        status, reason, (*without(service_headers, _DROPPED_FROM_RESPONSE), *own)
    )
    response.check()
    if len(response.encode()) > MAX_BLOCK_BYTES:
        raise _malformed(f"response headers exceed {MAX_BLOCK_BYTES} bytes")
    return response


def request_hash(message_digest: bytes, body_digest: bytes | None) -> bytes:
    """The hash that ties a response to its request (PR-REST 4.4).

    ``body_digest`` is None only when no body part was transported; an empty part has a digest.
    Both are raw SHA-512 digests.
    """
    if body_digest is None:
        return message_digest
    return hashlib.sha512(message_digest + body_digest).digest()


def check_correlation(
    request: RestRequest, response: RestResponse, expected_request_hash: bytes
) -> None:
    """Raise ``TrustError`` (inconsistent_response) unless the response answers this request."""
    try:
        comparisons: tuple[tuple[str, object, object], ...] = (
            ("X-Road-Client", request.client, response.client),
            ("X-Road-Service", request.service, response.service),
            ("X-Road-Id", request.query_id, response.query_id),
            ("X-Road-Request-Id", request.request_id, response.request_id),
        )
    except PostroadError as error:
        raise _inconsistent(f"the response holds a broken identifier: {error}") from error
    for name, ours, theirs in comparisons:
        if ours is not theirs and ours != theirs:
            raise _inconsistent(f"{name} of the response is not that of the request")
    sent = response.request_hash
    if sent is None:
        raise _inconsistent("the response has no request hash")
    wanted = base64.b64encode(expected_request_hash)
    if not hmac.compare_digest(sent.encode("utf-8", "replace"), wanted):
        raise _inconsistent("the response answers another request: the request hash differs")


# The same few identifiers come in every message; what can't be parsed isn't remembered.
_client_of = lru_cache(maxsize=1024)(parse_client_id)
_server_of = lru_cache(maxsize=1024)(SecurityServerId.parse)
_service_of = lru_cache(maxsize=1024)(ServiceId.parse)


@lru_cache(maxsize=256)
def _parse_target(target: str) -> _Target:
    if len(target) > MAX_TARGET:
        raise _malformed(f"the request target is longer than {MAX_TARGET} characters")
    path, question_mark, query = target.partition("?")
    if not path.startswith("/") or path.startswith("//"):
        raise _malformed("the request target must be a path with a single leading slash")
    if _RAW_PATH.fullmatch(path) is None:
        raise _malformed("the request path holds a character that must be percent-escaped")
    if _RAW_QUERY.fullmatch(query) is None:
        raise _malformed("the request query holds a character that must be percent-escaped")
    pieces = path.split("/", 7)
    if len(pieces) < 7:
        raise _malformed(
            "the path must be /r1/{instance}/{class}/{member}/{subsystem}/{service}[/{path}]"
        )
    if pieces[1] != "r1":
        raise _malformed(f"{pieces[1][:10]!r} is not a version of the REST protocol")
    instance, member_class, member_code, subsystem, code = map(percent_decode_segment, pieces[2:7])
    service = ServiceId(SubsystemId(instance, member_class, member_code, subsystem), code)
    service_path = f"/{pieces[7]}" if len(pieces) == 8 else ""
    return _Target(service, service_path, query if question_mark else None)


def _check_said_once(headers: HeaderList) -> None:
    """Refuse a request that the service could take for another one than we do.

    The service gets every header. It must not find two clients in them, nor a second one under a
    name (``X_Road_Client``) that gateways turn into the same variable (CGI, WSGI).
    """
    said: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in _SAID_ONCE:
            if "road" in lower and _NOT_IN_VARIABLES.sub("-", lower) in _SAID_ONCE:
                raise _malformed(f"header {name[:80]!r} can be taken for one of the protocol")
        elif said.setdefault(lower, value) != value:
            code = FaultCode.INTERNAL_ERROR
            if lower == "x-road-client":
                code = FaultCode.INVALID_CLIENT_IDENTIFIER
            raise MalformedInput(f"the request has two different {name[:80]} headers", code=code)


def _check_represented_party(value: str | None) -> None:
    if value is None:
        return
    segments = value.split("/")
    if len(segments) > 2:
        raise _malformed("X-Road-Represented-Party must be [CLASS/]CODE")
    for segment in segments:
        percent_decode_segment(segment)


def _block_lines(block: bytes) -> list[str]:
    if len(block) > MAX_BLOCK_BYTES:
        raise _malformed(f"REST message exceeds {MAX_BLOCK_BYTES} bytes")
    if not block.endswith(b"\r\n"):
        raise _malformed("a REST message must end with a line end")
    try:
        lines = block.decode("utf-8").split("\r\n")[:-1]
    except UnicodeDecodeError:
        raise _malformed("a REST message must be UTF-8") from None
    if len(lines) < 2:
        raise _malformed("a REST message needs two lines before its headers")
    if len(lines) > MAX_HEADERS + 2:
        raise _malformed(f"a REST message may have at most {MAX_HEADERS} headers")
    return lines


def _parse_header_lines(lines: list[str]) -> HeaderList:
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _malformed(f"header line without a colon: {line[:80]!r}")
        headers.append((name, value))
    return tuple(headers)


def _check_headers(headers: HeaderList) -> None:
    if len(headers) > MAX_HEADERS:
        raise _malformed(f"a REST message may have at most {MAX_HEADERS} headers")
    for name, _value in headers:
        if len(name) <= _SHORT_NAME:
            _check_known_name(name)
        else:
            _check_header_name(name)
    if is_header_value("".join([value for _, value in headers])):
        return
    for name, value in headers:
        if not is_header_value(value):
            raise _malformed(f"header {name[:80]!r} holds a forbidden character")


def _check_header_name(name: str) -> None:
    """Raise unless a header of this name may travel."""
    if not is_header_name(name):
        raise _malformed(f"header {name[:80]!r} holds a forbidden character")
    if name.lower() in DROPPED_HEADERS:
        raise _malformed(f"header {name!r} belongs to one HTTP hop and can't be transported")


# The same few names come in every message; a refusal isn't remembered.
_check_known_name = lru_cache(maxsize=1024)(_check_header_name)


def _last_values(headers: HeaderList) -> dict[str, str]:
    """The value of the last header of each name, by the name in lower case."""
    return {name.lower(): value for name, value in headers}


def _encode_block(first_lines: tuple[str, str], headers: HeaderList) -> bytes:
    lines = [*first_lines, *[f"{name}:{value}" for name, value in headers], ""]
    try:
        return "\r\n".join(lines).encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("a REST message holds a character that UTF-8 can't express") from None


def _check_equal_encoding(block: bytes, again: bytes) -> None:
    if block != again:
        raise _malformed("the REST message is not in the form in which it would be written again")


def _malformed(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INTERNAL_ERROR)


def _inconsistent(message: str) -> TrustError:
    return TrustError(message, code=FaultCode.INCONSISTENT_RESPONSE)
