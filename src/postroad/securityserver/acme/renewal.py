"""How are certificates renewed by themselves?

Once in a while: orders that were cut off are continued, certificates that are due are ordered anew,
and what took another one's place is registered, activated and given its time. Each certificate
stands for itself: what fails is told with it, and tried again later and later. Reference:
AcmeClientWorker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.adapters.acme_client import AcmeClient, AcmeRefusal
from postroad.adapters.signer_protocol import CertificateRecord, KeyUsage, RenewalArgument
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.identifiers import MemberId
from postroad.ports import KeyCertificate
from postroad.securityserver.acme.credentials import AcmeAccounts
from postroad.securityserver.acme.new_orders import renewing_order
from postroad.securityserver.acme.offers import offer_for
from postroad.securityserver.acme.order_book import new_order_id
from postroad.securityserver.acme.ordering import USER_AGENT
from postroad.securityserver.acme.renewal_rules import (
    Next,
    Succession,
    due_moment,
    is_candidate,
    next_step,
    retry_delay,
)
from postroad.securityserver.certificate_states import OcspState, ocsp_state
from postroad.securityserver.certificates import activate_certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from datetime import datetime

    from postroad.adapters.signer_protocol import KeyRecord, TokenInfo
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.acme.offers import AcmeOffer
    from postroad.securityserver.acme.order_book import OrderRecord
    from postroad.securityserver.acme.ordering import Ordering
    from postroad.securityserver.acme.renewal_state import RenewalStates
    from postroad.securityserver.ocsp_fetching import OcspClient

    Register = Callable[[Certificate, GlobalConfiguration], Awaitable[object]]

ASK_AGAIN: Final = timedelta(hours=6)
"""When a service is asked again what it suggests, if it doesn't say (RFC 9773, 4.3.3)."""
GIVE_UP: Final = timedelta(days=1)
"""How long an order that a person began is continued without them."""
MAX_ERROR: Final = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate with the key and the token it lies on."""

    info: TokenInfo
    key: KeyRecord
    record: CertificateRecord


@dataclass(slots=True)
class RenewalReport:
    """What one run has found and done."""

    renewed: list[str] = field(default_factory=list)
    activated: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by certificate or order."""
    next_in: float = 0.0

    def sooner(self, seconds: float) -> None:
        """Run again in so many seconds at the latest."""
        self.next_in = min(self.next_in, max(seconds, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Renews one server's certificates; the caller holds the order book's lock."""

    ordering: Ordering
    states: RenewalStates
    ocsp: OcspClient
    register: Register
    """Asks the Central Server to register an authentication certificate."""
    responses: Callable[[], Mapping[bytes, bytes]]
    """Stored OCSP responses by SHA-1 of the certificate."""
    random: Callable[[], float]
    tell: Callable[[str, dict[str, str]], None]

    async def run(
        self, globalconf: GlobalConfiguration, local_members: Collection[MemberId]
    ) -> RenewalReport:
        """Look at everything once."""
        section = self.ordering.settings.acme
        report = RenewalReport(next_in=section.acme_renewal_interval)
        self.states.load()
        await self._continue_first_orders(globalconf, local_members, report)
        held = _held(await self.ordering.signer.tokens())
        for each in held.values():
            try:
                if each.record.renewed_by is not None:
                    await self._follow(each, held, globalconf, report)
                elif is_candidate(each.key, each.record):
                    await self._renew(each, globalconf, local_members, report)
            except PostroadError as error:
                await self._failed(each, error, report)
        self._forget_what_is_gone(held.keys())
        return report

    def _forget_what_is_gone(self, held: Collection[str]) -> None:
        """Orders and states of certificates that were deleted meanwhile."""
        book = self.ordering.book
        for record in book.unfinished():
            if record.replaces and record.replaces not in held:
                book.close(record)
        self.states.store({*held, *(record.id for record in book.unfinished())})

    # ---- orders

    async def _continue_first_orders(
        self,
        globalconf: GlobalConfiguration,
        local_members: Collection[MemberId],
        report: RenewalReport,
    ) -> None:
        """Orders that a person began; those for renewals are continued with their certificates."""
        book = self.ordering.book
        for record in book.unfinished():
            if record.replaces:
                continue
            if self._now() - record.started > GIVE_UP:
                book.close(record)
                self.tell("order given up", {"order": record.id, "for": record.what})
            elif self._may_try(record.id, report):
                try:
                    imported = await self.ordering.fulfil(
                        record, globalconf=globalconf, local_members=local_members
                    )
                except PostroadError as error:
                    report.failed[record.id] = error.message
                    report.sooner(self._delay(record.id, error))
                else:
                    book.close(record)
                    self.tell("order continued", {"certificate": imported.hash})

    def _may_try(self, name: str, report: RenewalReport) -> bool:
        """Whether the time of the next attempt has come."""
        not_before = self.states.of(name).not_before
        if not_before is None or self._now() >= not_before:
            return True
        report.sooner((not_before - self._now()).total_seconds())
        return False

    def _delay(self, name: str, error: PostroadError) -> float:
        """Note a failure; the seconds until the next attempt."""
        failures = self.states.of(name).failures + 1
        asked = error.retry_after if isinstance(error, AcmeRefusal) else 0.0
        delay = retry_delay(failures, asked, self.ordering.settings.acme)
        moment = self._now() + timedelta(seconds=delay)
        self.states.change(name, failures=failures, not_before=moment)
        return delay

    async def _renew(
        self,
        held: Held,
        globalconf: GlobalConfiguration,
        local_members: Collection[MemberId],
        report: RenewalReport,
    ) -> None:
        certificate = Certificate.from_der(held.record.der)
        offer = offer_for(certificate, globalconf)
        if offer is None:
            return
        name = held.record.hash
        begun = self._begun(name)
        if begun is None:
            planned = await self._planned(held, certificate, offer)
            if self._now() < planned:
                report.sooner((planned - self._now()).total_seconds())
                await self._note(held, next_renewal=planned)
                return
        if not self._may_try(name, report):
            report.failed[name] = held.record.renewal_error or ""
            return
        order = begun or self._new_order(held, offer, globalconf)
        imported = await self.ordering.fulfil(
            order, globalconf=globalconf, local_members=local_members
        )
        self.states.change(name, failures=0, not_before=None)
        await self._note(held, renewed_by=imported.hash)
        self.ordering.book.close(order)
        report.renewed.append(name)
        report.sooner(0)  # the next run registers it
        self.tell("certificate renewed", {"certificate": name, "by": imported.hash})

    def _begun(self, name: str) -> OrderRecord | None:
        return next(
            (each for each in self.ordering.book.unfinished() if each.replaces == name), None
        )

    def _new_order(
        self, held: Held, offer: AcmeOffer, globalconf: GlobalConfiguration
    ) -> OrderRecord:
        if not held.info.active or held.info.read_only:
            raise ConfigurationError(
                "the token is logged out or read-only: no new key can be made",
                code=FaultCode.TOKEN_NOT_ACTIVE,
            )
        order = renewing_order(
            held.key,
            held.record,
            ca_name=offer.ca_name,
            token=held.info.token.id,
            globalconf=globalconf,
            server=self.ordering.settings.server_id,
            order_id=new_order_id(),
            at=self._now(),
        )
        self.ordering.book.store(order)
        return order

    async def _planned(self, held: Held, certificate: Certificate, offer: AcmeOffer) -> datetime:
        """When to renew: as the service suggests, or else so many days before the end."""
        name, section = held.record.hash, self.ordering.settings.acme
        state = self.states.of(name)
        if state.planned and state.ask_again and self._now() < state.ask_again:
            return state.planned
        window, again = None, ASK_AGAIN
        try:
            suggested = await self._client(held, offer).renewal_window(certificate)
        except PostroadError as error:  # as in the reference: the fixed rule takes its place
            self.tell("no renewal information", {"certificate": name, "why": error.message})
        else:
            if suggested is not None:
                window = (suggested.start, suggested.end)
                again = timedelta(seconds=suggested.ask_again_in) or ASK_AGAIN
        life = (certificate.not_before, certificate.not_after)
        planned = due_moment(life, section, window, self.random())
        if window and state.planned and window[0] <= state.planned <= window[1]:
            planned = state.planned
        self.states.change(name, planned=planned, ask_again=self._now() + again)
        return planned

    def _client(self, held: Held, offer: AcmeOffer) -> AcmeClient:
        """For renewal information alone, which nobody signs for."""
        owner = self.ordering.settings.server_id.owner
        member = owner if held.record.member is None else MemberId.parse(held.record.member)
        usage = held.key.usage or KeyUsage.SIGNING
        key = AcmeAccounts(self.ordering.settings).key(
            offer.ca_name, offer.directory_url, member, usage
        )
        return AcmeClient(self.ordering.fetcher, offer.directory_url, key, user_agent=USER_AGENT)

    # ---- what takes another one's place

    async def _follow(
        self,
        old: Held,
        held: Mapping[str, Held],
        globalconf: GlobalConfiguration,
        report: RenewalReport,
    ) -> None:
        new = held.get(old.record.renewed_by or "")
        if new is None:  # somebody has deleted it: the old one may be renewed again
            await self._note(old)
            return
        if not old.record.active and new.record.active:
            return
        if not self._may_try(old.record.hash, report):
            report.failed[old.record.hash] = old.record.renewal_error or ""
            return
        await self._take_step(old, new, globalconf, report)
        self.states.change(old.record.hash, failures=0, not_before=None)
        if old.record.renewal_error:
            await self._note(old, renewed_by=new.record.hash)

    async def _take_step(
        self, old: Held, new: Held, globalconf: GlobalConfiguration, report: RenewalReport
    ) -> None:
        certificate = Certificate.from_der(new.record.der)
        signer, section = self.ordering.signer, self.ordering.settings.acme
        succession = self._succession(old, new, globalconf)
        step = next_step(succession, section, self._now())
        if step is Next.REGISTER:
            await self.register(certificate, globalconf)
            self.tell("registration asked for", {"certificate": new.record.hash})
        elif step is Next.ACTIVATE:
            await activate_certificate(
                signer,
                new.record.hash,
                globalconf=globalconf,
                ocsp=self.ocsp,
                at=self._now(),
            )
            report.activated.append(new.record.hash)
            self.tell("renewed certificate activated", {"certificate": new.record.hash})
        elif step is Next.RETIRE:
            await signer.set_certificate(old.record.hash, active=False)
            report.retired.append(old.record.hash)
            self.tell("old certificate deactivated", {"certificate": old.record.hash})
        if step is not Next.DONE:
            report.sooner(section.acme_renewal_retry_delay)

    def _succession(self, old: Held, new: Held, globalconf: GlobalConfiguration) -> Succession:
        certificate = Certificate.from_der(new.record.der)
        state = self.states.of(old.record.hash)
        if new.record.active and state.active_since is None:
            state = self.states.change(old.record.hash, active_since=self._now())
        usage = new.key.usage or KeyUsage.SIGNING
        server = self.ordering.settings.server_id
        entry = KeyCertificate(
            key_id=new.key.id,
            usage=usage.value,
            der=new.record.der,
            member=new.record.member,
            active=new.record.active,
            status=new.record.status.value,
            token_active=new.info.active,
        )
        good = ocsp_state(entry, self.responses(), globalconf, self._now())
        return Succession(
            usage=usage,
            old=old.record,
            new=new.record,
            is_listed=globalconf.server_by_auth_certificate(certificate) == server,
            is_good=good is OcspState.GOOD,
            active_since=state.active_since,
        )

    # ---- notes

    async def _failed(self, held: Held, error: PostroadError, report: RenewalReport) -> None:
        """Note a failure with its certificate, and when to try again."""
        name = held.record.hash
        delay = self._delay(name, error)
        moment = self._now() + timedelta(seconds=delay)
        report.failed[name] = error.message
        report.sooner(delay)
        if held.record.renewal_error != error.message[:MAX_ERROR]:
            self.tell("renewal failed", {"certificate": name, "why": error.message})
        await self._note(
            held,
            renewed_by=held.record.renewed_by,
            renewal_error=error.message[:MAX_ERROR],
            next_renewal=moment,
        )

    async def _note(
        self,
        held: Held,
        *,
        renewed_by: str | None = None,
        renewal_error: str | None = None,
        next_renewal: datetime | None = None,
    ) -> None:
        """Let administrators see how far it is; written only when it has changed."""
        moment = None if next_renewal is None else next_renewal.isoformat(timespec="seconds")
        record = held.record
        wanted = (renewed_by, renewal_error, moment)
        if (record.renewed_by, record.renewal_error, record.next_renewal) == wanted:
            return
        await self.ordering.signer.set_renewal(
            RenewalArgument(
                hash=record.hash,
                renewed_by=renewed_by,
                renewal_error=renewal_error,
                next_renewal=moment,
            )
        )

    def _now(self) -> datetime:
        return self.ordering.clock.now()


def _held(infos: list[TokenInfo]) -> dict[str, Held]:
    """All certificates by their hash."""
    return {
        record.hash: Held(info, key, record)
        for info in infos
        for key in info.token.keys
        for record in key.certificates
    }
