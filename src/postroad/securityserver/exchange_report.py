"""What does one exchange leave in the access log: one canonical line, whatever happened."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from postroad.securityserver.exchange_facts import ExchangeFacts
from postroad.securityserver.exchange_trace import NO_TRACE, ExchangeTrace


@dataclass(slots=True, kw_only=True)
class ExchangeReport:
    """The facts of one exchange, filled in as they become known; never bodies or secrets."""

    side: str
    """``client`` or ``server``: the part that this server played."""
    remote: str = ""
    """IP address of the caller."""
    method: str = ""
    client: str = ""
    service: str = ""
    query_id: str = ""
    request_id: str = ""
    peer_server: str = ""
    """The other security server, by its authentication certificate."""
    request_bytes: int = 0
    response_bytes: int = 0
    service_status: int = 0
    """HTTP status of the service's answer; 0 if there was none."""
    status: int = 0
    """HTTP status of our answer."""
    fault: str = ""
    message: str = ""
    detail_id: str = ""
    """The identifier that the caller was told with a fault."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    unexpected: str = ""
    """The kind of an error that nobody foresaw: a defect of ours."""
    facts: ExchangeFacts = field(default_factory=ExchangeFacts)
    """For operational monitoring; not logged."""
    trace_id: str = ""
    """Of the trace that tells more, if there is one."""
    trace: ExchangeTrace = NO_TRACE
    """Where moments are noted; not logged."""

    def line(self) -> dict[str, object]:
        """The fields worth logging: those that say something."""
        found: dict[str, object] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if value:
                found[name] = value
        return found


_UNLOGGED = frozenset({"facts", "trace"})
_NAMES = tuple(field.name for field in fields(ExchangeReport) if field.name not in _UNLOGGED)
