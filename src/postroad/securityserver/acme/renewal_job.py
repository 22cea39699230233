"""When does the background process renew certificates, and what is told of it?

What speaks ACME is imported when a certification service offers it, and not before.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from postroad.adapters.logs import logger
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.securityserver.acme.offers import offers
from postroad.securityserver.jobs import Outcome

if TYPE_CHECKING:
    from postroad.adapters.http_client import HttpClient
    from postroad.adapters.signer_client import SignerClient
    from postroad.clock import Clock
    from postroad.crypto.certificates import Certificate
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.acme.order_book import OrderBook
    from postroad.securityserver.acme.renewal import Renewal, RenewalReport
    from postroad.securityserver.globalconf_files import CurrentConfiguration
    from postroad.securityserver.serverconf.snapshot import SnapshotFile
    from postroad.securityserver.settings import Settings


class RenewalJob:
    """Renews the certificates of services that offer ACME."""

    def __init__(  # noqa: PLR0917 - what a job of this process is given
        self,
        settings: Settings,
        signer: SignerClient,
        configuration: CurrentConfiguration,
        snapshot: SnapshotFile,
        http: HttpClient,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._configuration = configuration
        self._snapshot = snapshot
        self._http = http
        self._clock = clock
        self._log = logger("acme")

    async def run(self) -> Outcome:
        """Look once."""
        section = self._settings.acme
        globalconf = await self._configuration.get()
        self._snapshot.refresh()
        view = self._snapshot.view
        if view is None or not offers(globalconf):
            return Outcome(section.acme_renewal_interval, silent=True)
        from postroad.securityserver.acme.order_book import OrderBook  # noqa: PLC0415 - many servers never renew by ACME

        book = OrderBook(self._settings.acme_path)
        members = frozenset(client.identifier.member for client in view.clients)
        with book.locked() as is_ours:
            if not is_ours:  # an administrator is ordering
                return Outcome(section.acme_renewal_retry_delay, silent=True)
            return _outcome(await self._renewal(book).run(globalconf, members))

    def _renewal(self, book: OrderBook) -> Renewal:
        from postroad.securityserver.acme.ordering import Ordering  # noqa: PLC0415 - many servers never renew by ACME
        from postroad.securityserver.acme.renewal import Renewal  # noqa: PLC0415 - many servers never renew by ACME
        from postroad.securityserver.acme.renewal_state import RenewalStates  # noqa: PLC0415 - many servers never renew by ACME
        from postroad.securityserver.ocsp_fetching import OcspClient  # noqa: PLC0415 - many servers never renew by ACME
        from postroad.securityserver.snapshots import OcspDirectory  # noqa: PLC0415 - many servers never renew by ACME

        directory = OcspDirectory(self._settings.ocsp_path)
        directory.refresh()
        return Renewal(
            ordering=Ordering(
                settings=self._settings,
                signer=self._signer,
                fetcher=self._http,
                book=book,
                clock=self._clock,
            ),
            states=RenewalStates(self._settings.acme_path / "renewals.json"),
            ocsp=OcspClient(self._settings.ocsp_path, self._http, self._clock),
            register=self._register,
            responses=lambda: directory.responses,
            random=random.random,
            tell=lambda event, facts: self._log.warning(event, **facts),
        )

    async def _register(self, certificate: Certificate, globalconf: GlobalConfiguration) -> None:
        """Ask the Central Server to register a certificate under the address we have."""
        from postroad.securityserver.management_client import (  # noqa: PLC0415 - many servers never renew by ACME
            opened_management_client,
        )

        address = globalconf.address_of(self._settings.server_id)
        if address is None:
            raise ConfigurationError(
                "the global configuration knows no address of this server",
                code=FaultCode.ACME_FAILED,
            )
        with opened_management_client(self._settings, self._signer) as client:
            await client.register_auth_certificate(certificate, address, globalconf)


def _outcome(report: RenewalReport) -> Outcome:
    facts: dict[str, object] = {
        "renewed": report.renewed,
        "activated": report.activated,
        "retired": report.retired,
        "failed": [f"{name}: {why}" for name, why in report.failed.items()],
    }
    error = None
    if report.failed:
        error = PostroadError(
            f"{len(report.failed)} certificates could not be renewed yet",
            code=FaultCode.ACME_FAILED,
        )
    return Outcome(report.next_in, facts, error)
