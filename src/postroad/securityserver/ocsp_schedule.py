"""When is which OCSP response of our own certificates fetched anew?

New certificates at once, the others at the interval of the global configuration, failed and not
good ones every minute; all of them at once when the ecosystem changes its rules of freshness.
Reference: OcspClientExecuteScheduler.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import PostroadError
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.ocsp_fetching import (
    FetchedOcsp,
    OcspClient,
    OcspTarget,
    targets_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from postroad.clock import Clock
    from postroad.crypto.ocsp import OcspPolicy
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import KeyCertificate
    from postroad.securityserver.globalconf_files import CurrentConfiguration

LOOK_INTERVAL: Final = 2.0
"""Seconds between two looks at which certificates there are."""
OCSP_RETRY: Final = 60.0
PARALLEL_FETCHES: Final = 4


class OcspJob:
    """Fetches OCSP responses when they are due: new certificates at once, the others regularly."""

    def __init__(
        self,
        *,
        certificates: Callable[[], Awaitable[tuple[KeyCertificate, ...]]],
        configuration: CurrentConfiguration,
        client: OcspClient,
        clock: Clock,
        minimum_interval: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certificates = certificates
        self._configuration = configuration
        self._client = client
        self._clock = clock
        self._minimum_interval = minimum_interval
        self._monotonic = monotonic
        self._due: dict[OcspTarget, float] = {}
        self._told: dict[OcspTarget, dict[str, object]] = {}
        self._failures: dict[OcspTarget, PostroadError] = {}
        self._policy: OcspPolicy | None = None

    async def run(self) -> Outcome:
        """Fetch what is due now."""
        try:
            keys = await self._certificates()
            globalconf = await self._configuration.get()
        except PostroadError as error:
            return Outcome(LOOK_INTERVAL, error=error)
        if globalconf.ocsp_policy != self._policy:
            self._due.clear()  # another freshness: what we have may be too old now
            self._policy = globalconf.ocsp_policy
        targets, unapproved = self._wanted(keys, globalconf)
        self._forget_others(targets)
        now = self._monotonic()
        due = [target for target in targets if now >= self._due.get(target, now)]
        if not due:
            return Outcome(LOOK_INTERVAL, self._facts(), self._first_error(unapproved), silent=True)
        limit = asyncio.Semaphore(PARALLEL_FETCHES)
        async with asyncio.TaskGroup() as group:
            for target in due:
                group.create_task(self._fetch(target, globalconf, limit))
        return Outcome(LOOK_INTERVAL, self._facts(), self._first_error(unapproved))

    def _wanted(
        self, keys: tuple[KeyCertificate, ...], globalconf: GlobalConfiguration
    ) -> tuple[list[OcspTarget], PostroadError | None]:
        found: dict[OcspTarget, None] = {}
        problem: PostroadError | None = None
        now = self._clock.now()
        for key in keys:
            if not key.active:
                continue
            try:
                certificate = Certificate.from_der(key.der)
                if certificate.is_valid_at(now) and not certificate.is_self_signed:
                    found.update(dict.fromkeys(targets_of(certificate, globalconf)))
            except PostroadError as error:
                problem = error
        return list(found), problem

    def _forget_others(self, targets: list[OcspTarget]) -> None:
        for known in (self._due, self._told, self._failures):
            for target in known.keys() - set(targets):
                del known[target]

    async def _fetch(
        self, target: OcspTarget, globalconf: GlobalConfiguration, limit: asyncio.Semaphore
    ) -> None:
        interval = max(globalconf.ocsp_fetch_interval.total_seconds(), self._minimum_interval)
        async with limit:
            try:
                fetched = await self._client.fetch(target, globalconf)
            except PostroadError as error:
                self._failures[target] = error
                self._due[target] = self._monotonic() + min(OCSP_RETRY, interval)
                facts = {"error": error.message, "error_code": error.fault_code}
                self._told[target] = {**_name(target), **facts}
            else:
                self._failures.pop(target, None)
                # A responder that doesn't know our certificate today may know it in a minute.
                is_good = fetched.verified.status is CertificateStatus.GOOD
                rest = interval if is_good else min(OCSP_RETRY, interval)
                self._due[target] = self._monotonic() + rest
                self._told[target] = {**_name(target), **_facts(fetched)}

    def _facts(self) -> dict[str, object]:
        return {"certificates": list(self._told.values())}

    def _first_error(self, unapproved: PostroadError | None) -> PostroadError | None:
        return next(iter(self._failures.values()), unapproved)


def _name(target: OcspTarget) -> dict[str, object]:
    return {
        "subject": target.subject.subject_rfc2253,
        "issuer": target.issuer.subject_rfc2253,
        "sha1": target.subject.sha1.hex(),
    }


def _facts(fetched: FetchedOcsp) -> dict[str, object]:
    next_update = fetched.verified.next_update
    return {
        "url": fetched.url,
        "status": fetched.verified.status.value,
        "this_update": fetched.verified.this_update.isoformat(),
        "next_update": None if next_update is None else next_update.isoformat(),
    }
