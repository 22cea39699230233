"""Who may ask how this machine is doing, and what do they get?

The owner, and the monitoring client of the global configuration; the owner may limit what the other
gets. Source: PR-ENVMONMES; reference: ProxyMonitorServiceHandlerImpl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.errors import FaultCode, RefusedRequest
from postroad.messages.soap_metrics import (
    SYSTEM_METRICS,
    MetricSet,
    Value,
    asked_metrics,
    encode_metrics_answer,
    metric_content,
)
from postroad.securityserver.builtin_services import BuiltinSoapAnswer
from postroad.securityserver.opmonitoring.protocol import MetricsArgument
from postroad.securityserver.transport import PROXY_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from postroad.securityserver.builtin_services import SoapService
    from postroad.securityserver.provider_exchange import Call
    from postroad.securityserver.soap_message import SoapRequest


class EnvironmentalMonitoring:
    """The SOAP service; ``measure`` asks the process that measures for XML of system metrics."""

    def __init__(
        self, measure: Callable[[MetricsArgument], Awaitable[str]], *, limit_others: bool
    ) -> None:
        self._measure = measure
        self._limit_others = limit_others

    @property
    def services(self) -> Mapping[str, SoapService]:
        """The service by its code; the server's owner is who offers it."""
        return {SYSTEM_METRICS: self.system_metrics}

    async def system_metrics(self, call: Call, message: SoapRequest) -> BuiltinSoapAnswer:
        """The version and, as far as they are wanted and allowed, all metrics."""
        server = call.snapshot.serverconf.server_id
        is_owner = message.client == server.owner
        if message.service.service_version is not None:
            raise RefusedRequest(
                f"unknown service: {message.service}", code=FaultCode.UNKNOWN_SERVICE
            )
        if not is_owner and message.client != call.snapshot.globalconf.monitoring_client:
            raise RefusedRequest(
                f"request is not allowed: {message.service}", code=FaultCode.ACCESS_DENIED
            )
        system = await self._measure(
            MetricsArgument(
                asked_metrics(message.envelope), limited=self._limit_others and not is_owner
            )
        )
        root = metric_content(
            MetricSet(f"SERVER:{server}", (Value("proxyVersion", PROXY_VERSION),))
        )
        end = "</m:metricSet>"
        content = f"{root.removesuffix(end)}{system}{end}"
        return BuiltinSoapAnswer(xml=encode_metrics_answer(message.envelope, content))
