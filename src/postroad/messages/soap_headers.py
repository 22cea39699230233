"""Which header fields does the protocol give a SOAP message, and what may stand in them?

One table of fields, and a collector that is told elements and texts as they are read. Fields and
identifier parts that the table doesn't know are passed over. Source: PR-MESS 2.2, and the
extensions PR-THIRDPARTY, PR-TARGETSS, PR-SECTOKEN; reference: SaxSoapParserImpl.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import ClientId, SecurityServerId, ServiceId, client_id
from postroad.messages.soap import RepresentedParty, RequestHash, SecurityToken, SoapHeader
from postroad.wire.xml import IDENTIFIERS, XROAD
from postroad.wire.xml_stream import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPRESENTATION: Final = "http://x-road.eu/xsd/representation.xsd"
SECURITY_TOKEN: Final = "http://x-road.eu/xsd/security-token.xsd"  # noqa: S105 - a namespace
PROTOCOL_VERSIONS: Final = "4."
"""What the version of every message that we understand begins with (PR-MESS 2.2)."""
MAX_FIELDS: Final = 200
MAX_TEXT: Final = 128 * 1024
"""Characters in all fields together."""
MAX_QUERY_ID: Final = 255
"""Longest id: longer ones can't be found again in a message log of the protocol's peers."""

QUERY_ID: Final = expanded(XROAD, "id")
REQUEST_HASH: Final = expanded(XROAD, "requestHash")
_OBJECT_TYPE: Final = expanded(IDENTIFIERS, "objectType")


@dataclass(slots=True)
class _Found:
    """The fields read so far."""

    client: ClientId | None = None
    service: ServiceId | None = None
    query_id: str | None = None
    protocol_version: str | None = None
    target_server: SecurityServerId | None = None
    user_id: str | None = None
    issue: str | None = None
    represented_party: RepresentedParty | None = None
    request_hash: RequestHash | None = None
    security_tokens: list[SecurityToken] = field(default_factory=list)


@dataclass(slots=True)
class _Content:
    """One field as it stands in the document."""

    attributes: Mapping[str, str]
    parts: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def part(self, name: str) -> str:
        """An identifier part; the identifiers refuse the empty one that stands for none."""
        return self.parts.get(name, "")

    @property
    def client(self) -> ClientId:
        """The client that the parts name; the object type doesn't decide of which kind it is."""
        member = (self.part("xRoadInstance"), self.part("memberClass"), self.part("memberCode"))
        return client_id(*member, self.parts.get("subsystemCode"))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a field is made of: parts by their expanded names, or text if there are none."""

    keep: Callable[[_Found, _Content], None]
    parts: Mapping[str, str] = field(default_factory=dict)
    object_types: frozenset[str] = frozenset()
    repeatable: bool = False


def _keep_client(found: _Found, content: _Content) -> None:
    found.client = content.client


def _keep_service(found: _Found, content: _Content) -> None:
    found.service = ServiceId(
        content.client, content.part("serviceCode"), content.parts.get("serviceVersion")
    )


def _keep_server(found: _Found, content: _Content) -> None:
    found.target_server = SecurityServerId(
        content.part("xRoadInstance"),
        content.part("memberClass"),
        content.part("memberCode"),
        content.part("serverCode"),
    )


def _keep_party(found: _Found, content: _Content) -> None:
    found.represented_party = RepresentedParty(
        content.parts.get("partyClass"), content.parts.get("partyCode")
    )


def _keep_query_id(found: _Found, content: _Content) -> None:
    if len(content.text) > MAX_QUERY_ID:
        raise MalformedInput(
            f"the id is longer than {MAX_QUERY_ID} characters", code=FaultCode.INTERNAL_ERROR
        )
    found.query_id = content.text


def _keep_user_id(found: _Found, content: _Content) -> None:
    found.user_id = content.text


def _keep_issue(found: _Found, content: _Content) -> None:
    found.issue = content.text


def _keep_version(found: _Found, content: _Content) -> None:
    if not content.text.startswith(PROTOCOL_VERSIONS):
        raise MalformedInput(
            f"protocol version {content.text[:40]!r} is not {PROTOCOL_VERSIONS}x",
            code=FaultCode.INVALID_PROTOCOL_VERSION,
        )
    found.protocol_version = content.text


def _keep_request_hash(found: _Found, content: _Content) -> None:
    found.request_hash = RequestHash(content.attributes.get("algorithmId"), content.text)


def _keep_token(found: _Found, content: _Content) -> None:
    found.security_tokens.append(SecurityToken(content.attributes.get("tokenType"), content.text))


def _identifier(
    keep: Callable[[_Found, _Content], None], types: tuple[str, ...], *names: str
) -> _Shape:
    parts = ("xRoadInstance", "memberClass", "memberCode", *names)
    return _Shape(keep, {expanded(IDENTIFIERS, name): name for name in parts}, frozenset(types))


_FIELDS: Final[Mapping[str, _Shape]] = {
    expanded(XROAD, "client"): _identifier(_keep_client, ("MEMBER", "SUBSYSTEM"), "subsystemCode"),
    expanded(XROAD, "service"): _identifier(
        _keep_service, ("SERVICE",), "subsystemCode", "serviceCode", "serviceVersion"
    ),
    expanded(XROAD, "securityServer"): _identifier(_keep_server, ("SERVER",), "serverCode"),
    expanded(REPRESENTATION, "representedParty"): _Shape(
        _keep_party, {expanded(REPRESENTATION, name): name for name in ("partyClass", "partyCode")}
    ),
    QUERY_ID: _Shape(_keep_query_id),
    expanded(XROAD, "userId"): _Shape(_keep_user_id),
    expanded(XROAD, "issue"): _Shape(_keep_issue),
    expanded(XROAD, "protocolVersion"): _Shape(_keep_version),
    REQUEST_HASH: _Shape(_keep_request_hash),
    expanded(SECURITY_TOKEN, "securityToken"): _Shape(_keep_token, repeatable=True),
}


class HeaderCollector:
    """Collects the fields of one SOAP header, told in document order.

    The methods that begin something return True if its text is wanted. All of them raise
    ``MalformedInput`` with the reference's codes.
    """

    __slots__ = ("_content", "_count", "_found", "_part", "_seen", "_shape", "_size")

    def __init__(self) -> None:
        self._found = _Found()
        self._seen: set[str] = set()
        self._shape: _Shape | None = None
        self._content = _Content({})
        self._part: str | None = None
        self._count = 0
        self._size = 0

    def begin_field(self, name: str, attributes: Mapping[str, str]) -> bool:
        """A child of the header begins."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise _too_much(f"more than {MAX_FIELDS} header fields")
        self._shape = shape = _FIELDS.get(name)
        if shape is None:
            return False
        if name in self._seen and not shape.repeatable:
            raise _duplicate(name)
        self._seen.add(name)
        if shape.object_types:
            _check_object_type(attributes.get(_OBJECT_TYPE), shape.object_types)
        self._content = _Content(attributes)
        return not shape.parts

    def begin_part(self, name: str) -> bool:
        """A child of a field begins."""
        self._part = None if self._shape is None else self._shape.parts.get(name)
        if self._part is not None and self._part in self._content.parts:
            raise _duplicate(name)
        return self._part is not None

    def end_part(self, text: str) -> None:
        """The part that began last ends."""
        if self._part is not None:
            self._content.parts[self._part] = self._counted(text)
            self._part = None

    def end_field(self, text: str) -> None:
        """The field that began last ends; ``text`` is what stood directly in it."""
        if self._shape is not None:
            self._content.text = self._counted(text)
            self._shape.keep(self._found, self._content)
            self._shape = None

    def header(self) -> SoapHeader:
        """The header, complete; raises ``MalformedInput`` (missing_header_field) if it isn't."""
        found = self._found
        # The order in which the reference looks for them.
        if found.protocol_version is None:
            raise _missing("protocolVersion")
        if found.client is None:
            raise _missing("client")
        if found.query_id is None:
            raise _missing("id")
        if found.service is None:
            raise _missing("service")
        return SoapHeader(
            client=found.client,
            service=found.service,
            query_id=found.query_id,
            protocol_version=found.protocol_version,
            target_server=found.target_server,
            user_id=found.user_id,
            issue=found.issue,
            represented_party=found.represented_party,
            request_hash=found.request_hash,
            security_tokens=tuple(found.security_tokens),
        )

    def _counted(self, text: str) -> str:
        self._size += len(text)
        if self._size > MAX_TEXT:
            raise _too_much(f"header fields of more than {MAX_TEXT} characters")
        return text


def _check_object_type(object_type: str | None, expected: frozenset[str]) -> None:
    if object_type not in expected:
        wanted = " or ".join(sorted(expected))
        raise MalformedInput(
            f"the object type of an identifier is {object_type!r}, not {wanted}",
            code=FaultCode.INVALID_XML,
        )


def _too_much(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_SOAP)


def _duplicate(name: str) -> MalformedInput:
    return MalformedInput(
        f"header field {name.rpartition('}')[2]} stands twice",
        code=FaultCode.DUPLICATE_HEADER_FIELD,
    )


def _missing(name: str) -> MalformedInput:
    return MalformedInput(f"header field {name} is missing", code=FaultCode.MISSING_HEADER_FIELD)
