"""What do the HTTP headers of the SOAP interfaces have to say, and which ones are sent on?

Source: PR-MESS 3 (binding to HTTP), SOAP 1.1 6.1.1; reference: MessageProcessorBase,
SoapMessageDecoder, ProxyMessage.
"""

from __future__ import annotations

import re
from typing import Final

from postroad.errors import FaultCode, MalformedInput
from postroad.wire.mime import MediaType

SOAP_TYPES: Final = frozenset({"text/xml", "application/xop+xml"})
MULTIPART_RELATED: Final = "multipart/related"
SINGLE_PART_TYPE: Final = "text/xml; charset=UTF-8"
"""The type with which a message without attachments is sent on, unless its encoding differs."""

# RFC 2396 as java.net.URI reads it: no spaces, no controls, no quotes, whole escapes.
_URI = re.compile(r"(?:[^\x00-\x20\x7f-\xa0\"<>\\^`{|}%]|%[0-9A-Fa-f]{2})+")


def check_soap_action(value: str | None) -> str:
    """The SOAPAction to send on; raises ``MalformedInput`` (invalid_soap_action).

    It may be absent, empty, or a URI reference in quotes, which may be empty too.

    >>> check_soap_action('"urn:foo"'), check_soap_action(None)
    ('"urn:foo"', '')
    """
    if not value or value == '""':
        return value or ""
    if len(value) > 2 and value[0] == value[-1] == '"' and _URI.fullmatch(value[1:-1]):
        return value
    raise MalformedInput(
        f"the SOAPAction {value[:80]!r} is not a URI in quotes", code=FaultCode.INVALID_SOAP_ACTION
    )


def package_type(content_type: str | None) -> MediaType:
    """The media type of a SOAP message or package; raises ``MalformedInput``.

    ``invalid_request`` if there is none, ``invalid_content_type`` if it can't hold SOAP.
    """
    if not content_type:
        raise MalformedInput("there is no content type", code=FaultCode.INVALID_REQUEST)
    media_type = MediaType.parse(content_type)
    if media_type.base not in SOAP_TYPES and media_type.base != MULTIPART_RELATED:
        raise MalformedInput(
            f"{media_type.base} is not a type of SOAP messages",
            code=FaultCode.INVALID_CONTENT_TYPE,
        )
    return media_type
