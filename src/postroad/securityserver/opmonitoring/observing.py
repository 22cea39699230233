"""What does operational monitoring get of an exchange that has ended?

Source: PR-OPMON 2; reference: MessageProcessorBase, ClientMessageProcessor,
ClientRestMessageProcessor, ServerMessageProcessor, ServerRestMessageProcessor.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from postroad.identifiers import percent_decode_segment
from postroad.messages.rest import RestRequest
from postroad.securityserver.opmonitoring.record import (
    CLIENT,
    PRODUCER,
    Observation,
    OperationalRecord,
)
from postroad.securityserver.soap_message import SoapRequest
from postroad.securityserver.transport import PROXY_VERSION

if TYPE_CHECKING:
    from datetime import datetime

    from postroad.securityserver.exchange_facts import ExchangeFacts
    from postroad.securityserver.exchange_report import ExchangeReport

REST_PROTOCOL_VERSION: Final = "1"
WSDL: Final = "WSDL"


def observe(report: ExchangeReport, at: datetime) -> Observation:
    """The facts of an exchange that ends now."""
    facts, end = report.facts, monotonic()
    record = OperationalRecord(security_server_type=CLIENT if report.side == "client" else PRODUCER)
    _note_times(record, facts, int(at.timestamp() * 1000), end)
    if report.fault:
        record.fault_code = report.fault
        record.fault_string = facts.fault_string or report.message
    record.succeeded = _succeeded(report)
    path = ""
    match facts.message:
        case SoapRequest():
            _note_soap(record, facts.message, facts)
        case RestRequest():
            _note_rest(record, facts.message, facts)
            record.status_code = report.service_status or None
            path = facts.message.service_path
        case _:
            pass
    return Observation(record, report.peer_server, path, end - facts.request_in)


def _succeeded(report: ExchangeReport) -> int:
    """A REST service's own error is one, though the exchange went well (PR-OPMON 2)."""
    is_error = isinstance(report.facts.message, RestRequest) and 400 <= report.service_status < 600
    return int(report.status != 0 and not report.fault and not is_error)


def _note_times(record: OperationalRecord, facts: ExchangeFacts, now: int, end: float) -> None:
    def wall(moment: float) -> int | None:
        return now - round((end - moment) * 1000) if moment else None

    record.request_in_ts = wall(facts.request_in)
    record.request_out_ts = wall(facts.request_out)
    record.response_in_ts = wall(facts.response_in)
    record.response_out_ts = wall(facts.response_out) or now
    if facts.own_service:
        record.request_out_ts = record.request_in_ts
        record.response_in_ts = record.response_out_ts


def _note_parties(record: OperationalRecord, message: SoapRequest | RestRequest) -> None:
    client, service = message.client, message.service
    record.client_xroad_instance = client.instance
    record.client_member_class = client.member_class
    record.client_member_code = client.member_code
    record.client_subsystem_code = client.subsystem_code
    provider = service.client
    record.service_xroad_instance = provider.instance
    record.service_member_class = provider.member_class
    record.service_member_code = provider.member_code
    record.service_subsystem_code = provider.subsystem_code
    record.service_code = service.service_code
    record.service_version = service.service_version
    record.message_id = message.query_id
    record.x_request_id = message.request_id or None
    record.x_road_version = PROXY_VERSION


def _note_soap(record: OperationalRecord, message: SoapRequest, facts: ExchangeFacts) -> None:
    _note_parties(record, message)
    header = message.envelope.header
    record.message_user_id = header.user_id
    record.message_issue = header.issue
    record.message_protocol_version = header.protocol_version
    record.service_type = WSDL
    if header.represented_party is not None:
        record.represented_party_class = header.represented_party.party_class
        record.represented_party_code = header.represented_party.party_code
    record.request_size = len(message.envelope.xml)
    if facts.request is not None:
        record.request_attachment_count = facts.request.attachments
        if facts.request.attachments:
            record.request_mime_size = facts.request.block + facts.request.attached
    if facts.response is not None:
        record.response_size = facts.response.block
        record.response_attachment_count = facts.response.attachments
        if facts.response.attachments:
            record.response_mime_size = facts.response.block + facts.response.attached


def _note_rest(record: OperationalRecord, message: RestRequest, facts: ExchangeFacts) -> None:
    _note_parties(record, message)
    record.rest_method = message.method
    record.message_user_id = message.user_id
    record.message_issue = message.issue
    record.message_protocol_version = REST_PROTOCOL_VERSION
    _note_represented(record, message.represented_party)
    if facts.request is not None:
        record.request_size = facts.request.block + facts.request.attached
        record.request_attachment_count = 0
    if facts.response is not None:
        record.response_size = facts.response.block + facts.response.attached
        record.response_attachment_count = 0


def _note_represented(record: OperationalRecord, text: str | None) -> None:
    """``[CLASS/]CODE`` (PR-THIRDPARTY 2.3)."""
    if text is None:
        return
    party_class, _, code = text.rpartition("/")
    record.represented_party_class = percent_decode_segment(party_class) or None
    record.represented_party_code = percent_decode_segment(code)
