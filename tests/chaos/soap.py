"""A message of the ledger over SOAP: what is counted is its attachment.

The consumer asks with SOAP with Attachments; the service says in an attachment of its answer what
it received.
"""

from __future__ import annotations

import hashlib
import http.client
import uuid

from chaos.ledger import Ledger
from chaos.load import Door, Reply, counted_body, post
from postroad.demo.layout import CONSUMER, PROVIDER
from postroad.demo.soap_package import Attachment, Package, read_package, write_package
from postroad.errors import PostroadError
from postroad.identifiers import ServiceId
from postroad.management.requests import encode_identifier
from postroad.messages.faults import SOAP_ENVELOPE
from postroad.messages.soap import SoapEnvelope, SoapFault
from postroad.messages.soap_reading import read_soap
from postroad.wire.xml import IDENTIFIERS, XROAD

SERVICE = "soapLedger"
_OCTETS = "application/octet-stream"
_END = b"</soap:Header>"
_REFUSED = 500
"""What a fault is counted as; SOAP tells faults with status 200."""


def exchange_soap(
    door: Door, ledger: Ledger, connection: http.client.HTTPConnection, size: int
) -> Reply:
    """One message of the ledger; a SOAP fault is told as the reply's fault."""
    query_id = str(uuid.uuid4())
    body = counted_body(query_id, size)
    attachment = Attachment("counted", _OCTETS, body)
    kind, package = write_package(Package(_envelope(query_id), (attachment,)))
    ledger.sending(query_id, body)
    reply = post(connection, "/", {"Content-Type": kind, "SOAPAction": '""'}, package)
    if not reply.status:
        ledger.refused(reply.fault)
        return reply
    try:
        answer = read_package(reply.content_type, reply.body)
        document = read_soap(answer.soap)
    except PostroadError as error:
        ledger.wrong(f"{query_id}: {reply.status}, and can't be read: {error.message}")
        return reply
    if isinstance(document, SoapFault):
        ledger.refused(document.fault.code)
        return Reply(_REFUSED, document.fault.code, reply.body, reply.seconds)
    if document.header.query_id != query_id:
        ledger.wrong(f"{query_id}: the answer is that of {document.header.query_id}")
    elif not answer.attachments:
        ledger.wrong(f"{query_id}: answered without an attachment")
    else:
        ledger.acknowledged(query_id, answer.attachments[0].data.decode())
    return reply


def answer_soap(ledger: Ledger, content_type: str, body: bytes) -> tuple[str, bytes]:
    """What the service does: note the attachment, answer with its digest."""
    asked = read_package(content_type, body)
    document = read_soap(asked.soap)
    (attachment,) = asked.attachments
    if isinstance(document, SoapEnvelope):
        ledger.delivered(document.header.query_id, attachment.data)
    digest = hashlib.sha256(attachment.data).hexdigest().encode()
    head, _, _ = asked.soap.partition(_END)
    soap = head + _END + _body(f"{SERVICE}Response")
    return write_package(Package(soap, (Attachment("digest", "text/plain", digest),)))


def _envelope(query_id: str) -> bytes:
    service = ServiceId(PROVIDER.subsystem, SERVICE, None)
    head = (
        f'<soap:Envelope xmlns:soap="{SOAP_ENVELOPE}" xmlns:xroad="{XROAD}"'
        f' xmlns:id="{IDENTIFIERS}"><soap:Header>'
        f"{encode_identifier('client', CONSUMER.subsystem)}{encode_identifier('service', service)}"
        f"<xroad:id>{query_id}</xroad:id><xroad:protocolVersion>4.0</xroad:protocolVersion>"
    )
    return head.encode() + _END + _body(SERVICE)


def _body(name: str) -> bytes:
    content = f'<c:{name} xmlns:c="http://chaos.example/"/>'
    return f"<soap:Body>{content}</soap:Body></soap:Envelope>".encode()
