"""How is one certificate ordered by ACME, from its key to its import?

    key → request → order → challenge → request handed in → certificate → checks → import

Each step is noted before the next, and an order may be cut off and continued anywhere: the key is
found by its label, the request and the order by what was noted. Reference: AcmeService, with the
differences that an authorization which is valid already is no dead end, and that nothing is thrown
away by a failure.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from postroad import __version__
from postroad.adapters.acme_client import AcmeClient, AcmeRefusal, OrderAnswer
from postroad.adapters.signer_protocol import (
    CertificateRecord,
    KeyAlgorithm,
    KeyRecord,
    RequestArgument,
)
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.identifiers import MemberId
from postroad.securityserver.acme.challenge_port import shown_challenge
from postroad.securityserver.acme.credentials import AcmeAccounts
from postroad.securityserver.acme.delivery import verify_delivery
from postroad.securityserver.acme.offers import offer_named
from postroad.securityserver.certificates import import_certificate

if TYPE_CHECKING:
    from collections.abc import Collection

    from postroad.adapters.signer_client import SignerClient
    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import HttpFetcher
    from postroad.securityserver.acme.offers import AcmeOffer
    from postroad.securityserver.acme.order_book import OrderBook, OrderRecord
    from postroad.securityserver.settings import Settings

USER_AGENT: Final = f"X-Road/Postroad-{__version__}"
NOT_AFTER: Final = timedelta(days=365)
"""The reference's ORDER_NOT_AFTER_DAYS."""
MAX_WAIT: Final = 60.0
"""Seconds that a service may make us wait between two looks, whatever it asks for."""
_FORGOTTEN: Final = frozenset({"malformed", "orderNotFound", "accountDoesNotExist", "unauthorized"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """Works on orders; the caller holds the order book's lock."""

    settings: Settings
    signer: SignerClient
    fetcher: HttpFetcher
    book: OrderBook
    clock: Clock

    async def fulfil(
        self,
        record: OrderRecord,
        *,
        globalconf: GlobalConfiguration,
        local_members: Collection[MemberId],
    ) -> CertificateRecord:
        """Bring an order to its end, wherever it stands; the imported certificate.

        The order stays in the book until the caller has noted whatever it has to, and closes it.

        Raises ``AcmeRefusal`` and what else ``AcmeClient`` raises, ``TrustError`` for a certificate
        that isn't the one ordered, and what ``import_certificate`` refuses. The order is kept then.
        """
        offer = offer_named(globalconf, record.ca_name)
        key = await self._key(record)
        record = self._noted(record, key_id=key.id)
        if key.certificates:  # cut off between the import and the end
            return key.certificates[0]
        record, csr = await self._request(record, key)
        client = await self._client(record, offer)
        record, order = await self._order(record, client, offer)
        if order.status == "pending":
            order = await self._prove(record, client, order)
        if order.status == "ready":
            _name_profile(client, offer, record)
            order = await client.finalize(order, csr)
        order = await self._wait_for_certificate(record, client, order)
        pem = await client.certificate(order)
        try:
            verify_delivery(Certificate.from_pem_or_der(pem), csr, record, globalconf)
            imported = await import_certificate(
                self.signer,
                pem,
                globalconf=globalconf,
                local_members=local_members,
                at=self.clock.now(),
            )
        except PostroadError:
            self._noted(record, url="")  # asking for the same order again would bring the same
            raise
        return imported

    # ---- key and request

    async def _key(self, record: OrderRecord) -> KeyRecord:
        """The key of an order, made if there is none of its label yet."""
        for info in await self.signer.tokens():
            for key in info.token.keys:
                if key.id == record.key_id or (not record.key_id and key.label == record.label):
                    return key
        if record.key_id:
            self.book.close(record)
            raise ConfigurationError(
                f"the key of the order for the {record.what} is gone: the order is given up",
                code=FaultCode.KEY_NOT_FOUND,
            )
        return await self.signer.generate_key(
            record.label,
            algorithm=KeyAlgorithm(record.algorithm),
            usage=record.usage,
            token=record.token,
        )

    async def _request(self, record: OrderRecord, key: KeyRecord) -> tuple[OrderRecord, bytes]:
        if key.requests:
            made = await self.signer.remake_request(key.id, key.requests[-1].id)
        else:
            made = await self.signer.make_request(
                RequestArgument(
                    key_id=key.id,
                    usage=record.usage,
                    subject=record.subject,
                    member=record.member,
                    subject_alt_name=record.subject_alt_name,
                    profile=record.profile,
                )
            )
        return self._noted(record, request_id=made.id), made.der

    # ---- with the certification service

    async def _client(self, record: OrderRecord, offer: AcmeOffer) -> AcmeClient:
        owner = self.settings.server_id.owner
        member = owner if record.member is None else MemberId.parse(record.member)
        accounts = AcmeAccounts(self.settings)
        client = AcmeClient(
            self.fetcher,
            offer.directory_url,
            await asyncio.to_thread(
                accounts.key, offer.ca_name, offer.directory_url, member, record.usage
            ),
            user_agent=USER_AGENT,
        )
        await client.open_account(
            accounts.contact(member), accounts.external(offer.ca_name, member, record.usage)
        )
        return client

    async def _order(
        self,
        record: OrderRecord,
        client: AcmeClient,
        offer: AcmeOffer,
    ) -> tuple[OrderRecord, OrderAnswer]:
        """The order that was noted, or a new one when it is lost or has failed."""
        if record.url:
            try:
                found = (await client.order(record.url)).order
            except AcmeRefusal as refusal:
                if refusal.kind not in _FORGOTTEN:
                    raise
            else:
                if found.status != "invalid":
                    return record, found
        url, order = await client.new_order(
            record.name,
            not_after=self.clock.now() + NOT_AFTER,
            profile=offer.profile_id(record.usage),
            replaces=await self._replaced(record),
        )
        return self._noted(record, url=url), order

    async def _replaced(self, record: OrderRecord) -> Certificate | None:
        for entry in await self.signer.certificates() if record.replaces else ():
            certificate = Certificate.from_der(entry.der)
            if certificate.sha256.hex().upper() == record.replaces:
                return certificate
        return None

    async def _prove(
        self, record: OrderRecord, client: AcmeClient, order: OrderAnswer
    ) -> OrderAnswer:
        """Show what the challenges of all authorizations that are still open want."""
        for url in order.authorizations[:10]:
            authorization = await client.authorization(url)
            if authorization.status != "pending":
                continue
            challenge = next(
                (each for each in authorization.challenges if each.type == "http-01"), None
            )
            if challenge is None:
                raise AcmeRefusal("the certification service offers no HTTP-01 challenge")
            text = client.shown_for(challenge.token)
            async with shown_challenge(self.settings.acme, challenge.token, text):
                wait = 0.0
                if challenge.status == "pending":
                    wait = await client.accept(challenge)
                await self._wait_for_authorization(client, url, wait)
        return (await client.order(record.url)).order

    async def _wait_for_authorization(self, client: AcmeClient, url: str, wait: float) -> None:
        section = self.settings.acme
        for _attempt in range(section.acme_authorization_wait_attempts):
            await asyncio.sleep(_bounded(wait, section.acme_authorization_wait_interval))
            found = await client.authorization(url)
            if found.status == "valid":
                return
            if found.status != "pending":
                problems = [each.error.text for each in found.challenges if each.error]
                raise AcmeRefusal(
                    f"the certification service says of the challenge: {'; '.join(problems[:3])}"
                )
            wait = 0.0
        raise AcmeRefusal("the certification service has not looked at the challenge in time")

    async def _wait_for_certificate(
        self, record: OrderRecord, client: AcmeClient, order: OrderAnswer
    ) -> OrderAnswer:
        section = self.settings.acme
        wait = 0.0
        for _attempt in range(section.acme_certificate_wait_attempts):
            if order.status == "valid" and order.certificate:
                return order
            if order.status == "invalid":
                reason = "no reason given" if order.error is None else order.error.text
                raise AcmeRefusal(f"the certification service gave the order up: {reason}")
            await asyncio.sleep(_bounded(wait, section.acme_certificate_wait_interval))
            polled = await client.order(record.url)
            order, wait = polled.order, polled.retry_after
        if order.status == "valid" and order.certificate:
            return order
        raise AcmeRefusal("the certification service has not issued the certificate in time")

    def _noted(self, record: OrderRecord, **changes: str) -> OrderRecord:
        changed = msgspec.structs.replace(record, **changes)
        if changed != record:
            self.book.store(changed)
        return changed


def _name_profile(client: AcmeClient, offer: AcmeOffer, record: OrderRecord) -> None:
    """Name the certificate profile before the request is handed in (AcmeProfileIdConnection)."""
    profile = offer.profile_id(record.usage)
    if profile:
        client.user_agent = f"profile_id={profile} {USER_AGENT}"


def _bounded(asked: float, interval: float) -> float:
    return min(asked or interval, MAX_WAIT)
