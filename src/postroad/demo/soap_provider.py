"""The provider's SOAP services: what they answer to a message.

``findPerson`` answers with text or a fault; ``certifyDocument`` takes a document as an attachment
and gives it back with a certificate. A response repeats the request's header, as PR-MESS asks.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from postroad.demo.descriptions import CERTIFY, FIND_PERSON, REGISTER
from postroad.demo.soap_package import Attachment, Package
from postroad.messages.faults import SOAP_ENVELOPE, Fault, encode_soap_fault
from postroad.wire.xml import child_elements, escape_text, local_name, parse, qualified, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.wire.xml import Element

XOP_INCLUDE: Final = "http://www.w3.org/2004/08/xop/include"
_UP_TO_BODY = re.compile(rb"(?s)^.*</(?P<prefix>[\w.-]+):Header\s*>")


class Refusal(Exception):
    """What the service tells by a SOAP fault."""


def answer_package(asked: Package, persons: Mapping[str, Mapping[str, str]]) -> Package:
    """The answer to a message, a fault among them; raises ``MalformedInput`` for what isn't XML."""
    body = parse(asked.soap).find(qualified(SOAP_ENVELOPE, "Body"))
    operation = child_elements(body)[0] if body is not None and len(body) else None
    try:
        if operation is None:
            raise Refusal("the body is empty")
        if operation.tag == qualified(REGISTER, FIND_PERSON):
            return Package(_respond(asked, FIND_PERSON, _find_person(operation, persons)))
        if operation.tag == qualified(REGISTER, CERTIFY):
            return _certify(asked)
        raise Refusal(f"there is no operation {local_name(operation)}")
    except Refusal as refusal:
        fault = Fault("SOAP-ENV:Client", str(refusal), "", "")
        return Package(encode_soap_fault(fault))


def _find_person(operation: Element, persons: Mapping[str, Mapping[str, str]]) -> str:
    number = operation.find(qualified(REGISTER, "number"))
    asked = "" if number is None else text_of(number)
    person = persons.get(asked)
    if person is None:
        raise Refusal(f"nobody has the number {asked}")
    return "".join(f"<r:{name}>{escape_text(text)}</r:{name}>" for name, text in person.items())


def _certify(asked: Package) -> Package:
    if len(asked.attachments) != 1:
        raise Refusal("attach the document to certify, and nothing else")
    (document,) = asked.attachments
    digest = hashlib.sha512(document.data).hexdigest()
    content = f"<r:sha512>{digest}</r:sha512>"
    if asked.is_mtom:
        content += included(document.name)
    certificate = f"Registered: {len(document.data)} bytes, SHA-512 {digest}\n".encode()
    return Package(
        _respond(asked, CERTIFY, content),
        (document, Attachment("certificate", "text/plain; charset=UTF-8", certificate)),
        is_mtom=asked.is_mtom,
    )


def included(name: str) -> str:
    """The MTOM element that stands for an attachment."""
    include = f'<xop:Include xmlns:xop="{XOP_INCLUDE}" href="cid:{name}"/>'
    return f"<r:document>{include}</r:document>"


def _respond(asked: Package, operation: str, content: str) -> bytes:
    """The request up to its body, and another body."""
    found = _UP_TO_BODY.match(asked.soap)
    if found is None:
        raise Refusal("the message has no header")
    prefix = found["prefix"].decode("ascii", "replace")
    name = f"{operation}Response"
    return (
        found[0]
        + (
            f'<{prefix}:Body><r:{name} xmlns:r="{REGISTER}">{content}</r:{name}></{prefix}:Body>'
            f"</{prefix}:Envelope>"
        ).encode()
    )
