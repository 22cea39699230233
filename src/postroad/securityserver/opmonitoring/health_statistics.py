"""How have our services been doing lately?

Of exchanges in which this server was the provider's: counts, and of those that went well how long
they took and how large they were, over a sliding period. Kept in memory since the start of the
process. Source: PR-OPMON 3; reference: HealthDataMetrics, SlidingTimeWindowReservoir.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError
from postroad.identifiers import ServiceId, client_id
from postroad.messages.soap_monitoring import ServiceHealth, Spread
from postroad.securityserver.opmonitoring.record import PRODUCER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postroad.identifiers import ClientId
    from postroad.securityserver.opmonitoring.record import OperationalRecord

MAX_SERVICES: Final = 2000
"""Services that are remembered: whoever may call may name services that don't exist."""


@dataclass(slots=True)
class _Sum:
    """What a spread is worked out from."""

    count: int = 0
    total: int = 0
    squares: int = 0
    least: int = 0
    largest: int = 0

    def add(self, value: int) -> None:
        self.merge(_Sum(1, value, value * value, value, value))

    def merge(self, other: _Sum) -> None:
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.largest = max(self.largest, other.largest) if self.count else other.largest
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    def spread(self) -> Spread | None:
        if not self.count:
            return None
        above = self.squares * self.count - self.total * self.total
        among = self.count * (self.count - 1)
        deviation = math.sqrt(above / among) if among else 0.0
        return Spread(self.least, self.total / self.count, self.largest, deviation)


@dataclass(slots=True)
class _Second:
    """What happened to one service in one second."""

    at: int
    successes: int = 0
    failures: int = 0
    duration: _Sum = field(default_factory=_Sum)
    request_size: _Sum = field(default_factory=_Sum)
    response_size: _Sum = field(default_factory=_Sum)


@dataclass(slots=True)
class _Service:
    last_success: int | None = None
    last_failure: int | None = None
    service_type: str | None = None
    seconds: deque[_Second] = field(default_factory=deque)


class HealthStatistics:
    """The statistics of one server, since ``started`` (milliseconds); moments are seconds."""

    def __init__(self, *, started: int, period: int) -> None:
        self.started = started
        self.period = period
        self._services: OrderedDict[ServiceId, _Service] = OrderedDict()

    def note(self, record: OperationalRecord, at: int) -> None:
        """Take an exchange in; those of our clients don't count."""
        service_id = _service_of(record)
        if record.security_server_type != PRODUCER or service_id is None:
            return
        service = self._services.setdefault(service_id, _Service())
        self._services.move_to_end(service_id)
        if len(self._services) > MAX_SERVICES:
            self._services.popitem(last=False)
        service.service_type = record.service_type
        self._forget(service, at)
        if not service.seconds or service.seconds[-1].at != at:
            service.seconds.append(_Second(at))
        second = service.seconds[-1]
        if not record.succeeded:
            service.last_failure = record.response_out_ts
            second.failures += 1
            return
        service.last_success = record.response_out_ts
        second.successes += 1
        if record.request_in_ts is not None and record.response_out_ts is not None:
            second.duration.add(record.response_out_ts - record.request_in_ts)
        if record.request_size is not None:
            second.request_size.add(record.request_size)
        if record.response_size is not None:
            second.response_size.add(record.response_size)

    def of_provider(self, provider: ClientId | None, at: int) -> Iterable[ServiceHealth]:
        """The services of a provider, or of all."""
        for service_id, service in self._services.items():
            if provider is None or service_id.client == provider:
                yield self._health(service_id, service, at)

    def _health(self, service_id: ServiceId, service: _Service, at: int) -> ServiceHealth:
        self._forget(service, at)
        period = _Second(at)
        for second in service.seconds:
            period.successes += second.successes
            period.failures += second.failures
            period.duration.merge(second.duration)
            period.request_size.merge(second.request_size)
            period.response_size.merge(second.response_size)
        return ServiceHealth(
            service=service_id,
            last_success=service.last_success,
            last_failure=service.last_failure,
            service_type=service.service_type,
            successes=period.successes,
            failures=period.failures,
            duration=period.duration.spread(),
            request_size=period.request_size.spread(),
            response_size=period.response_size.spread(),
        )

    def _forget(self, service: _Service, at: int) -> None:
        while service.seconds and service.seconds[0].at <= at - self.period:
            service.seconds.popleft()


def _service_of(record: OperationalRecord) -> ServiceId | None:
    """The service that a record names; None if it names none."""
    if record.service_code is None:
        return None
    try:
        provider = client_id(
            record.service_xroad_instance or "",
            record.service_member_class or "",
            record.service_member_code or "",
            record.service_subsystem_code,
        )
        return ServiceId(provider, record.service_code, record.service_version)
    except PostroadError:
        return None
