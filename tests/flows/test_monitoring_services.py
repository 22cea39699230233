"""Monitoring services through two servers, with a real database behind them: who sees what."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from postroad.adapters.ipc import IpcClient
from postroad.globalconf.extensions import Monitoring
from postroad.globalconf.view import GlobalConfiguration
from postroad.identifiers import ClientId, SubsystemId
from postroad.messages.soap_metrics import MONITORING, SYSTEM_METRICS
from postroad.messages.soap_monitoring import OP_MONITORING
from postroad.securityserver.builtin_services import BuiltinServices
from postroad.securityserver.environment.answering import EnvironmentalMonitoring
from postroad.securityserver.environment.service import EnvironmentService
from postroad.securityserver.globalconf_files import CurrentConfiguration
from postroad.securityserver.opmonitoring import protocol
from postroad.securityserver.opmonitoring.answering import OperationalMonitoring
from postroad.securityserver.opmonitoring.observing import observe
from postroad.securityserver.opmonitoring.service import MonitoringService, WorkerStates
from postroad.wire.xml import parse
from support.exchange import CLIENT, NOW, PROVIDER, REGISTER, World
from support.soap_exchange import call, fault_of, identifier
from support.soap_messages import VERSION, body, envelope, header

if TYPE_CHECKING:
    from postroad.adapters.http_client import FetchedResponse

SCHEMAS = Path(__file__).parents[1] / "data" / "reference" / "monitoring"
NOW_S = int(NOW.timestamp())
OTHER = SubsystemId("TEST", "COM", "1", "other")
SERVER = (
    '<x:securityServer i:objectType="SERVER"><i:xRoadInstance>TEST</i:xRoadInstance>'
    "<i:memberClass>GOV</i:memberClass><i:memberCode>2</i:memberCode>"
    "<i:serverCode>SS2</i:serverCode></x:securityServer>"
)


@dataclass
class Stand:
    """The provider's server with its monitoring; ``move`` turns the clock on both."""

    world: World
    service: MonitoringService
    environment: EnvironmentService
    ipc: IpcClient

    async def store(self) -> None:
        """Store what the provider's exchanges have left so far."""
        observations = [observe(report, self.world.clock.at) for report in self.provider_reports()]
        worker = protocol.WorkerState(0, 1)
        await self.ipc.call(
            protocol.STORE, protocol.StoreArgument(worker, observations), type(None)
        )

    def provider_reports(self) -> list:  # reports
        taken, self.world.provider.reports[:] = list(self.world.provider.reports), []
        return taken

    def let_pass(self, seconds: int) -> None:
        from datetime import timedelta

        self.world.clock.at += timedelta(seconds=seconds)

    async def ask(
        self,
        content: str,
        *,
        client: ClientId = CLIENT,
        code: str = "getSecurityServerOperationalData",
        named: bool = False,
        provider: ClientId = PROVIDER,
    ) -> FetchedResponse:
        kind = "SUBSYSTEM" if isinstance(client, SubsystemId) else "MEMBER"
        provider_code = f"<i:serviceCode>{code}</i:serviceCode>"
        fields = (
            identifier("client", kind, client)
            + identifier("service", "SERVICE", provider, provider_code)
            + (SERVER if named else "")
            + "<x:id>m-1</x:id>"
            + VERSION
        )
        namespace = MONITORING if code == SYSTEM_METRICS else OP_MONITORING
        element = f'<m:{code} xmlns:m="{namespace}">{content}</m:{code}>'
        return await call(self.world, envelope(header(fields), body(element)))


def between(start: int, end: int, extra: str = "", spec: str = "") -> str:
    criteria = f"<m:recordsFrom>{start}</m:recordsFrom><m:recordsTo>{end}</m:recordsTo>{extra}"
    return f"<m:searchCriteria>{criteria}</m:searchCriteria>{spec}"


def fields_wanted(*names: str) -> str:
    wanted = "".join(f"<m:outputField>{name}</m:outputField>" for name in names)
    return f"<m:outputSpec>{wanted}</m:outputSpec>"


def records_of(answer: FetchedResponse) -> list[dict[str, object]]:
    """Cut as the collectors in use cut it: by bytes."""
    _, separator, rest = answer.body.partition(
        b"content-id: <operational-monitoring-data.json.gz>\r\n\r\n"
    )
    assert separator, answer.body
    packed, separator, _ = rest.partition(b"\r\n--xroad")
    assert separator
    found: dict[str, list[dict[str, object]]] = json.loads(gzip.decompress(packed))
    assert list(found) == ["records"]
    return found["records"]


def told(answer: FetchedResponse, name: str) -> str | None:
    start = answer.body.index(b"<", answer.body.index(b"\r\n\r\n"))
    root = parse(answer.body[start : answer.body.index(b"Envelope>", start) + 9])
    element = root.find(f".//{{{OP_MONITORING}}}{name}")
    return None if element is None else element.text


def assert_valid(answer: FetchedResponse, schema: str = "op-monitoring.xsd") -> None:
    """The element in the body is one of the reference's schema."""
    text = answer.body[answer.body.index(b"<") :]
    end = text.index(b"Envelope>") + 9
    body_element = parse(text[:end]).find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
    assert body_element is not None
    etree.XMLSchema(etree.parse(SCHEMAS / schema)).assertValid(body_element[0])


class KnownConfiguration(CurrentConfiguration):
    """The world's configuration, which no file holds."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def get(self) -> GlobalConfiguration:
        return self._world.globalconf


Story = Callable[[Stand], Awaitable[None]]


def within(
    tmp_path: Path,
    story: Story,
    *,
    monitoring_client: ClientId | None = None,
    section: Mapping[str, object] | None = None,
) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.configure(consumer_clients=(CLIENT, OTHER, PROVIDER))
        own = replace(world.globalconf.own, monitoring=Monitoring(monitoring_client))
        world.globalconf = GlobalConfiguration("TEST", [own])
        from msgspec.structs import replace as changed

        settings = world.provider.settings
        settings = changed(settings, monitoring=changed(settings.monitoring, **(section or {})))
        workers = WorkerStates()
        environment = EnvironmentService(
            settings, world.provider.signer.certificates, workers, world.clock
        )
        service = MonitoringService(
            settings,
            KnownConfiguration(world),
            world.clock,
            workers,
            {protocol.METRICS: environment.answer},
        )
        await service.start()
        ipc = IpcClient(settings.monitoring_socket, what="monitoring")

        async def query(question: protocol.QueryArgument) -> protocol.QueryResult:
            return await ipc.call(protocol.QUERY, question, protocol.QueryResult)

        async def health(provider: tuple[str, ...]) -> str:
            return await ipc.call(protocol.HEALTH, provider, str)

        async def measure(wanted: protocol.MetricsArgument) -> str:
            return await ipc.call(protocol.METRICS, wanted, str)

        operational = OperationalMonitoring(query, health, world.clock, offset=60)
        environmental = EnvironmentalMonitoring(
            measure, limit_others=settings.monitoring.limit_remote_data_set
        )
        world.provider.builtin = BuiltinServices(
            owner_soap={**operational.services, **environmental.services}
        )
        try:
            async with asyncio.timeout(60), world:
                for client in (CLIENT, OTHER, PROVIDER):
                    world.consumer.put_client(client)
                world.provider.put_client(PROVIDER)
                # The owner of the provider's server calls from another one.
                world.consumer.signer.keys["owner"] = world.provider.sign
                world.consumer.signer.listed.append(world.provider.listed_key(key_id="owner"))
                world.consumer.ocsp.responses = {
                    **world.provider.ocsp.responses,
                    **world.consumer.ocsp.responses,
                }
                await story(Stand(world, service, environment, ipc))
                assert world.provider.unexpected == []
        finally:
            ipc.close()
            await service.stop()

    asyncio.run(run())


def test_clients_get_the_exchanges_they_took_part_in(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        world = stand.world
        await world.call(headers=(("X-Road-Id", "ours"),))
        await world.call(headers=(("X-Road-Id", "refused"),), client=OTHER)
        await stand.store()
        stand.let_pass(61)
        answer = await stand.ask(between(NOW_S, NOW_S))
        records = records_of(answer)
        assert [record["messageId"] for record in records] == ["ours"]
        assert_valid(answer)
        assert told(answer, "recordsCount") == "1"
        assert told(answer, "records") == "cid:operational-monitoring-data.json.gz"
        assert told(answer, "nextRecordsFrom") is None
        record = records[0]
        assert "securityServerInternalIp" not in record
        assert record["monitoringDataTs"] == NOW_S
        assert record["succeeded"] is True
        assert record["securityServerType"] == "Producer"
        assert None not in record.values()
        assert [
            r["messageId"] for r in records_of(await stand.ask(between(0, NOW_S), client=OTHER))
        ] == ["refused"]

    within(tmp_path, story)


def test_the_owner_sees_everything_if_it_names_the_server(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call()
        await stand.store()
        stand.let_pass(61)
        question = between(0, NOW_S)
        everything = records_of(await stand.ask(question, client=PROVIDER, named=True))
        assert len(everything) == 1
        assert "securityServerInternalIp" in everything[0]
        assert records_of(await stand.ask(question, client=PROVIDER)) == []

    within(tmp_path, story)


def test_the_monitoring_client_sees_everything_and_its_member_does_not(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call()
        await stand.store()
        stand.let_pass(61)
        question = between(0, NOW_S)
        assert len(records_of(await stand.ask(question, client=OTHER))) == 1
        assert records_of(await stand.ask(question, client=PROVIDER)) == []

    within(tmp_path, story, monitoring_client=OTHER)


def test_only_the_wanted_fields_are_told(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call(headers=(("X-Road-Id", "q"),))
        await stand.store()
        stand.let_pass(61)
        question = between(0, NOW_S, spec=fields_wanted("messageId", "succeeded", "faultCode"))
        assert records_of(await stand.ask(question)) == [{"messageId": "q", "succeeded": True}]
        question = between(0, NOW_S, spec=fields_wanted("securityServerInternalIp"))
        assert records_of(await stand.ask(question)) == [{}]
        question = between(0, NOW_S, spec=fields_wanted("monitoringDataTs", "monitoringDataTs"))
        assert records_of(await stand.ask(question)) == [{"monitoringDataTs": NOW_S}]

    within(tmp_path, story)


def test_records_can_be_filtered_by_their_provider(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call()
        await stand.store()
        stand.let_pass(61)

        def of(provider: ClientId) -> str:
            named = identifier("client", "SUBSYSTEM", provider)
            return between(
                0, NOW_S, named.replace("<x:client", "<m:client").replace("</x:", "</m:")
            )

        assert len(records_of(await stand.ask(of(REGISTER)))) == 1
        assert records_of(await stand.ask(of(OTHER))) == []

    within(tmp_path, story)


def test_what_is_too_new_is_told_later(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call()
        await stand.store()
        stand.let_pass(60)
        answer = await stand.ask(between(0, NOW_S + 1000))
        assert records_of(answer) == []
        assert told(answer, "nextRecordsFrom") == str(NOW_S)
        stand.let_pass(1)
        answer = await stand.ask(between(NOW_S, NOW_S + 1000))
        assert len(records_of(answer)) == 1
        assert told(answer, "nextRecordsFrom") == str(NOW_S + 1)

    within(tmp_path, story)


def test_a_long_answer_is_continued(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        for _ in range(2):
            await stand.world.call()
            await stand.world.call()
            await stand.store()
            stand.let_pass(1)
        stand.let_pass(200)
        answer = await stand.ask(between(0, NOW_S + 50))
        assert len(records_of(answer)) == 2
        assert told(answer, "nextRecordsFrom") == str(NOW_S + 1)
        answer = await stand.ask(between(NOW_S + 1, NOW_S + 50))
        assert len(records_of(answer)) == 2
        assert told(answer, "nextRecordsFrom") is None

    within(tmp_path, story, section={"max_records_in_payload": 1})


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (between(-1, 5), "Records from timestamp is a negative number"),
        (between(0, -5), "Records to timestamp is a negative number"),
        (between(5, 4), "Records to timestamp is earlier than records from timestamp"),
        (
            between(0, 5, spec=fields_wanted("id")),
            "Unknown output field in search criteria: id",
        ),
        (
            between(0, 5, spec=fields_wanted("messageId FROM operational_data --")),
            "Unknown output field in search criteria: messageId FROM operational_data --",
        ),
        (between(0, 5).replace("recordsTo", "other"), "recordsTo is missing"),
        (between(0, 5).replace(">5<", ">5 1<"), "recordsTo is not a number of seconds"),
        (between(0, 5).replace(">5<", ">99999999999999999999<"), "recordsTo is not a number"),
        ("", "searchCriteria is missing"),
        (between(0, 5, "<m:client/>"), "client: instance is empty"),
    ],
)
def test_a_bad_question_is_the_fault_of_who_asks(tmp_path: Path, question: str, why: str) -> None:
    async def story(stand: Stand) -> None:
        fault = fault_of(await stand.ask(question))
        assert fault.code == "client.invalid_request"
        assert fault.string.startswith(why)

    within(tmp_path, story)


def test_what_is_not_available_yet_is_not_asked_for(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        fault = fault_of(await stand.ask(between(NOW_S - 60, NOW_S)))
        assert fault.code == "client.invalid_request"
        assert fault.string == f"Records not available from {NOW_S - 60} yet"
        assert records_of(await stand.ask(between(NOW_S - 61, NOW_S))) == []

    within(tmp_path, story)


def test_other_providers_do_not_answer_for_the_server(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        fault = fault_of(await stand.ask(between(0, 5), provider=REGISTER))
        assert fault.code == "server.serverproxy.unknown_service"

    within(tmp_path, story)


def test_health_data_tell_how_services_have_been_doing(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call()
        await stand.world.call()
        await stand.world.call(client=OTHER)
        await stand.store()
        answer = await stand.ask("", code="getSecurityServerHealthData", client=OTHER)
        root = parse(answer.body)

        def all_of(name: str) -> list[str | None]:
            return [element.text for element in root.iter(f"{{{OP_MONITORING}}}{name}")]

        assert_valid(answer)
        assert all_of("monitoringStartupTimestamp") == [str(NOW_S * 1000)]
        assert all_of("statisticsPeriodSeconds") == ["600"]
        assert all_of("successfulRequestCount") == ["2"]
        assert all_of("unsuccessfulRequestCount") == ["1"]
        assert all_of("serviceType") == ["REST"]
        assert all_of("lastSuccessfulRequestTimestamp") == [str(NOW_S * 1000)]
        assert len(all_of("requestMinDuration")) == 1
        assert all_of("responseMaxSize")
        stand.let_pass(600)
        answer = await stand.ask("", code="getSecurityServerHealthData")
        root = parse(answer.body)
        assert all_of("successfulRequestCount") == ["0"]
        assert all_of("requestMinDuration") == []
        assert all_of("lastSuccessfulRequestTimestamp") == [str(NOW_S * 1000)]
        nobody = identifier("client", "SUBSYSTEM", OTHER).replace("<x:client", "<m:client")
        criteria = f"<m:filterCriteria>{nobody.replace('</x:', '</m:')}</m:filterCriteria>"
        answer = await stand.ask(criteria, code="getSecurityServerHealthData")
        root = parse(answer.body)
        assert all_of("serviceEvents") == []

    within(tmp_path, story)


def test_records_are_removed_after_their_time(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.world.call()
        await stand.store()
        assert (await stand.service.clean()).facts == {"removed": 0}
        stand.let_pass(2 * 86_400 + 1)
        assert (await stand.service.clean()).facts == {"removed": 1}

    within(tmp_path, story, section={"keep_records_for": 2.0})


def test_many_questions_at_a_time_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stand: Stand) -> None:
        stand.let_pass(100)
        fault = fault_of(await stand.ask(between(0, NOW_S)))
        assert fault.code == "server.serverproxy.internal_error"
        assert "too many questions" in fault.string

    monkeypatch.setattr("postroad.securityserver.opmonitoring.service.MAX_QUESTIONS", 0)
    within(tmp_path, story)


def test_a_database_that_cannot_be_used_is_not_described_to_others(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        stand.let_pass(100)
        (stand.world.provider.home / "db" / "opmonitor.sqlite").unlink()
        fault = fault_of(await stand.ask(between(0, NOW_S)))
        assert fault.code == "server.serverproxy.internal_error"
        assert "sqlite" not in fault.string

    within(tmp_path, story)


# ---- environmental monitoring


def metrics_of(answer: FetchedResponse) -> dict[str, object]:
    """Names and what they hold: a value, a set, or the parts of a histogram."""
    assert_valid(answer, "monitoring.xsd")
    (root,) = parse(answer.body).iter(f"{{{MONITORING}}}getSecurityServerMetricsResponse")
    return _metric(root[0])[1]


def _metric(element: etree._Element) -> tuple[str, dict[str, object]]:
    found: dict[str, object] = {}
    for child in element[1:]:
        kind, name = etree.QName(child).localname, str(child[0].text)
        if kind == "metricSet":
            found[name] = _metric(child)[1]
        elif kind == "histogramMetric":
            found[name] = {etree.QName(part).localname: part.text for part in child[1:]}
        else:
            found[name] = (kind, child[1].text)
    return str(element[0].text), found


async def measured(stand: Stand, *names: str, client: ClientId = PROVIDER) -> dict[str, object]:
    spec = fields_wanted(*names) if names else ""
    answer = metrics_of(await stand.ask(spec, client=client, code=SYSTEM_METRICS))
    assert answer["proxyVersion"] == ("stringMetric", "7.8.0")
    system = answer["systemMetrics"]
    assert isinstance(system, dict)
    return system


def test_the_owner_gets_all_metrics_of_its_server(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.ipc.call(
            protocol.STORE,
            protocol.StoreArgument(protocol.WorkerState(0, os.getpid(), files=7), []),
            type(None),
        )
        await stand.environment.sample()
        await stand.environment.sample()
        system = await measured(stand)
        assert set(system) >= {
            "Certificates",
            "OperatingSystem",
            "TotalPhysicalMemory",
            "TotalSwapSpace",
            "MaxFileDescriptorCount",
            "DiskSpaceTotal_/",
            "DiskSpaceFree_/",
            "FreePhysicalMemory",
            "FreeSwapSpace",
            "OpenFileDescriptorCount",
            "CommittedVirtualMemory",
            "Processes",
            "Xroad Processes",
            "Packages",
        }
        files = system["OpenFileDescriptorCount"]
        assert isinstance(files, dict)
        assert (float(files["min"]), float(files["max"])) == (7, 7)
        processes = system["Processes"]
        assert isinstance(processes, dict)
        assert processes[str(os.getpid())]["processId"] == ("numericMetric", str(os.getpid()))
        packages = system["Packages"]
        assert isinstance(packages, dict)
        assert "msgspec" in packages
        certificate = stand.world.provider.sign.certificate
        digest = certificate.sha256.hex(":").upper()
        certificates = system["Certificates"]
        assert isinstance(certificates, dict)
        assert certificates[f"certificate-{digest}"] == {
            "sha1Hash": ("stringMetric", digest),
            "notBefore": ("stringMetric", f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}"),
            "notAfter": ("stringMetric", f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}"),
            "certificateType": ("stringMetric", "AUTH_OR_SIGN"),
            "active": ("stringMetric", "true"),
        }

    within(tmp_path, story)


def test_metrics_are_told_by_their_names(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        system = await measured(stand, "OperatingSystem", "TotalPhysicalMemory", "unknown")
        assert set(system) == {"OperatingSystem", "TotalPhysicalMemory"}
        kind, _value = system["TotalPhysicalMemory"]  # a pair
        assert kind == "numericMetric"

    within(tmp_path, story)


def test_only_owner_and_monitoring_client_get_metrics(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        fault = fault_of(await stand.ask("", code=SYSTEM_METRICS))
        assert fault.code == "server.serverproxy.access_denied"
        assert "Packages" in await measured(stand, client=OTHER)

    within(tmp_path, story, monitoring_client=OTHER)


def test_the_owner_may_limit_what_the_monitoring_client_gets(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        assert set(await measured(stand, client=OTHER)) == {"Certificates", "OperatingSystem"}
        assert set(await measured(stand, "Processes", "OperatingSystem", client=OTHER)) == {
            "OperatingSystem"
        }
        assert "Packages" in await measured(stand)

    within(tmp_path, story, monitoring_client=OTHER, section={"limit_remote_data_set": True})
