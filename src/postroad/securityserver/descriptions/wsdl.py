"""Which services does a WSDL describe?

Every operation of every port with a SOAP binding over HTTP is one; nothing that the document
imports is read. Source: UG-SS 6.1.1; reference: WsdlParser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import MalformedInput
from postroad.securityserver.descriptions.derived import (
    Derived,
    DerivedService,
    check_identifier,
    malformed,
)
from postroad.wire.xml import child_elements, local_name, namespace_of, parse, qualified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from postroad.wire.xml import Element

_WSDL: Final = "http://schemas.xmlsoap.org/wsdl/"
_SOAP_11: Final = "http://schemas.xmlsoap.org/wsdl/soap/"
_SOAP_12: Final = "http://schemas.xmlsoap.org/wsdl/soap12/"
_BINDINGS: Final = frozenset({qualified(_SOAP_11, "binding"), qualified(_SOAP_12, "binding")})
_ADDRESSES: Final = frozenset({qualified(_SOAP_11, "address"), qualified(_SOAP_12, "address")})
_HTTP: Final = "http://schemas.xmlsoap.org/soap/http"


def derive_wsdl(document: bytes) -> Derived:
    """The services of a WSDL; of two with one code and version the later one counts.

    Raises ``MalformedInput`` for what is no WSDL (document types are refused), for an operation
    that stands twice in a binding, and for a code or version that is no identifier.
    """
    try:
        root = parse(document)
    except MalformedInput as error:
        raise malformed(f"the WSDL can't be read: {error.message}") from error
    if root.tag != qualified(_WSDL, "definitions"):
        raise malformed("the document is no WSDL: its root is not wsdl:definitions")
    namespace = root.get("targetNamespace", "")
    bindings = {
        (namespace, binding.get("name", "")): binding
        for binding in root.iterfind(qualified(_WSDL, "binding"))
    }
    titles = _titles(root, namespace)
    services: dict[str, DerivedService] = {}
    for port in root.iterfind(f"{qualified(_WSDL, 'service')}/{qualified(_WSDL, 'port')}"):
        binding = bindings.get(_name_in(port, port.get("binding", "")))
        if binding is None or not _is_soap_over_http(binding):
            continue
        for service in _services(binding, _address(port), titles):
            services[service.full_code] = service
    return Derived(services=tuple(services.values()))


def _services(
    binding: Element, url: str, titles: Mapping[tuple[tuple[str, str], str], str]
) -> Iterator[DerivedService]:
    port_type = _name_in(binding, binding.get("type", ""))
    seen: set[str] = set()
    for operation in binding.iterfind(qualified(_WSDL, "operation")):
        code = check_identifier("the operation", operation.get("name", ""))
        if code in seen:
            raise malformed(f"the operation {code!r} stands twice in a binding")
        seen.add(code)
        version = _version(operation)
        yield DerivedService(
            code=code,
            version=check_identifier("the version", version) if version else None,
            url=url,
            title=titles.get((port_type, code), ""),
        )


def _is_soap_over_http(binding: Element) -> bool:
    """The first SOAP extension of a binding decides."""
    for extension in child_elements(binding):
        if extension.tag in _BINDINGS:
            return extension.get("transport") == _HTTP
    return False


def _address(port: Element) -> str:
    for extension in child_elements(port):
        if extension.tag in _ADDRESSES:
            return extension.get("location", "")
    return ""


def _version(operation: Element) -> str:
    """The text of the first extension called ``version``, whatever its namespace."""
    for extension in child_elements(operation):
        if namespace_of(extension) != _WSDL and local_name(extension) == "version":
            return (extension.text or "").strip()
    return ""


def _titles(root: Element, namespace: str) -> dict[tuple[tuple[str, str], str], str]:
    """Titles of operations, by port type and operation."""
    found: dict[tuple[tuple[str, str], str], str] = {}
    for port_type in root.iterfind(qualified(_WSDL, "portType")):
        for operation in port_type.iterfind(qualified(_WSDL, "operation")):
            documentation = operation.find(qualified(_WSDL, "documentation"))
            if documentation is None:
                continue
            for child in child_elements(documentation):
                if local_name(child) == "title":
                    place = ((namespace, port_type.get("name", "")), operation.get("name", ""))
                    found[place] = (child.text or "").strip()
                    break
    return found


def _name_in(element: Element, name: str) -> tuple[str, str]:
    """A name as it is meant where it stands: namespace and local part."""
    prefix, colon, local = name.rpartition(":")
    return element.nsmap.get(prefix if colon else None) or "", local
