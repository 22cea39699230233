"""What is asked of the operational monitoring services, and what do they answer?

Elements of ``http://x-road.eu/xsd/op-monitoring.xsd``; a question that breaks its schema is
refused.
Source: PR-OPMON 2 and 3, annexes A and B; reference: op-monitoring.xsd, QueryRequestHandler,
OperationalDataRequestHandler, HealthDataRequestHandler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput, PostroadError
from postroad.identifiers import ClientId, client_id
from postroad.messages.faults import CONSUMER_FAULT, SOAP_ENVELOPE
from postroad.messages.soap_metadata import with_body
from postroad.wire.xml import (
    IDENTIFIERS,
    child_elements,
    escape_text,
    local_name,
    namespace_of,
    parse,
    qualified,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroad.identifiers import ServiceId
    from postroad.messages.soap import SoapEnvelope
    from postroad.wire.xml import Element

OPERATIONAL_DATA: Final = "getSecurityServerOperationalData"
HEALTH_DATA: Final = "getSecurityServerHealthData"
"""The codes of the services, and the names of the elements that ask."""
OP_MONITORING: Final = "http://x-road.eu/xsd/op-monitoring.xsd"
ATTACHMENT: Final = "operational-monitoring-data.json.gz"
MAX_OUTPUT_FIELDS: Final = 200
_LONGEST: Final = (1 << 63) - 1
_PARTS: Final = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")


@dataclass(frozen=True, slots=True)
class OperationalQuestion:
    """Which records are wanted: seconds, both inclusive."""

    records_from: int
    records_to: int
    provider: ClientId | None
    """Only exchanges that this party provided."""
    fields: tuple[str, ...]
    """Names of fields as written, each once; all of them if there are none."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Some values: the least, their mean, the largest and their standard deviation."""

    least: int
    mean: float
    largest: int
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceHealth:
    """How one service has been doing; moments in milliseconds, sizes in bytes."""

    service: ServiceId
    last_success: int | None
    last_failure: int | None
    service_type: str | None
    successes: int
    failures: int
    """Within the last period, these two and what follows."""
    duration: Spread | None = None
    request_size: Spread | None = None
    response_size: Spread | None = None


def parse_operational_question(message: SoapEnvelope) -> OperationalQuestion:
    """Read the body of a question; raises ``MalformedInput`` (``client.invalid_request``)."""
    question = _question(message, OPERATIONAL_DATA)
    criteria = _required(question, "searchCriteria")
    provider = _child(criteria, "client")
    spec = _child(question, "outputSpec")
    fields = [] if spec is None else [text_of(child) for child in child_elements(spec)]
    if len(fields) > MAX_OUTPUT_FIELDS:
        raise invalid_question(f"more than {MAX_OUTPUT_FIELDS} output fields")
    return OperationalQuestion(
        _seconds(criteria, "recordsFrom"),
        _seconds(criteria, "recordsTo"),
        None if provider is None else _client(provider),
        tuple(dict.fromkeys(fields)),
    )


def parse_health_question(message: SoapEnvelope) -> ClientId | None:
    """The provider whose services are wanted, or None for all; raises as the other does."""
    criteria = _child(_question(message, HEALTH_DATA), "filterCriteria")
    client = None if criteria is None else _child(criteria, "client")
    return None if client is None else _client(client)


def encode_operational_answer(message: SoapEnvelope, count: int, next_from: int | None) -> bytes:
    """The response to a question for records, still without a request hash."""
    content = _leaf("recordsCount", count) + _leaf("records", f"cid:{ATTACHMENT}")
    if next_from is not None:
        content += _leaf("nextRecordsFrom", next_from)
    return _response(message, OPERATIONAL_DATA, content)


def encode_health_answer(message: SoapEnvelope, content: str) -> bytes:
    """The response with health data as ``health_content`` wrote it, without a request hash."""
    return _response(message, HEALTH_DATA, content)


def health_content(started: int, period: int, services: Iterable[ServiceHealth]) -> str:
    """Health data as XML; ``started`` in milliseconds, ``period`` in seconds.

    It uses the prefixes that ``encode_health_answer`` declares.
    """
    events = "".join(_service_events(service) for service in services)
    return (
        _leaf("monitoringStartupTimestamp", started)
        + _leaf("statisticsPeriodSeconds", period)
        + f"<om:servicesEvents>{events}</om:servicesEvents>"
    )


def invalid_question(message: str) -> MalformedInput:
    """The refusal of a question, which blames whoever asked."""
    return MalformedInput(message, code=FaultCode.INVALID_REQUEST, prefix=(CONSUMER_FAULT,))


# ---- reading


def _question(message: SoapEnvelope, name: str) -> Element:
    for part in child_elements(parse(message.xml)):
        if part.tag == qualified(SOAP_ENVELOPE, "Body"):
            for child in child_elements(part):
                if child.tag == qualified(OP_MONITORING, name):
                    return child
    raise invalid_question(f"the body holds no {name} of {OP_MONITORING}")


def _child(element: Element, name: str) -> Element | None:
    found = [child for child in child_elements(element) if local_name(child) == name]
    if len(found) > 1:
        raise invalid_question(f"{name} is given twice")
    if found and namespace_of(found[0]) != OP_MONITORING:
        raise invalid_question(f"{name} is not an element of {OP_MONITORING}")
    return found[0] if found else None


def _required(element: Element, name: str) -> Element:
    child = _child(element, name)
    if child is None:
        raise invalid_question(f"{name} is missing")
    return child


def _seconds(criteria: Element, name: str) -> int:
    text = text_of(_required(criteria, name)).strip()
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19 or int(digits) > _LONGEST:
        raise invalid_question(f"{name} is not a number of seconds")
    return int(text)


def _client(element: Element) -> ClientId:
    texts = {
        local_name(child): text_of(child)
        for child in child_elements(element)
        if namespace_of(child) == IDENTIFIERS
    }
    member = [texts.get(name, "") for name in _PARTS[:3]]
    try:
        return client_id(member[0], member[1], member[2], texts.get("subsystemCode"))
    except PostroadError as error:
        raise invalid_question(f"client: {error.message}") from error


# ---- writing


def _response(message: SoapEnvelope, name: str, content: str) -> bytes:
    element = f"om:{name}Response"
    return with_body(
        message,
        f'<{element} xmlns:om="{OP_MONITORING}" xmlns:id="{IDENTIFIERS}">{content}</{element}>',
    )


def _leaf(name: str, value: float | str) -> str:
    return f"<om:{name}>{escape_text(str(value))}</om:{name}>"


def _service_events(health: ServiceHealth) -> str:
    content = _service(health.service)
    if health.last_success is not None:
        content += _leaf("lastSuccessfulRequestTimestamp", health.last_success)
    if health.last_failure is not None:
        content += _leaf("lastUnsuccessfulRequestTimestamp", health.last_failure)
    if health.service_type is not None:
        content += _leaf("serviceType", health.service_type)
    statistics = _leaf("successfulRequestCount", health.successes)
    statistics += _leaf("unsuccessfulRequestCount", health.failures)
    if health.duration is not None:
        statistics += _spread(health.duration, ("request", "Duration"), "requestDurationStdDev")
    if health.request_size is not None:
        statistics += _spread(health.request_size, ("request", "Size"), "requestSizeStdDev")
    if health.response_size is not None:
        statistics += _spread(health.response_size, ("response", "Size"), "responseSizeStdDev")
    content += f"<om:lastPeriodStatistics>{statistics}</om:lastPeriodStatistics>"
    return f"<om:serviceEvents>{content}</om:serviceEvents>"


def _spread(spread: Spread, name: tuple[str, str], deviation: str) -> str:
    """In the order of the schema."""
    of, what = name
    values: Sequence[tuple[str, float]] = (
        (f"{of}Min{what}", spread.least),
        (f"{of}Average{what}", spread.mean),
        (f"{of}Max{what}", spread.largest),
        (deviation, spread.deviation),
    )
    return "".join(_leaf(leaf, value) for leaf, value in values)


def _service(service: ServiceId) -> str:
    parts = [
        *zip(_PARTS, service.client.parts, strict=False),
        ("serviceCode", service.service_code),
    ]
    if service.service_version is not None:
        parts.append(("serviceVersion", service.service_version))
    content = "".join(f"<id:{name}>{escape_text(text)}</id:{name}>" for name, text in parts)
    return f'<om:service id:objectType="SERVICE">{content}</om:service>'
