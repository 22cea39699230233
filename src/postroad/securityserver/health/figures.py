"""Which figures does a Prometheus server get of this Security Server?

Exchanges are counted as their observations arrive from the workers; everything else is looked up
when somebody asks. Labels take few values, whoever sends us what: no identifiers of parties, no
fault codes that we don't know, no addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from postroad.adapters import machine
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import OcspResponse
from postroad.errors import FaultCode, PostroadError
from postroad.fault_table import to_snake
from postroad.securityserver.opmonitoring.record import PRODUCER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from postroad.adapters.log_protocol import LogStatus
    from postroad.ports import KeyCertificate
    from postroad.securityserver.opmonitoring.protocol import WorkerState
    from postroad.securityserver.opmonitoring.record import Observation

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SERVICE_ERROR: Final = "service_error"
"""In place of a fault: a service answered with an error status of its own."""
OTHER: Final = "other"
_KNOWN: Final = frozenset(segment for code in FaultCode for segment in code.value.split("."))


class Figures:
    """All figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._exchanges = Counter(
            "postroad_exchanges",
            "Exchanges that have ended, by our side, outcome and kind of fault",
            ("side", "outcome", "fault"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "postroad_exchange_seconds",
            "How long exchanges took, from request to answer",
            ("side",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._gauges: dict[str, Gauge] = {}

    def count(self, observations: Iterable[Observation]) -> None:
        """Take in exchanges that have ended."""
        for observation in observations:
            record = observation.record
            side = "server" if record.security_server_type == PRODUCER else "client"
            outcome = "success" if record.succeeded else "failure"
            fault = "" if record.succeeded else fault_class(record.fault_code)
            self._exchanges.labels(side, outcome, fault).inc()
            self._seconds.labels(side).observe(observation.seconds)

    def note_workers(self, workers: Sequence[WorkerState]) -> None:
        """What the proxy workers say of themselves."""
        for name, text, values in (
            (
                "connections",
                "Open connections of information systems and peers",
                {str(worker.index): worker.connections for worker in workers},
            ),
            (
                "waiting_signatures",
                "Messages that wait for the signer",
                {str(worker.index): worker.waiting_signatures for worker in workers},
            ),
            (
                "dropped_observations",
                "Monitoring records dropped since the worker's start",
                {str(worker.index): worker.dropped for worker in workers},
            ),
        ):
            self._set(f"postroad_worker_{name}", text, "worker", values)

    def note_processes(self, processes: Mapping[str, int]) -> None:
        """Memory of our processes, by their names."""
        uses = {name: machine.process_use(pid) for name, pid in processes.items()}
        values = {name: use.resident for name, use in uses.items() if use is not None}
        self._set("postroad_process_resident_bytes", "Memory in use", "process", values)

    def note_log(self, status: LogStatus | None, at: datetime) -> None:
        """How the message log is doing; None if it doesn't say."""
        self._set("postroad_log_up", "Whether the log writer answers", "", int(status is not None))
        if status is None:
            return
        oldest = status.oldest_pending
        age = 0.0 if oldest is None else max((at - oldest).total_seconds(), 0.0)
        for name, text, value in (
            ("queued_records", "Records that wait for a commit", status.queued),
            ("written_records", "Records stored since the log writer's start", status.written),
            ("commits", "Commits that stored them: more records each under load", status.commits),
            ("journal_bytes", "Size of the database's write-ahead log", status.log_bytes),
            ("refusing", "Whether no message can be logged now", int(bool(status.refusing))),
            ("unstamped_seconds", "Age of the oldest record without a time-stamp", age),
        ):
            self._set(f"postroad_log_{name}", text, "", value)

    def note_certificates(
        self, keys: Sequence[KeyCertificate], responses: Mapping[bytes, bytes], at: datetime
    ) -> None:
        """Ends of our certificates and ages of their OCSP responses, by usage and hash."""
        ends: dict[str, float] = {}
        ages: dict[str, float] = {}
        for key in keys:
            if not key.active:
                continue
            certificate = Certificate.from_der(key.der)
            label = f"{key.usage.lower()}-{certificate.sha256.hex()[:16]}"
            ends[label] = certificate.not_after.timestamp()
            try:
                response = OcspResponse.parse(responses[certificate.sha1])
            except (KeyError, PostroadError):
                continue
            ages[label] = max((at - response.this_update).total_seconds(), 0.0)
        text = "When certificates in use end, in seconds since 1970"
        self._set("postroad_certificate_expiry_timestamp_seconds", text, "certificate", ends)
        text = "Age of the OCSP responses of certificates in use"
        self._set("postroad_ocsp_age_seconds", text, "certificate", ages)

    def note_configuration(self, expires_at: datetime | None) -> None:
        """When the global configuration ends; 0 if there is none that is valid now."""
        value = 0.0 if expires_at is None else expires_at.timestamp()
        text = "When the global configuration ends, in seconds since 1970; 0 if it isn't valid"
        self._set("postroad_globalconf_expiry_timestamp_seconds", text, "", value)

    def note_health(self, *, healthy: bool) -> None:
        """The verdict of the health check."""
        self._set("postroad_healthy", "Whether messages can be exchanged", "", int(healthy))

    def text(self) -> bytes:
        """All figures in the format of Prometheus."""
        return generate_latest(self._registry)

    def _set(self, name: str, text: str, label: str, value: float | Mapping[str, float]) -> None:
        """Set a gauge, and with a label all of its values: what isn't there now goes."""
        gauge = self._gauges.get(name)
        if gauge is None:
            labels = (label,) if label else ()
            gauge = self._gauges[name] = Gauge(name, text, labels, registry=self._registry)
        if isinstance(value, (int, float)):
            gauge.set(value)
            return
        gauge.clear()
        for each, number in value.items():
            gauge.labels(each).set(number)


def fault_class(code: str | None) -> str:
    """The last segment of a fault code if we know it, in the newer spelling.

    >>> fault_class("Server.ServerProxy.AccessDenied")
    'access_denied'
    >>> fault_class("anything.a.service.says")
    'other'
    """
    if code is None:
        return SERVICE_ERROR
    last = to_snake(code[:255]).rpartition(".")[2]
    return last if last in _KNOWN else OTHER
