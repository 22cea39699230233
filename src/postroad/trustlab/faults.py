"""In which ways does the lab misbehave on purpose?

A fault plan says for each service whether it's stopped, slow, lies about the time, answers
nonsense or for somebody else, or (OCSP) says the same status of every certificate. Plans are JSON,
in a file of the lab's home and at ``/lab/faults``::

    {"ocsp": {"time_shift": -7200, "status": "unknown"}, "tsa": {"stopped": true}}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from typing import Final

from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import FaultCode, MalformedInput

SERVICES: Final = ("ca", "ocsp", "tsa", "acme")
MAX_DELAY: Final = 600.0
MAX_SHIFT: Final = 10 * 365 * 86_400
_MAX_PLAN_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFaults:
    """How one service misbehaves; as made, not at all."""

    stopped: bool = False
    """Answers 503 at once."""
    delay: float = 0.0
    """Seconds to wait before each answer."""
    time_shift: int = 0
    """Seconds added to the moment in the answer; negative lies about the past."""
    foreign: bool = False
    """OCSP answers about another certificate than asked; stamps are signed by one that nobody has
    approved for it."""
    broken: bool = False
    """Answers bytes that aren't a response."""
    status: str | None = None
    """What OCSP says of every certificate: ``good``, ``revoked`` or ``unknown``."""

    @property
    def shift(self) -> timedelta:
        """The time shift as a duration."""
        return timedelta(seconds=self.time_shift)

    @property
    def forced_status(self) -> CertificateStatus | None:
        """The status to say of every certificate, if one is forced."""
        return None if self.status is None else CertificateStatus(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """How the whole lab misbehaves."""

    ca: ServiceFaults = field(default_factory=ServiceFaults)
    ocsp: ServiceFaults = field(default_factory=ServiceFaults)
    tsa: ServiceFaults = field(default_factory=ServiceFaults)
    acme: ServiceFaults = field(default_factory=ServiceFaults)

    def encode(self) -> bytes:
        """Write the plan as JSON."""
        return json.dumps(asdict(self), indent=2).encode()

    def updated(self, data: bytes) -> FaultPlan:
        """Read JSON that replaces the plans of the services it names.

        Raises ``MalformedInput`` for unknown services or faults and for values out of range.
        """
        if len(data) > _MAX_PLAN_BYTES:
            raise _malformed("it is too long")
        try:
            plan = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _malformed(f"it is not JSON: {error}") from error
        if not isinstance(plan, dict):
            raise _malformed("it is not an object")
        changed = {}
        for service, faults in plan.items():
            if service not in SERVICES:
                raise _malformed(f"there is no service {service!r}")
            changed[service] = _service_faults(service, faults)
        return replace(self, **changed)

    @classmethod
    def parse(cls, data: bytes) -> FaultPlan:
        """Read a whole plan; services not named behave."""
        return cls().updated(data)


def _service_faults(service: str, faults: object) -> ServiceFaults:
    if not isinstance(faults, dict):
        raise _malformed(f"{service} is not an object")
    unknown = set(faults) - {known.name for known in fields(ServiceFaults)}
    if unknown:
        raise _malformed(f"there is no fault {', '.join(sorted(map(str, unknown)))}")
    read = ServiceFaults(**faults)
    checks = (
        (isinstance(read.stopped, bool), "stopped is true or false"),
        (isinstance(read.broken, bool), "broken is true or false"),
        (isinstance(read.foreign, bool), "foreign is true or false"),
        (_is_number(read.delay) and 0 <= read.delay <= MAX_DELAY, f"delay is 0..{MAX_DELAY} s"),
        (
            type(read.time_shift) is int and abs(read.time_shift) <= MAX_SHIFT,
            "time_shift is whole seconds within ten years",
        ),
        (
            read.status is None
            or (
                service == "ocsp" and read.status in [status.value for status in CertificateStatus]
            ),
            "status is good, revoked or unknown, of ocsp only",
        ),
    )
    for holds, rule in checks:
        if not holds:
            raise _malformed(f"{service}: {rule}")
    return read


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _malformed(reason: str) -> MalformedInput:
    return MalformedInput(f"not a fault plan: {reason}", code=FaultCode.INVALID_REQUEST)
