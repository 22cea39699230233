"""How is an error told: as a SOAP fault, as a REST error, and how is a peer's fault read?

This is the only place that renders a fault code for the outside. Source: PR-MESS 2.6, PR-REST 5,
PR-MESSTRANSP 2.1; reference: SoapFault, ClientRestMessageHandler.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput, PostroadError, RemoteFault
from postroad.fault_table import Dialect, spell
from postroad.wire.xml import (
    Element,
    XmlLimits,
    child_elements,
    escape_text,
    local_name,
    parse,
    qualified,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.wire.headers import HeaderList

SOAP_ENVELOPE: Final = "http://schemas.xmlsoap.org/soap/envelope/"
FAULT_CONTENT_TYPE: Final = "text/xml; charset=UTF-8"
CLIENT_SIDE: Final = ("server", "clientproxy")
PROVIDER_SIDE: Final = ("server", "serverproxy")
CONSUMER_FAULT: Final = "client"
"""The first part of codes for what the SOAP consumer itself did wrong: no side is put before it."""

_FAULT_LIMITS = XmlLimits(max_bytes=1024 * 1024, max_depth=32, max_elements=2000)
_MAX_TEXT = 16 * 1024
_MAX_CODE = 512
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_HEADER = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Fault:
    """What the outside is told of an error: code, text, actor and a detail to find it by."""

    code: str
    string: str
    actor: str = ""
    detail: str = ""
    retry_after: int = 0
    """Seconds after which the same request may do better; 0 when nobody can tell."""

    @property
    def http_headers(self) -> HeaderList:
        """What the fault adds to the head of an HTTP answer."""
        return (("Retry-After", str(self.retry_after)),) if self.retry_after else ()

    @property
    def is_remote_server_error(self) -> bool:
        """True for codes below ``server.`` in either spelling."""
        return self.code.lower().startswith("server.")


def fault_of(
    error: BaseException,
    *,
    side_prefix: tuple[str, ...],
    detail_id: str,
    dialect: Dialect = Dialect.SNAKE,
) -> Fault:
    """The fault for an error that ends an exchange.

    A peer's fault keeps its code; our own gets ``side_prefix`` in front. An exception that isn't
    a ``PostroadError`` becomes ``internal_error`` and tells nothing of its text.

    >>> from postroad.errors import RefusedRequest
    >>> fault_of(RefusedRequest("no right"), side_prefix=PROVIDER_SIDE, detail_id="u").code
    'server.serverproxy.access_denied'
    """
    if isinstance(error, RemoteFault):
        return Fault(error.fault_code, error.message, error.actor, error.detail or detail_id)
    if isinstance(error, PostroadError):
        if error.prefix[:1] != (CONSUMER_FAULT,):
            error.within(*side_prefix)
        code = error.fault_code
        retry_after = getattr(error, "retry_after", 0)
        return Fault(spell(code, dialect), error.message, "", detail_id, retry_after)
    code = ".".join((*side_prefix, FaultCode.INTERNAL_ERROR))
    return Fault(spell(code, dialect), "Internal error", "", detail_id)


def encode_soap_fault(fault: Fault) -> bytes:
    """The fault as a SOAP 1.1 envelope, on one line as the protocol's other servers write it."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_ENVELOPE}"><SOAP-ENV:Body><SOAP-ENV:Fault>'
        f"<faultcode>{_xml_text(fault.code)}</faultcode>"
        f"<faultstring>{_xml_text(fault.string)}</faultstring>"
        f"<faultactor>{_xml_text(fault.actor)}</faultactor>"
        f'<detail><faultDetail xmlns="">{_xml_text(fault.detail)}</faultDetail></detail>'
        "</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    ).encode()


def parse_soap_fault(xml: bytes) -> Fault:
    """Read a SOAP fault by local names; texts are bounded.

    Raises ``MalformedInput``: ``invalid_soap`` if it isn't a SOAP envelope, ``invalid_message``
    if it is one without a fault.
    """
    element = _find_fault(xml)
    if element is None:
        raise MalformedInput(
            "a SOAP message stands where only a fault may", code=FaultCode.INVALID_MESSAGE
        )
    texts: dict[str, str] = {}
    for child in child_elements(element):
        name = local_name(child)
        texts.setdefault(name, _detail_text(child) if name == "detail" else _all_text(child))
    return Fault(
        texts.get("faultcode", "")[:_MAX_CODE],
        texts.get("faultstring", "")[:_MAX_TEXT],
        texts.get("faultactor", "")[:_MAX_TEXT],
        texts.get("detail", "")[:_MAX_TEXT],
    )


def remote_fault(fault: Fault, xml: bytes = b"") -> RemoteFault:
    """The error that stands for a fault a peer sent; ``xml`` is how it was written."""
    return RemoteFault(fault.code, fault.string, actor=fault.actor, detail=fault.detail, xml=xml)


@dataclass(frozen=True, slots=True)
class RestError:
    """A whole HTTP error response for a REST consumer."""

    status: int
    headers: HeaderList
    body: bytes


def rest_error(fault: Fault, accept: Sequence[str]) -> RestError:
    """The REST form of a fault; ``accept`` holds the consumer's Accept headers.

    XML only if the consumer accepts an XML type by name (or ``text/*``), else JSON; weights are
    ignored. 500 for codes below ``server.``, 400 for all others (PR-REST 5).
    """
    status = 500 if fault.is_remote_server_error else 400
    code = _NOT_HEADER.sub("?", fault.code)
    xml_type = _accepted_xml_type(accept)
    if xml_type is None:
        body = json.dumps(
            {"type": fault.code, "message": fault.string, "detail": fault.detail},
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode("utf-8", "replace")
        content_type = "application/json"
    else:
        body = (
            '<?xml version="1.0" encoding="UTF-8" standalone="no"?><error>'
            f"<type>{_xml_text(fault.code)}</type><message>{_xml_text(fault.string)}</message>"
            f"<detail>{_xml_text(fault.detail)}</detail></error>"
        ).encode()
        content_type = f"{xml_type};charset=utf-8"
    headers = (("Content-Type", content_type), ("X-Road-Error", code), *fault.http_headers)
    return RestError(status, headers, body)


def _accepted_xml_type(accept: Sequence[str]) -> str | None:
    for value in accept:
        for item in value.split(","):
            match item.partition(";")[0].strip().lower():
                case "text/xml" | "text/*":
                    return "text/xml"
                case "application/xml":
                    return "application/xml"
    return None


def _xml_text(text: str) -> str:
    return escape_text(_NOT_XML.sub("\ufffd", text))


def _find_fault(xml: bytes) -> Element | None:
    try:
        root = parse(xml, limits=_FAULT_LIMITS)
    except MalformedInput as error:
        raise MalformedInput(f"not a SOAP message: {error}", code=FaultCode.INVALID_SOAP) from error
    if root.tag != qualified(SOAP_ENVELOPE, "Envelope"):
        raise MalformedInput("not a SOAP 1.1 envelope", code=FaultCode.INVALID_SOAP)
    for body in child_elements(root):
        if body.tag == qualified(SOAP_ENVELOPE, "Body"):
            for child in child_elements(body):
                if child.tag == qualified(SOAP_ENVELOPE, "Fault"):
                    return child
    return None


def _detail_text(detail: Element) -> str:
    for child in child_elements(detail):
        if local_name(child) == "faultDetail":
            return _all_text(child)
    return (detail.text or "").strip()


def _all_text(element: Element) -> str:
    return "".join(str(text) for text in element.itertext()).strip()
