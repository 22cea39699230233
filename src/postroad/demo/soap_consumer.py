"""The consumer's SOAP calls to its own Security Server, with or without attachments."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.demo.consumer import request
from postroad.demo.layout import CONSUMER, PROVIDER
from postroad.demo.soap_package import Attachment, Package, read_package, write_package
from postroad.identifiers import ServiceId
from postroad.management.requests import encode_identifier
from postroad.messages.faults import SOAP_ENVELOPE
from postroad.messages.soap_reading import read_soap
from postroad.wire.xml import IDENTIFIERS, XROAD

if TYPE_CHECKING:
    from postroad.identifiers import ClientId, SubsystemId
    from postroad.messages.soap import SoapEnvelope, SoapFault


@dataclass(frozen=True, slots=True)
class SoapAnswer:
    """What came back: a message with its attachments, or a fault."""

    query_id: str
    document: SoapEnvelope | SoapFault
    attachments: tuple[Attachment, ...]
    is_mtom: bool
    seconds: float

    @property
    def text(self) -> str:
        """The message as it came."""
        return self.document.xml.decode("utf-8", "replace")


def call_soap(
    url: str,
    operation: str,
    content: str = "",
    *,
    version: str | None = None,
    attachments: tuple[Attachment, ...] = (),
    is_mtom: bool = False,
    client: SubsystemId = CONSUMER.subsystem,
    provider: ClientId = PROVIDER.subsystem,
) -> SoapAnswer:
    """Call a SOAP service; ``content`` is the element in the body, which bears the service's code.

    Raises ``UnavailablePeer`` when there is no HTTP answer.
    """
    query_id = str(uuid.uuid4())
    service = ServiceId(provider, operation, version)
    soap = (
        f'<soap:Envelope xmlns:soap="{SOAP_ENVELOPE}" xmlns:xroad="{XROAD}"'
        f' xmlns:id="{IDENTIFIERS}">'
        f"<soap:Header>{encode_identifier('client', client)}{encode_identifier('service', service)}"
        f"<xroad:id>{query_id}</xroad:id><xroad:protocolVersion>4.0</xroad:protocolVersion>"
        f"</soap:Header><soap:Body>{content}</soap:Body></soap:Envelope>"
    )
    kind, body = write_package(Package(soap.encode(), attachments, is_mtom))
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "SOAPAction": '""'}
    answer = request(url, "POST", "/", headers, body)
    package = read_package(answer.headers.get("content-type", ""), answer.body)
    return SoapAnswer(
        query_id,
        read_soap(package.soap),
        package.attachments,
        package.is_mtom,
        answer.seconds,
    )
