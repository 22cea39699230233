"""What are the two proxies of a worker made of?

Adapters are made here once and handed to the flows. Proxies are made anew when settings are read
again; what they share stays, with its connections and what it has learned.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import HttpClient
from postroad.adapters.http_limits import ClientLimits
from postroad.adapters.ipc import IpcClient
from postroad.adapters.log_client import LogClient
from postroad.adapters.random_ids import new_uuid
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.system_clock import SystemClock
from postroad.adapters.tls import provider_client_context
from postroad.evidence.verification import VerificationCache
from postroad.fault_table import Dialect
from postroad.securityserver.authentication_key import AuthenticationKey
from postroad.securityserver.client_proxy import ClientProxy
from postroad.securityserver.environment.answering import EnvironmentalMonitoring
from postroad.securityserver.flood_limits import FloodLimit
from postroad.securityserver.internal_tls import ensure_internal_identity
from postroad.securityserver.metadata_services import MetadataServices
from postroad.securityserver.opmonitoring import protocol as monitoring
from postroad.securityserver.opmonitoring.answering import OperationalMonitoring
from postroad.securityserver.peer_certificates import PeerVerdicts
from postroad.securityserver.peer_connector import PeerConnector
from postroad.securityserver.provider_judgement import ProviderJudge
from postroad.securityserver.routing import choose_servers
from postroad.securityserver.server_proxy import ServerProxy
from postroad.securityserver.service_caller import InformationSystems
from postroad.securityserver.signing import BatchingSigner
from postroad.securityserver.snapshots import OwnCertificates, Snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.ports import MessageLogPort, SignerPort
    from postroad.securityserver.builtin_services import SoapService
    from postroad.securityserver.internal_tls import InternalIdentity
    from postroad.securityserver.settings import Settings

METRICS_SECONDS: Final = 10.0
"""How long it may take to measure this machine (reference: MonitorClient)."""
ANSWER_SECONDS: Final = 60.0
"""How long an answer for operational monitoring may take (reference: op-monitor-service)."""


class WorkerParts:
    """What both proxies of one worker share, and how the proxies are made of it."""

    def __init__(
        self, settings: Settings, *, signer: SignerPort | None, message_log: MessageLogPort | None
    ) -> None:
        self.clock = SystemClock()
        self.dialect = Dialect(settings.server.fault_spelling)
        self.signer: SignerPort = signer or SignerClient(settings.signer_socket)
        self.message_log: MessageLogPort = message_log or LogClient(settings.logwriter_socket)
        self.snapshots = Snapshots(settings, self.signer, self.clock)
        self.own = OwnCertificates()
        self.auth_key = AuthenticationKey(self.signer)
        self.verdicts = PeerVerdicts()
        self.cache = VerificationCache()
        self.peers = HttpClient(peer_client_limits(settings))
        self.services = HttpClient(ClientLimits())
        self.internal: InternalIdentity = ensure_internal_identity(
            settings.home_path, self.clock.now(), (settings.client_proxy.host,)
        )
        self._service_context = provider_client_context(
            self.internal.key_pem, self.internal.chain_pem
        )
        self.monitoring = IpcClient(settings.monitoring_socket, what="background process")

    def close(self) -> None:
        """Cut every connection that was made from here."""
        self.peers.close()
        self.services.close()
        self.monitoring.close()
        for client in (self.signer, self.message_log):
            if isinstance(client, SignerClient | LogClient):
                client.close()

    def make_client_proxy(self, settings: Settings) -> ClientProxy:
        """The client proxy that these settings ask for."""
        section = settings.server_proxy
        judge = ProviderJudge(
            self.peers,
            self.snapshots.ocsp,
            self.verdicts,
            self.clock,
            ocsp_port=lambda _host: section.peer_ocsp_port,
        )
        connector = PeerConnector(
            self.peers,
            self.auth_key.client_tls,
            section.peer_port,
            connect_timeout=section.connect_timeout,
            response_timeout=section.response_timeout,
        )
        return ClientProxy(
            settings=settings,
            clock=self.clock,
            snapshot=self.snapshots.current,
            signer=self._make_signer(settings),
            log=self.message_log,
            connector=connector,
            judge_provider=judge.judge,
            own_ocsp=lambda snapshot: self.own.authentication_ocsp(
                snapshot, self.auth_key.certificate, self.clock.now()
            ),
            choose_servers=lambda snapshot, service, target: choose_servers(
                snapshot.globalconf, service.client, target
            ),
            new_id=new_uuid,
            dialect=self.dialect,
            internal_certificate=lambda: self.internal.certificate.der,
            flood=_flood_limit(settings, settings.client_proxy.requests_per_second_per_client),
            cache=self.cache,
        )

    def make_server_proxy(self, settings: Settings) -> ServerProxy:
        """The server proxy that these settings ask for."""
        section = settings.server_proxy
        services = InformationSystems(
            self.services, lambda: self._service_context, settings.service_networks.guard
        )
        return ServerProxy(
            settings=settings,
            clock=self.clock,
            snapshot=self.snapshots.current,
            signer=self._make_signer(settings),
            log=self.message_log,
            services=services,
            verdicts=self.verdicts,
            new_id=new_uuid,
            dialect=self.dialect,
            flood=_flood_limit(settings, section.requests_per_second_per_client),
            builtin=replace(
                MetadataServices(services, new_uuid).builtin,
                owner_soap=self._make_monitoring_services(settings),
            ),
            cache=self.cache,
        )

    def _make_signer(self, settings: Settings) -> BatchingSigner:
        return BatchingSigner(
            self.signer,
            lambda member: self.own.signing_key(self.snapshots.current(), member, self.clock.now()),
            self.clock,
            batching=settings.server.batch_signatures,
        )

    def _make_monitoring_services(self, settings: Settings) -> Mapping[str, SoapService]:
        async def query(question: monitoring.QueryArgument) -> monitoring.QueryResult:
            return await self.monitoring.call(
                monitoring.QUERY, question, monitoring.QueryResult, deadline=ANSWER_SECONDS
            )

        async def health(provider: tuple[str, ...]) -> str:
            return await self.monitoring.call(monitoring.HEALTH, provider, str)

        async def measure(wanted: monitoring.MetricsArgument) -> str:
            return await self.monitoring.call(
                monitoring.METRICS, wanted, str, deadline=METRICS_SECONDS
            )

        section = settings.monitoring
        offset = section.records_available_timestamp_offset
        operational = OperationalMonitoring(query, health, self.clock, offset=offset)
        environmental = EnvironmentalMonitoring(measure, limit_others=section.limit_remote_data_set)
        return {**operational.services, **environmental.services}


def _flood_limit(settings: Settings, rate: float) -> FloodLimit:
    """One worker's share of a limit for the whole server."""
    return FloodLimit(rate / settings.server.workers, time.monotonic)


def peer_client_limits(settings: Settings) -> ClientLimits:
    """How it treats other servers: without reuse no connection waits for its next request."""
    limits = ClientLimits()
    if settings.server_proxy.reuse_connections:
        return limits
    return replace(limits, max_idle_per_destination=0)
