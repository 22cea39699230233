"""What has been measured of this machine lately, and how is it told?

Names and kinds of the metrics are the protocol's. Values of "the proxy" are those of all proxy
workers together. Source: PR-ENVMONMES, ARC-ENVMON; reference: SystemMetricsSensor, DiskSpaceSensor,
ExecListingSensor, CertificateInfoSensor, MetricsRpcService.
"""

from __future__ import annotations

import math
import os
import statistics
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.adapters import machine
from postroad.messages.soap_metrics import Histogram, MetricSet, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from postroad.crypto.certificates import Certificate
    from postroad.messages.soap_metrics import Metric
    from postroad.securityserver.opmonitoring.protocol import WorkerState

SAMPLE_INTERVAL: Final = 5.0
WINDOW: Final = 12
"""Samples that a histogram is made of: those of a minute (reference: 60 s)."""
ROOT: Final = "/"
_CERTIFICATES: Final = "Certificates"
_OPERATING_SYSTEM: Final = "OperatingSystem"
LIMITED: Final = frozenset({_CERTIFICATES, _OPERATING_SYSTEM})
"""All that others get where the owner limits it (env-monitor.limit-remote-data-set)."""
_HISTOGRAMS: Final = (
    "CommittedVirtualMemory",
    "FreePhysicalMemory",
    "FreeSwapSpace",
    "OpenFileDescriptorCount",
    "SystemCpuLoad",
)


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """A certificate of this server or of an information system."""

    certificate: Certificate
    kind: str
    """``AUTH_OR_SIGN``, ``SECURITY_SERVER_TLS`` or ``INTERNAL_IS_CLIENT_TLS``."""
    active: bool


@dataclass(slots=True)
class Sensors:
    """The measurements of one server and its proxy workers."""

    workers: Callable[[], Iterable[WorkerState]]
    _samples: dict[str, deque[float]] = field(
        default_factory=lambda: {name: deque(maxlen=WINDOW) for name in _HISTOGRAMS}
    )
    _busy: tuple[int, int] = (0, 0)

    def sample(self) -> None:
        """Measure once what changes all the time (blocking, short)."""
        memory = machine.memory()
        workers = list(self.workers())
        uses = [machine.process_use(worker.process) for worker in workers]
        busy = machine.processor_times()
        passed = busy[1] - self._busy[1]
        if self._busy[1] and passed > 0:
            self._samples["SystemCpuLoad"].append(100 * (busy[0] - self._busy[0]) // passed)
        self._busy = busy
        self._samples["FreePhysicalMemory"].append(memory.free)
        self._samples["FreeSwapSpace"].append(memory.swap_free)
        self._samples["OpenFileDescriptorCount"].append(sum(worker.files for worker in workers))
        self._samples["CommittedVirtualMemory"].append(
            sum(use.virtual for use in uses if use is not None)
        )

    def metrics(
        self,
        wanted: Iterable[str],
        certificates: Iterable[CertificateInfo],
        at: datetime,
        *,
        limited: bool,
    ) -> MetricSet:
        """The metrics of those names, or all of them (blocking); ``limited`` leaves out most."""
        known: Mapping[str, Callable[[], Metric | None]] = {
            _CERTIFICATES: lambda: _certificates(certificates),
            f"DiskSpaceFree_{ROOT}": lambda: _disk_space("Free", 1),
            f"DiskSpaceTotal_{ROOT}": lambda: _disk_space("Total", 0),
            "MaxFileDescriptorCount": lambda: Value("MaxFileDescriptorCount", machine.most_files()),
            _OPERATING_SYSTEM: lambda: Value(_OPERATING_SYSTEM, machine.operating_system()),
            "TotalPhysicalMemory": lambda: Value("TotalPhysicalMemory", machine.memory().total),
            "TotalSwapSpace": lambda: Value("TotalSwapSpace", machine.memory().swap_total),
            **{name: partial(self._histogram, name, at) for name in _HISTOGRAMS},
            "Processes": lambda: _processes("Processes", machine.processes(at.timestamp())),
            "Xroad Processes": lambda: _own_processes(at),
            "Packages": _packages,
        }
        names = frozenset(wanted) or frozenset(known)
        allowed = names & LIMITED if limited else names
        found = [make() for name, make in known.items() if name in allowed]
        return MetricSet("systemMetrics", tuple(metric for metric in found if metric is not None))

    def _histogram(self, name: str, at: datetime) -> Histogram | None:
        values = list(self._samples[name])
        if not values:
            return None
        mean = statistics.fmean(values)
        among = len(values) - 1
        deviation = (
            math.sqrt(sum((value - mean) ** 2 for value in values) / among) if among else 0.0
        )
        return Histogram(
            name,
            at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            float(min(values)),
            float(max(values)),
            mean,
            float(statistics.median(values)),
            deviation,
        )


def _disk_space(what: str, place: int) -> Value:
    return Value(f"DiskSpace{what}_{ROOT}", machine.disk_space(Path(ROOT))[place])


def _certificates(found: Iterable[CertificateInfo]) -> MetricSet:
    sets = {}
    for info in found:
        certificate = info.certificate
        # The reference's name for it is older than its hash.
        digest = certificate.sha256.hex(":").upper()
        sets[digest, info.kind] = MetricSet(
            f"certificate-{digest}",
            (
                Value("sha1Hash", digest),
                Value("notBefore", _instant(certificate.not_before)),
                Value("notAfter", _instant(certificate.not_after)),
                Value("certificateType", info.kind),
                Value("active", "true" if info.active else "false"),
            ),
        )
    return MetricSet(_CERTIFICATES, tuple(sets.values()))


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _own_processes(at: datetime) -> MetricSet:
    """Ours are the supervisor's: it is the parent of this process."""
    listed = machine.processes(at.timestamp(), whole_command=True)
    return _processes("Xroad Processes", machine.family(os.getppid(), listed))


def _processes(name: str, found: Iterable[machine.ProcessLine]) -> MetricSet:
    return MetricSet(
        name,
        tuple(
            MetricSet(
                str(line.pid),
                (
                    Value("processId", line.pid),
                    Value("command", line.command),
                    Value("cpuLoad", str(line.processor)),
                    Value("memUsed", str(line.memory)),
                    Value("startTime", line.started),
                    Value("userId", line.user),
                ),
            )
            for line in found
        ),
    )


def _packages() -> MetricSet:
    """The packages that this program is made of: the machine's others aren't ours to tell."""
    versions = {each.metadata["Name"]: each.version for each in distributions()}
    return MetricSet("Packages", tuple(Value(*each) for each in sorted(versions.items())))
