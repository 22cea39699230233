"""How does a worker's observation become a record: addresses, service type, path pattern?

What it takes a look into the configuration to know, worked out in the background process. Source:
PR-OPMON 2; reference: OpMonitoringDataProcessor, SavedServiceEndpoint, MessageProcessorBase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.authorization.paths import safe_service_path
from postroad.identifiers import SecurityServerId, client_id
from postroad.securityserver.opmonitoring.record import PRODUCER, clean

if TYPE_CHECKING:
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.opmonitoring.record import Observation, OperationalRecord
    from postroad.securityserver.serverconf.snapshot import ServerConfView

_PLAIN_REST: Final = "REST"


class Completing:
    """Completes records by one state of the configuration; either part may be unknown."""

    def __init__(
        self,
        own: SecurityServerId,
        globalconf: GlobalConfiguration | None,
        serverconf: ServerConfView | None,
        internal_address: str,
    ) -> None:
        self._globalconf = globalconf
        self._serverconf = serverconf
        self._internal_address = internal_address
        self._own_address = None if globalconf is None else globalconf.address_of(own)

    def complete(self, observation: Observation) -> OperationalRecord:
        """The record as it is stored."""
        record = observation.record
        is_producer = record.security_server_type == PRODUCER
        record.security_server_internal_ip = self._internal_address
        peer = self._peer_address(observation.peer_server)
        record.client_security_server_address = peer if is_producer else self._own_address
        record.service_security_server_address = self._own_address if is_producer else peer
        if record.rest_method is not None:
            record.service_type, record.rest_path = self._service(record, observation.path)
            if not is_producer:
                record.rest_path = None
        clean(record)
        return record

    def _peer_address(self, name: str) -> str | None:
        server = _server_named(name)
        if self._globalconf is None or server is None:
            return None
        return self._globalconf.address_of(server)

    def _service(self, record: OperationalRecord, path: str) -> tuple[str, str | None]:
        """Type of a REST service, and the pattern of the endpoint that was called.

        Of several patterns that fit, the last one by path and then method is told: that is how
        the reference prefers the more exact one.
        """
        provider = self._serverconf and self._serverconf.client(
            client_id(
                record.service_xroad_instance or "",
                record.service_member_class or "",
                record.service_member_code or "",
                record.service_subsystem_code,
            )
        )
        if not provider:
            return _PLAIN_REST, None
        code = record.service_code or ""
        entry = provider.service(code)
        kind = _PLAIN_REST if entry is None else str(entry.type)
        readable = safe_service_path(path) if path else None
        fitting = [
            (endpoint.path, endpoint.method)
            for endpoint in provider.endpoints.get(code, ())
            if isinstance(readable, str) and endpoint.covers(record.rest_method, readable)
        ]
        return kind, max(fitting)[0] if fitting else None


def _server_named(text: str) -> SecurityServerId | None:
    """The server of a report, which has its parts joined as they are; None if that says too little.

    >>> _server_named("EE/GOV/1/ss")
    SecurityServerId(instance='EE', member_class='GOV', member_code='1', server_code='ss')
    """
    parts = text.split("/")
    return SecurityServerId(*parts) if len(parts) == 4 else None
