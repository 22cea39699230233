"""What is asked of the environmental monitoring service, and what does it answer?

Elements of ``http://x-road.eu/xsd/monitoring``. Source: PR-ENVMONMES; reference: monitoring.xsd,
ProxyMonitorServiceHandlerImpl, MetricTypes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from postroad.messages.soap_metadata import with_body
from postroad.wire.xml import escape_text, parse, qualified, text_of

if TYPE_CHECKING:
    from postroad.messages.soap import SoapEnvelope

SYSTEM_METRICS: Final = "getSecurityServerMetrics"
"""The code of the service."""
MONITORING: Final = "http://x-road.eu/xsd/monitoring"
_OUTPUT_FIELD: Final = qualified(MONITORING, "outputField")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Value:
    """One value; written as a number whenever it looks like one, as the reference does."""

    name: str
    value: str | float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a value has been lately."""

    name: str
    updated: str
    """An xs:dateTime."""
    least: float
    largest: float
    mean: float
    median: float
    deviation: float


@dataclass(frozen=True, slots=True)
class MetricSet:
    """Named metrics that belong together."""

    name: str
    metrics: tuple[Metric, ...]


Metric: TypeAlias = Value | Histogram | MetricSet


def asked_metrics(message: SoapEnvelope) -> tuple[str, ...]:
    """The names that the message gives, anywhere in it; all metrics are wanted without any."""
    fields = parse(message.xml).iter(_OUTPUT_FIELD)
    return tuple(dict.fromkeys(text for field in fields if (text := text_of(field))))


def encode_metrics_answer(message: SoapEnvelope, content: str) -> bytes:
    """The response with a metric as ``metric_content`` wrote it, without a request hash."""
    name = f"m:{SYSTEM_METRICS}Response"
    return with_body(message, f'<{name} xmlns:m="{MONITORING}">{content}</{name}>')


def metric_content(metric: Metric) -> str:
    """A metric as XML, with the prefix that ``encode_metrics_answer`` declares."""
    match metric:
        case MetricSet(name, metrics):
            inside = "".join(metric_content(each) for each in metrics)
            return f"<m:metricSet>{_leaf('name', name)}{inside}</m:metricSet>"
        case Histogram():
            return (
                f"<m:histogramMetric>{_leaf('name', metric.name)}{_leaf('updated', metric.updated)}"
                f"{_leaf('min', metric.least)}{_leaf('max', metric.largest)}"
                f"{_leaf('mean', metric.mean)}{_leaf('median', metric.median)}"
                f"{_leaf('stddev', metric.deviation)}</m:histogramMetric>"
            )
        case Value(name, value):
            kind = "numeric" if _NUMBER.fullmatch(str(value)) else "string"
            inside = _leaf("name", name) + _leaf("value", value)
            return f"<m:{kind}Metric>{inside}</m:{kind}Metric>"


def _leaf(name: str, value: float | str) -> str:
    text = f"{value:.6f}" if isinstance(value, float) else _NOT_XML.sub("\ufffd", str(value))
    return f"<m:{name}>{escape_text(text)}</m:{name}>"
