"""What does a Security Server do in the background, beside exchanging messages?

One process runs all recurring jobs: it downloads the global configuration, keeps OCSP responses of
own certificates fresh, follows what the registry says of our clients and certificates, and
time-stamps the message log. The process keeps no database open: what few changes it has to make to
the server configuration are made by a short-lived process.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from postroad.adapters.http_client import HttpClient
from postroad.adapters.http_dialing import ClientTls
from postroad.adapters.log_client import LogClient
from postroad.adapters.logs import configure_logging, logger
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.system_clock import SystemClock
from postroad.adapters.tls import provider_client_context
from postroad.globalconf.federation import AllowedFederations
from postroad.securityserver.acme.renewal_job import RenewalJob
from postroad.securityserver.archive_job import ArchiveJob
from postroad.securityserver.backup_job import BackupJob
from postroad.securityserver.certificate_states import ExpiryJob
from postroad.securityserver.confclient import ConfigurationClient, PollReport
from postroad.securityserver.environment.service import EnvironmentService
from postroad.securityserver.globalconf_files import CurrentConfiguration
from postroad.securityserver.health.checks import Health, Sources
from postroad.securityserver.health.port import MonitoringPort
from postroad.securityserver.jobs import Job, JobRunner, Outcome
from postroad.securityserver.messagelog.stamping_job import BackgroundStamping, build_stamping
from postroad.securityserver.ocsp_fetching import OcspClient
from postroad.securityserver.ocsp_schedule import OcspJob
from postroad.securityserver.opmonitoring.protocol import METRICS
from postroad.securityserver.opmonitoring.service import MonitoringService, WorkerStates
from postroad.securityserver.registrations import RegistrationJob, follow_in_another_process
from postroad.securityserver.serverconf.snapshot import SnapshotFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.clock import Clock
    from postroad.ports import FetchedResponse
    from postroad.securityserver.settings import Settings

FIRST_POLL_RETRY: Final = 3.0
"""Seconds between attempts while there is no global configuration at all."""
REGISTRATION_RETRY: Final = 2.0
KEEP_OCSP_FILES: Final = timedelta(days=7)


class ConfigurationJob:
    """Polls the configuration sources."""

    def __init__(
        self,
        poll: Callable[[], Awaitable[PollReport]],
        configuration: CurrentConfiguration,
        interval: float,
    ) -> None:
        self._poll = poll
        self._configuration = configuration
        self._interval = interval
        self._succeeded_once = False

    async def run(self) -> Outcome:
        """Poll once; the report is told as it is, failures of federated instances among it."""
        report = await self._poll()
        self._configuration.forget()
        self._succeeded_once |= report.succeeded
        interval = self._interval
        if not self._succeeded_once:
            interval = min(interval, FIRST_POLL_RETRY)
        entries = [report.own, *report.federated]
        facts: dict[str, object] = {
            "changed": report.changed,
            "removed": list(report.removed),
            "instances": [
                {
                    "instance": entry.instance,
                    "url": entry.url,
                    "version": entry.version,
                    "fetched": list(entry.fetched),
                    "error": None if entry.error is None else entry.error.message,
                }
                for entry in entries
            ],
        }
        return Outcome(interval, facts, report.own.error)


class OcspCleaningJob:
    """Deletes OCSP responses that nobody has renewed for a week: of peers, of former keys."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._directory = settings.ocsp_path
        self._clock = clock

    async def run(self) -> Outcome:
        """Clean up once."""
        deleted = await asyncio.to_thread(self._clean)
        return Outcome(6 * 3600.0, {"deleted": deleted}, silent=not deleted)

    def _clean(self) -> int:
        oldest = (self._clock.now() - KEEP_OCSP_FILES).timestamp()
        deleted = 0
        for path in self._directory.glob("*.ocsp"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    deleted += 1
        return deleted


class UnverifiedWeb:
    """Fetches without verifying TLS certificates, for `verify_tls = false`.

    What is fetched that way is proven by its own signature; TLS adds privacy at most.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._context = provider_client_context()
        self._by_host: dict[str | None, ClientTls] = {}

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,  # noqa: ASYNC109 - the adapter owns the deadline
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        """Send one request and return the whole response."""
        host = urlsplit(url).hostname
        tls = self._by_host.setdefault(host, ClientTls(self._context, host))
        return await self._http.fetch(
            method,
            url,
            headers=headers,
            body=body,
            timeout=timeout,
            max_body=max_body,
            tls=tls if url.lower().startswith("https:") else None,
        )


def build_jobs(
    settings: Settings,
    signer: SignerClient,
    log: LogClient,
    http: HttpClient,
    configuration: CurrentConfiguration,
) -> list[Job]:
    """The jobs of a server, but for those of monitoring."""
    clock = SystemClock()
    section = settings.configuration_client
    client = ConfigurationClient(
        anchor_path=settings.anchor_path,
        directory=settings.globalconf_path,
        fetcher=http if section.verify_tls else UnverifiedWeb(http),
        clock=clock,
        allowed=AllowedFederations.parse(section.allowed_federations),
    )
    polling = ConfigurationJob(client.run_once, configuration, section.update_interval)
    fetching = OcspJob(
        certificates=signer.certificates,
        configuration=configuration,
        client=OcspClient(settings.ocsp_path, http, clock),
        clock=clock,
        minimum_interval=section.minimum_ocsp_fetch_interval,
    )
    following = RegistrationJob(
        signer=signer,
        configuration=configuration,
        snapshot=SnapshotFile(settings.snapshot_path),
        update_clients=lambda: follow_in_another_process(settings),
    )
    stamping = BackgroundStamping(
        build_stamping(
            settings, log=log, fetcher=http, configuration=configuration.get, clock=clock
        )
    )
    renewing = RenewalJob(
        settings, signer, configuration, SnapshotFile(settings.snapshot_path), http, clock
    )
    jobs = [
        Job("configuration", polling.run, section.update_interval),
        Job("ocsp", fetching.run),
        Job("registrations", following.run, REGISTRATION_RETRY),
        Job("timestamping", stamping.run),
        Job(
            "certificates",
            ExpiryJob(signer.certificates, clock, logger("certificates").warning).run,
        ),
        Job("ocsp-cleaning", OcspCleaningJob(settings, clock).run),
        Job("archiving", ArchiveJob(settings, clock).run),
        Job("backup", BackupJob(settings, clock).run),
    ]
    if settings.acme.acme_renewal_active:
        jobs.append(Job("acme", renewing.run))
    return jobs


async def serve(settings: Settings) -> None:
    """Run all jobs until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    signer = SignerClient(settings.signer_socket)
    log = LogClient(settings.logwriter_socket)
    http = HttpClient()
    configuration = CurrentConfiguration(settings, SystemClock())
    workers = WorkerStates()
    environment = EnvironmentService(settings, signer.certificates, workers, SystemClock())
    sources = Sources(
        configuration=configuration,
        certificates=signer.certificates,
        log_status=log.status,
        workers=workers,
        clock=SystemClock(),
    )
    port = MonitoringPort(settings, Health(settings, sources), sources)
    monitoring = MonitoringService(
        settings,
        configuration,
        SystemClock(),
        workers,
        {METRICS: environment.answer},
        None if port.figures is None else port.figures.count,
    )
    try:
        await monitoring.start()
        jobs = [
            *build_jobs(settings, signer, log, http, configuration),
            Job("opmonitoring-cleaning", monitoring.clean),
            Job("environment", environment.sample),
            Job("health-check-port", port.open),
        ]
        runner = JobRunner(jobs, settings.run_path, SystemClock())
        logger("background").info("background jobs started")
        await runner.run(stop)
    finally:
        await port.close()
        await monitoring.stop()
        signer.close()
        log.close()
        http.close()


def run(settings: Settings) -> None:
    """Run the background process; returns after an orderly stop."""
    configure_logging(process="background", style=settings.server.log_format)
    asyncio.run(serve(settings))
