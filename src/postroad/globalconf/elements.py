"""How do values stand in configuration XML: text, bytes, numbers, flags and client identifiers?

Reading takes elements that a schema has passed; writing gives the indented text the reference's
central server writes (4 blanks, LF, local names without namespace). Source: PR-GCONF annexes B-G.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.identifiers import ClientId, SubsystemId, client_id
from postroad.wire import xml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroad.wire.xml import Element

SCHEMA_PACKAGE = "postroad.globalconf.schemas"
CONFIGURATION_LIMITS = xml.XmlLimits(
    max_bytes=64 * 1024 * 1024, max_depth=32, max_elements=2_000_000
)
"""Bounds of one part: an instance of some ten thousand members fits several times over."""

MAX_SECONDS = 10 * 365 * 24 * 3600
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_OBJECT_TYPE = xml.qualified(xml.IDENTIFIERS, "objectType")
_INDENT = "    "


def malformed(message: str) -> MalformedInput:
    """Build the refusal of a configuration part that doesn't parse."""
    return MalformedInput(message, code=FaultCode.MALFORMED_GLOBAL_CONF)


def parse_document(
    data: bytes, schema: str, *, code: FaultCode = FaultCode.MALFORMED_GLOBAL_CONF
) -> Element:
    """Parse ``data`` within our limits and check it against the packaged ``schema``.

    Raises ``MalformedInput`` with ``code``.
    """
    try:
        root = xml.parse(data, limits=CONFIGURATION_LIMITS)
        # A document may name a schema of its own; ours is the only one that is looked at.
        for hint in ("schemaLocation", "noNamespaceSchemaLocation"):
            for element in root.iter("*"):
                if _XSI + hint in element.attrib:
                    del element.attrib[_XSI + hint]
        xml.load_schema(SCHEMA_PACKAGE, schema).validate(root)
    except MalformedInput as error:
        raise MalformedInput(str(error), code=code) from error
    return root


def text_of(element: Element) -> str:
    """The character data of an element, comments left out."""
    pieces = [element.text or ""]
    pieces.extend(child.tail or "" for child in element)
    return "".join(pieces)


def required(element: Element, name: str) -> Element:
    """The child of that name; ``MalformedInput`` when it is absent."""
    child = element.find(name)
    if child is None:
        raise malformed(f"<{xml.local_name(element)}> has no <{name}>")
    return child


def text(element: Element, name: str) -> str:
    """Text of a child that must be there."""
    return text_of(required(element, name))


def optional_text(element: Element, name: str) -> str | None:
    """Text of a child, None when it is absent."""
    child = element.find(name)
    return None if child is None else text_of(child)


def bytes_of(element: Element) -> bytes:
    """Decode an element of type base64Binary; white space between the digits is allowed."""
    compact = "".join(text_of(element).split())
    try:
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        raise malformed(f"<{xml.local_name(element)}> is not Base64") from None


def optional_bytes(element: Element, name: str) -> bytes | None:
    """Bytes of a child, None when it is absent."""
    child = element.find(name)
    return None if child is None else bytes_of(child)


def seconds(element: Element, name: str) -> int:
    """A whole number of seconds of a child: positive and at most ten years."""
    digits = text(element, name).strip()
    try:
        value = int(digits) if len(digits) <= len(str(MAX_SECONDS)) + 1 else -1
    except ValueError:
        value = -1
    if not 0 < value <= MAX_SECONDS:
        raise malformed(f"<{name}> must be a number of seconds above 0, not {digits[:40]!r}")
    return value


def boolean(element: Element) -> bool:
    """A value of type boolean: ``true``/``1`` or ``false``/``0``."""
    word = text_of(element).strip()
    if word in {"true", "1"}:
        return True
    if word in {"false", "0"}:
        return False
    raise malformed(f"<{xml.local_name(element)}> is neither true nor false: {word[:40]!r}")


def client_of(element: Element) -> ClientId:
    """Read a client identifier.

    Its children decide: files in the field call an identifier with a subsystem code MEMBER. The
    reverse, a SUBSYSTEM without a code, is refused, for a subsystem's rights aren't its member's.
    """

    def part(name: str) -> str | None:
        child = element.find(xml.qualified(xml.IDENTIFIERS, name))
        return None if child is None else text_of(child)

    name = xml.local_name(element)
    subsystem_code = part("subsystemCode")
    if element.get(_OBJECT_TYPE) not in {"MEMBER", "SUBSYSTEM"}:
        raise malformed(f"<{name}> identifies neither a member nor a subsystem")
    if subsystem_code is None and element.get(_OBJECT_TYPE) == "SUBSYSTEM":
        raise malformed(f"<{name}> is called a subsystem and has no subsystem code")
    try:
        return client_id(
            part("xRoadInstance") or "",
            part("memberClass") or "",
            part("memberCode") or "",
            subsystem_code,
        )
    except MalformedInput as error:
        raise malformed(f"<{name}>: {error}") from error


class XmlText:
    """Collects the lines of one configuration document."""

    def __init__(self) -> None:
        self._lines = ['<?xml version="1.0" encoding="UTF-8" standalone="yes"?>']
        self._depth = 0

    @contextmanager
    def element(self, name: str, attributes: str = "") -> Iterator[None]:
        """Write an element around whatever is written inside the block."""
        opening = f"{name} {attributes}" if attributes else name
        self._lines.append(f"{_INDENT * self._depth}<{opening}>")
        self._depth += 1
        yield
        self._depth -= 1
        self._lines.append(f"{_INDENT * self._depth}</{name}>")

    @contextmanager
    def root(self, name: str) -> Iterator[None]:
        """Write the root element with the namespaces of the dialect."""
        namespaces = f'xmlns:ns2="{xml.IDENTIFIERS}" xmlns:ns3="{xml.XROAD}"'
        with self.element(f"ns3:{name}", namespaces):
            yield

    def leaf(self, name: str, value: str | None) -> None:
        """Write an element with text; nothing for None."""
        if value is None:
            return
        content = xml.escape_text(value)
        line = f"<{name}>{content}</{name}>" if content else f"<{name}></{name}>"
        self._lines.append(_INDENT * self._depth + line)

    def empty(self, name: str) -> None:
        """Write an element without content."""
        self._lines.append(f"{_INDENT * self._depth}<{name}/>")

    def data(self, name: str, value: bytes | None) -> None:
        """Write bytes as Base64 on one line; nothing for None."""
        if value is not None:
            self.leaf(name, base64.b64encode(value).decode("ascii"))

    def client(self, name: str, client: ClientId) -> None:
        """Write a client identifier."""
        kind = "SUBSYSTEM" if isinstance(client, SubsystemId) else "MEMBER"
        with self.element(name, f'ns2:objectType="{kind}"'):
            self.leaf("ns2:xRoadInstance", client.instance)
            self.leaf("ns2:memberClass", client.member_class)
            self.leaf("ns2:memberCode", client.member_code)
            self.leaf("ns2:subsystemCode", client.subsystem_code)

    def encode(self) -> bytes:
        """The whole document."""
        try:
            return ("\n".join(self._lines) + "\n").encode("utf-8")
        except UnicodeEncodeError:
            raise malformed("a text holds characters that XML can't carry") from None

    def encode_readable(
        self, parse: Callable[[bytes, int], object], *, version: int, what: str
    ) -> bytes:
        """The whole document, once it reads back; raises ``ConfigurationError`` if it doesn't."""
        try:
            data = self.encode()
            parse(data, version)
        except MalformedInput as error:
            raise ConfigurationError(
                f"{what} can't be written in version {version}: {error}",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            ) from error
        return data
