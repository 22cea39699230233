"""The port for load balancers and Prometheus, over real sockets: what it tells, and what never."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from postroad.adapters.files import write_atomic
from postroad.adapters.http_client import FetchedResponse, HttpClient
from postroad.adapters.log_protocol import LogStatus
from postroad.errors import ConfigurationError, FaultCode, UnavailablePeer
from postroad.globalconf.view import GlobalConfiguration
from postroad.ports import KeyCertificate
from postroad.securityserver.globalconf_files import CurrentConfiguration
from postroad.securityserver.health import checks
from postroad.securityserver.health.checks import Health, Sources
from postroad.securityserver.health.port import MonitoringPort
from postroad.securityserver.opmonitoring.protocol import WorkerState
from postroad.securityserver.opmonitoring.record import Observation, OperationalRecord
from postroad.securityserver.opmonitoring.service import WorkerStates
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ServerConfSnapshot,
    store_snapshot,
)
from support.exchange import NOW, World


class Configuration(CurrentConfiguration):
    def __init__(self, world: World) -> None:
        self.world = world
        self.is_valid = True

    async def get(self) -> GlobalConfiguration:
        if not self.is_valid:
            raise ConfigurationError("expired", code=FaultCode.GLOBAL_CONF_OUTDATED)
        return self.world.globalconf


@dataclass
class Stand:
    world: World
    configuration: Configuration
    workers: WorkerStates
    keys: list[KeyCertificate]
    log: LogStatus = field(
        default_factory=lambda: LogStatus(
            queued=1,
            written=20,
            commits=4,
            oldest_pending=NOW - timedelta(seconds=30),
            log_bytes=9,
        )
    )
    signer_is_up: bool = True
    log_is_up: bool = True
    port: MonitoringPort | None = None
    http: HttpClient = field(default_factory=HttpClient)

    async def certificates(self) -> Sequence[KeyCertificate]:
        if not self.signer_is_up:
            raise UnavailablePeer("the signer is away")
        return self.keys

    async def log_status(self) -> LogStatus:
        if not self.log_is_up:
            raise UnavailablePeer("the log writer is away")
        return self.log

    async def ask(self, path: str = "/") -> FetchedResponse:
        assert self.port is not None
        return await self.http.fetch("GET", f"http://127.0.0.1:{self.port.port}{path}")


def key(world: World, usage: str, **changes: object) -> KeyCertificate:
    identity = world.provider.auth if usage == "AUTHENTICATION" else world.provider.sign
    values: dict[str, object] = {
        "key_id": usage,
        "usage": usage,
        "der": identity.certificate.der,
        "member": None,
        "active": True,
        "status": "registered",
        "token_active": True,
    } | changes
    return KeyCertificate(**values)  # the values are those above


def within(tmp_path: Path, story: Callable[[Stand], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(tmp_path)
        server = world.provider
        free = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        number = int(free.sockets[0].getsockname()[1])
        free.close()
        settings = replace(
            server.settings,
            monitoring=replace(server.settings.monitoring, health_check_port=number, metrics=True),
        )
        for identity in (server.sign, server.auth):
            der = world.lab.ocsp(identity.certificate, at=NOW)
            write_atomic(server.home / "ocsp" / f"{identity.certificate.sha1.hex()}.ocsp", der)
        settings.run_path.mkdir()
        store_snapshot(
            settings.snapshot_path, ServerConfSnapshot(FORMAT, 1, server.id.encoded(), (), ())
        )
        workers = WorkerStates()
        workers.note(WorkerState(0, 1, connections=3, waiting_signatures=2))
        stand = Stand(
            world,
            Configuration(world),
            workers,
            [key(world, "AUTHENTICATION"), key(world, "SIGNING")],
        )
        sources = Sources(
            configuration=stand.configuration,
            certificates=stand.certificates,
            log_status=stand.log_status,
            workers=workers,
            clock=world.clock,
        )
        stand.port = MonitoringPort(settings, Health(settings, sources), sources)
        await stand.port.open()
        try:
            async with asyncio.timeout(30):
                await story(stand)
        finally:
            stand.http.close()
            await stand.port.close()

    asyncio.run(run())


def test_a_healthy_server_answers_200_with_nothing_on_any_path(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        for path in ("/", "/anything?x=1"):
            answer = await stand.ask(path)
            assert (answer.status, answer.body) == (200, b"")

    within(tmp_path, story)


def no_configuration(stand: Stand) -> None:
    stand.configuration.is_valid = False


def no_signer(stand: Stand) -> None:
    stand.signer_is_up = False


def logged_out(stand: Stand) -> None:
    stand.keys[0] = key(stand.world, "AUTHENTICATION", token_active=False)


def signing_logged_out(stand: Stand) -> None:
    stand.keys[1] = key(stand.world, "SIGNING", token_active=False)


def stale_ocsp(stand: Stand) -> None:
    stand.world.clock.at += timedelta(days=3)


def no_serverconf(stand: Stand) -> None:
    stand.world.provider.settings.snapshot_path.unlink()


def no_log(stand: Stand) -> None:
    stand.log_is_up = False


def broken_log(stand: Stand) -> None:
    stand.log = LogStatus(
        last_error="disk /dev/sda1 full", queued=0, written=0, oldest_pending=None, log_bytes=0
    )


def refusing_log(stand: Stand) -> None:
    stand.log = LogStatus(
        refusing="stamping fails", queued=0, written=0, oldest_pending=None, log_bytes=0
    )


def no_workers(stand: Stand) -> None:
    stand.workers._states.clear()


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (no_configuration, "Global configuration is expired"),
        (no_signer, "No authentication key available. Signer might be down."),
        (logged_out, "No authentication key available. Signer might be down."),
        (signing_logged_out, "No signing key available"),
        (stale_ocsp, "Authentication key OCSP response status OCSP_RESPONSE_UNKNOWN"),
        (no_serverconf, "ServerConf is not available"),
        (no_log, "Message log is not available"),
        (broken_log, "Message log database did not respond as expected"),
        (refusing_log, "Message log takes no messages"),
        (no_workers, "No proxy worker is running"),
    ],
)
def test_what_is_broken_is_told_in_one_line(
    tmp_path: Path, breaks: Callable[[Stand], None], why: str
) -> None:
    async def story(stand: Stand) -> None:
        breaks(stand)
        answer = await stand.ask()
        assert (answer.status, answer.body.decode()) == (500, f"{why}\n")
        assert (await stand.ask("/healthz")).status == 200

    within(tmp_path, story)


def test_a_verdict_is_remembered_for_a_short_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(stand: Stand) -> None:
        now = 1000.0
        monkeypatch.setattr(checks, "monotonic", lambda: now)
        assert (await stand.ask()).status == 200
        stand.signer_is_up = False
        assert (await stand.ask()).status == 200
        now += checks.REMEMBERED_SECONDS
        assert (await stand.ask()).status == 500
        stand.signer_is_up = True
        now += checks.REMEMBERED_SECONDS
        assert (await stand.ask()).status == 200

    within(tmp_path, story)


def observation(**changes: object) -> Observation:
    record = OperationalRecord(client_member_code="secret-member", message_id="secret-id")
    for name, value in changes.items():
        setattr(record, name, value)
    return Observation(record, "TEST/GOV/2/secret-server", "/secret/path", 0.02)


def test_figures_have_exchanges_by_outcome_and_no_names_of_anybody(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        assert stand.port is not None
        assert stand.port.figures is not None
        stand.port.figures.count(
            [
                observation(succeeded=1),
                observation(fault_code="Server.ServerProxy.AccessDenied"),
                observation(fault_code="server.serverproxy.access_denied"),
                observation(status_code=404),
                *(observation(fault_code=f"invented-{number}") for number in range(100)),
            ]
        )
        answer = await stand.ask("/metrics")
        text = answer.body.decode()
        lines = text.splitlines()
        side = 'side="client"'
        for line in (
            f'postroad_exchanges_total{{fault="",outcome="success",{side}}} 1.0',
            f'postroad_exchanges_total{{fault="access_denied",outcome="failure",{side}}} 2.0',
            f'postroad_exchanges_total{{fault="service_error",outcome="failure",{side}}} 1.0',
            f'postroad_exchanges_total{{fault="other",outcome="failure",{side}}} 100.0',
            f'postroad_exchange_seconds_bucket{{le="0.025",{side}}} 104.0',
            'postroad_worker_connections{worker="0"} 3.0',
            'postroad_worker_waiting_signatures{worker="0"} 2.0',
            "postroad_log_written_records 20.0",
            "postroad_log_commits 4.0",
            "postroad_log_unstamped_seconds 30.0",
            "postroad_log_up 1.0",
            "postroad_healthy 1.0",
        ):
            assert line in lines, line
        assert "postroad_ocsp_age_seconds{" in text
        assert 'postroad_process_resident_bytes{process="supervisor"}' in text
        ends = stand.world.provider.auth.certificate.not_after
        name = f"authentication-{stand.world.provider.auth.certificate.sha256.hex()[:16]}"
        prefix = f'postroad_certificate_expiry_timestamp_seconds{{certificate="{name}"}} '
        (line,) = [line for line in lines if line.startswith(prefix)]
        assert datetime.fromtimestamp(float(line.removeprefix(prefix)), UTC) == ends
        assert "secret" not in text
        assert "invented" not in text

    within(tmp_path, story)


def test_figures_are_there_when_everything_else_is_down(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        no_configuration(stand)
        no_signer(stand)
        no_log(stand)
        lines = (await stand.ask("/metrics")).body.decode().splitlines()
        assert "postroad_healthy 0.0" in lines
        assert "postroad_log_up 0.0" in lines
        assert "postroad_globalconf_expiry_timestamp_seconds 0.0" in lines

    within(tmp_path, story)
