"""Who may ask this server for operational monitoring data, and what do they get?

Every registered client may ask. The owner that names this server, and the monitoring client of the
global configuration, get everything; all others the exchanges they took part in. Health data is for
everybody. Source: PR-OPMON 2.1 and 3; reference: OperationalDataRequestHandler,
HealthDataRequestHandler, OpMonitoringServiceHandlerImpl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.messages.soap_monitoring import (
    ATTACHMENT,
    HEALTH_DATA,
    OPERATIONAL_DATA,
    encode_health_answer,
    encode_operational_answer,
    invalid_question,
    parse_health_question,
    parse_operational_question,
)
from postroad.securityserver.builtin_services import BuiltinAttachment, BuiltinSoapAnswer
from postroad.securityserver.opmonitoring import protocol
from postroad.securityserver.opmonitoring.record import JSON_NAMES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from postroad.clock import Clock
    from postroad.messages.soap_monitoring import OperationalQuestion
    from postroad.securityserver.builtin_services import SoapService
    from postroad.securityserver.provider_exchange import Call
    from postroad.securityserver.soap_message import SoapRequest

_COLUMNS: Final = {name: column for column, name in JSON_NAMES.items()}


class OperationalMonitoring:
    """The SOAP services; ``query`` and ``health`` ask the process that has the data.

    ``offset`` is how many seconds old a record must be to be told.
    """

    def __init__(
        self,
        query: Callable[[protocol.QueryArgument], Awaitable[protocol.QueryResult]],
        health: Callable[[tuple[str, ...]], Awaitable[str]],
        clock: Clock,
        *,
        offset: int,
    ) -> None:
        self._query = query
        self._health = health
        self._clock = clock
        self._offset = offset

    @property
    def services(self) -> Mapping[str, SoapService]:
        """The services by their codes; the server's owner is who offers them."""
        return {OPERATIONAL_DATA: self.operational_data, HEALTH_DATA: self.health_data}

    async def operational_data(self, call: Call, message: SoapRequest) -> BuiltinSoapAnswer:
        """Records, as compressed JSON beside the answer."""
        question = parse_operational_question(message.envelope)
        available_before = int(self._clock.now().timestamp()) - self._offset
        _check(question, available_before)
        result = await self._query(
            protocol.QueryArgument(
                question.records_from,
                min(question.records_to, available_before - 1),
                None if _sees_everything(call, message) else message.client.parts,
                None if question.provider is None else question.provider.parts,
                tuple(_COLUMNS[name] for name in question.fields),
            )
        )
        next_from = result.next_from
        if next_from is None and question.records_to >= available_before:
            next_from = available_before
        attachment = BuiltinAttachment(
            content_type="application/gzip",
            # Collectors in use cut the answer at this very line: it must be the last one.
            headers=(
                ("content-transfer-encoding", "binary"),
                ("content-id", f"<{ATTACHMENT}>"),
            ),
            data=result.payload,
        )
        answer = encode_operational_answer(message.envelope, result.count, next_from)
        return BuiltinSoapAnswer(xml=answer, attachments=(attachment,))

    async def health_data(self, _call: Call, message: SoapRequest) -> BuiltinSoapAnswer:
        """How the services of this server, or of one provider, have been doing."""
        provider = parse_health_question(message.envelope)
        content = await self._health(() if provider is None else provider.parts)
        return BuiltinSoapAnswer(xml=encode_health_answer(message.envelope, content))


def _sees_everything(call: Call, message: SoapRequest) -> bool:
    """An owner is one only if it names the server, which it then must have named rightly."""
    globalconf, server = call.snapshot.globalconf, call.snapshot.serverconf.server_id
    is_owner = message.target_server is not None and message.client == server.owner
    return is_owner or message.client == globalconf.monitoring_client


def _check(question: OperationalQuestion, available_before: int) -> None:
    if question.records_from < 0:
        raise invalid_question("Records from timestamp is a negative number")
    if question.records_to < 0:
        raise invalid_question("Records to timestamp is a negative number")
    if question.records_to < question.records_from:
        raise invalid_question("Records to timestamp is earlier than records from timestamp")
    if question.records_from >= available_before:
        raise invalid_question(f"Records not available from {question.records_from} yet")
    for name in question.fields:
        if name not in _COLUMNS:
            raise invalid_question(f"Unknown output field in search criteria: {name[:80]}")
