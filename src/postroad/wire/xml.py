"""How is XML read and written safely: the one hardened parser, canonical forms and schemas.

Everything that reads XML from outside goes through :func:`parse`: no document type, no entity,
no network, bounded size, depth and element count. Nothing else in Postroad imports ``lxml``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from lxml import etree

from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Sequence

Element = etree._Element  # noqa: SLF001 - lxml has no public name for its element type

XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"
XROAD = "http://x-road.eu/xsd/xroad.xsd"
IDENTIFIERS = "http://x-road.eu/xsd/identifiers"


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """How much XML is read from outside before it is refused."""

    max_bytes: int = 10 * 1024 * 1024
    max_depth: int = 64
    max_elements: int = 200_000


DEFAULT_LIMITS = XmlLimits()
_reading_schema = threading.Lock()
"""libxml2 reads one schema at a time: two threads at once break its table of built-in types, which
makes every later schema of the process fail, or free memory twice. Validating is safe."""


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=False,
        remove_pis=False,
        strip_cdata=False,
        recover=False,
    )


def parse(data: bytes, *, limits: XmlLimits = DEFAULT_LIMITS) -> Element:
    """Read a document and return its root element.

    >>> parse(b"<a><b>1</b></a>").tag
    'a'

    Raises ``MalformedInput`` (``invalid_xml``) for anything that isn't well-formed, has a
    document type, or is larger or deeper than ``limits``.
    """
    if len(data) > limits.max_bytes:
        raise _invalid(f"XML of {len(data)} bytes; at most {limits.max_bytes} are read")
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _invalid(f"not well-formed XML: {error}") from error
    # libxml2 keeps an internal subset even when it loads nothing; nothing honest sends one.
    if root.getroottree().docinfo.internalDTD is not None:
        raise _invalid("XML with a document type is refused")
    _check_shape(root, limits)
    return root


def _check_shape(root: Element, limits: XmlLimits) -> None:
    depth = 0
    count = 0
    for event, _node in etree.iterwalk(root, events=("start", "end")):
        if event == "start":
            depth += 1
            count += 1
            if depth > limits.max_depth:
                raise _invalid(f"XML nested deeper than {limits.max_depth} levels")
            if count > limits.max_elements:
                raise _invalid(f"XML with more than {limits.max_elements} elements")
        else:
            depth -= 1


def canonicalize(
    element: Element,
    *,
    exclusive: bool = False,
    inclusive_prefixes: Sequence[str] = (),
    with_comments: bool = False,
) -> bytes:
    """Return Canonical XML 1.0 (or exclusive C14N) of one element as it stands in its document.

    Namespaces declared on ancestors are in scope, as the recommendation wants for a document
    subset.
    """
    try:
        return etree.tostring(
            element,
            method="c14n",
            exclusive=exclusive,
            with_comments=with_comments,
            inclusive_ns_prefixes=list(inclusive_prefixes) or None,
            with_tail=False,
        )
    except etree.C14NError as error:  # Canonical XML has no form for relative namespace names
        raise _invalid(f"XML without a canonical form: {error}") from error


def serialize(element: Element, *, declaration: bool = True) -> bytes:
    """Write an element as a UTF-8 document."""
    return etree.tostring(element, encoding="UTF-8", xml_declaration=declaration, with_tail=False)


def qualified(namespace: str, name: str) -> str:
    """Return the ``{namespace}name`` form."""
    return f"{{{namespace}}}{name}"


def local_name(element: Element) -> str:
    """Return an element's name without its namespace; "" for comments and the like."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def namespace_of(element: Element) -> str:
    """Return an element's namespace; "" when it has none."""
    tag = element.tag
    if not isinstance(tag, str) or not tag.startswith("{"):
        return ""
    return tag[1:].partition("}")[0]


def child_elements(element: Element) -> list[Element]:
    """Return the element children, comments and processing instructions left out."""
    return [child for child in element if isinstance(child.tag, str)]


def text_of(element: Element) -> str:
    """Return the text directly inside an element ("" when empty); never its children's."""
    return element.text or ""


_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        '"': "&quot;",
        "\t": "&#x9;",
        "\n": "&#xA;",
        "\r": "&#xD;",
    }
)


def escape_text(text: str) -> str:
    """Escape character data exactly as Canonical XML writes it.

    >>> escape_text("a<b&c")
    'a&lt;b&amp;c'
    """
    return text.translate(_TEXT_ESCAPES)


def escape_attribute(text: str) -> str:
    """Escape an attribute value exactly as Canonical XML writes it, for double quotes."""
    return text.translate(_ATTRIBUTE_ESCAPES)


class _PackagedSchemas(etree.Resolver):
    """Resolves imports between packaged schemas, and nothing else."""

    def __init__(self, package: str) -> None:
        super().__init__()
        self._package = package

    def resolve(self, system_url: str, public_id: str, context: object) -> object:  # type: ignore[override]  # noqa: ARG002 - the stub lacks lxml's third argument
        name = system_url.rpartition("/")[2]
        data = resources.files(self._package).joinpath(name).read_bytes()
        return self.resolve_string(data, context, base_url=name)


class Schema:
    """A packaged XML Schema. Make one with :func:`load_schema`."""

    def __init__(self, package: str, name: str) -> None:
        parser = _parser()
        parser.resolvers.add(_PackagedSchemas(package))
        data = resources.files(package).joinpath(name).read_bytes()
        self.name = name
        self._schema = etree.XMLSchema(etree.fromstring(data, parser, base_url=name))

    def validate(self, root: Element, *, code: FaultCode = FaultCode.INVALID_XML) -> None:
        """Raise ``MalformedInput`` with the first violation when ``root`` breaks the schema."""
        if not self._schema.validate(root):
            reason = (str(self._schema.error_log).splitlines() or ["unknown violation"])[0]
            raise MalformedInput(f"breaks schema {self.name}: {reason}", code=code)


@cache
def load_schema(package: str, name: str) -> Schema:
    """Return the schema ``name`` that is packaged in ``package``, read once.

    >>> load_schema("postroad.globalconf.schemas", "anchor.xsd").name  # doctest: +SKIP
    'anchor.xsd'
    """
    with _reading_schema:
        return Schema(package, name)


def _invalid(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_XML)
