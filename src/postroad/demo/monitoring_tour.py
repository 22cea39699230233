"""The monitoring that the demo asks for: what the provider's server recorded of our exchanges."""

from __future__ import annotations

import gzip
import json
from functools import partial
from typing import TYPE_CHECKING, Final

from postroad.adapters.system_clock import SystemClock
from postroad.demo.evidence import Exchange
from postroad.demo.layout import PROVIDER
from postroad.demo.processes import wait_until
from postroad.demo.soap_consumer import SoapAnswer, call_soap
from postroad.demo.soap_tour import message_of
from postroad.demo.steps import Shown
from postroad.errors import ConfigurationError
from postroad.messages.soap_metrics import MONITORING, SYSTEM_METRICS
from postroad.messages.soap_monitoring import HEALTH_DATA, OP_MONITORING, OPERATIONAL_DATA
from postroad.wire.xml import parse, qualified, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECENTLY: Final = 600
"""Seconds: longer than the demo's exchanges take."""
_FIELDS: Final = ("messageId", "serviceCode", "succeeded", "requestInTs", "responseOutTs")


def show_monitoring(url: str, exchanges: list[Exchange]) -> Iterator[Shown]:
    """Ask the owner of the provider's server through the Security Server at ``url``.

    Its records must tell of every one of ``exchanges``, to which what is asked here is added.
    """
    yield _list_records(url, exchanges)
    yield _ask_health(url, exchanges)
    yield _ask_metrics(url, exchanges)


def _list_records(url: str, exchanges: list[Exchange]) -> Shown:
    wanted = {exchange.query_id for exchange in exchanges}
    told: list[dict[str, object]] = []
    answers: list[SoapAnswer] = []

    # A request that was refused before its header was read has no identifier: nor has its record.
    def are_told() -> bool:
        answers.append(_ask_records(url))
        told[:] = json.loads(gzip.decompress(answers[-1].attachments[0].data))["records"]
        return wanted <= {each.get("messageId") for each in told}

    wait_until("the operational data of all exchanges", are_told)
    exchanges.append(Exchange(f"SOAP {OPERATIONAL_DATA}", answers[-1].query_id, is_of_owner=True))
    ours = [each for each in told if each.get("messageId") in wanted]
    findings = [f"{len(told)} records of that server's exchanges, all of ours among them:"]
    for each in ours[:5]:
        took = int(str(each["responseOutTs"])) - int(str(each["requestInTs"]))
        outcome = "succeeded" if each["succeeded"] else "failed"
        findings.append(f"{each['serviceCode']} {outcome} in {took} ms, id {each['messageId']}")
    return Shown(f"Operational monitoring: {OPERATIONAL_DATA}", tuple(findings))


def _ask_records(url: str) -> SoapAnswer:
    now = int(SystemClock().now().timestamp())
    fields = "".join(f"<om:outputField>{name}</om:outputField>" for name in _FIELDS)
    return _ask(
        url,
        OPERATIONAL_DATA,
        f"<om:searchCriteria><om:recordsFrom>{now - _RECENTLY}</om:recordsFrom>"
        f"<om:recordsTo>{now}</om:recordsTo></om:searchCriteria>"
        f"<om:outputSpec>{fields}</om:outputSpec>",
    )


def _ask_health(url: str, exchanges: list[Exchange]) -> Shown:
    answer = _ask(url, HEALTH_DATA, "")
    exchanges.append(Exchange(f"SOAP {HEALTH_DATA}", answer.query_id, is_of_owner=True))
    name = partial(qualified, OP_MONITORING)
    findings = []
    for events in parse(answer.document.xml).iter(name("serviceEvents")):
        code = events.find(f"{name('service')}/{{*}}serviceCode")
        counts = [
            events.findtext(f"{name('lastPeriodStatistics')}/{name(each)}")
            for each in ("successfulRequestCount", "unsuccessfulRequestCount")
        ]
        told = "?" if code is None else text_of(code)
        findings.append(f"{told}: {counts[0]} successful, {counts[1]} unsuccessful")
    if not any(finding.startswith("population: ") for finding in findings):
        raise ConfigurationError("the health data doesn't tell of the service that was called")
    return Shown(f"Health of the services: {HEALTH_DATA}", tuple(findings))


def _ask_metrics(url: str, exchanges: list[Exchange]) -> Shown:
    answer = _ask(url, SYSTEM_METRICS, "", namespace=MONITORING)
    exchanges.append(Exchange(f"SOAP {SYSTEM_METRICS}", answer.query_id, is_of_owner=True))
    name = partial(qualified, MONITORING)
    values = {
        metric.findtext(name("name")): metric.findtext(name("value"))
        for metric in parse(answer.document.xml).iter(name("stringMetric"), name("numericMetric"))
    }
    wanted = ("proxyVersion", "OperatingSystem", "TotalPhysicalMemory")
    if not all(values.get(each) for each in wanted):
        raise ConfigurationError(f"the metrics lack one of {', '.join(wanted)}")
    findings = [f"{len(values)} single values, among them:"]
    findings += [f"{each}: {values[each]}" for each in wanted]
    return Shown(f"The provider's machine: {SYSTEM_METRICS}", tuple(findings))


def _ask(url: str, code: str, content: str, *, namespace: str = OP_MONITORING) -> SoapAnswer:
    element = f'<om:{code} xmlns:om="{namespace}">{content}</om:{code}>'
    answer = call_soap(url, code, element, provider=PROVIDER.owner)
    message_of(answer)
    return answer
