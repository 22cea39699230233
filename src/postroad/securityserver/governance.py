"""What may this server ask of the Central Server now, and what does it note when it has asked?

The rules of the reference (ClientService, SystemService, TokenCertificateService): what can only be
refused isn't sent. A status is set when the Central Server has taken the request in; what becomes
of it shows in the global configuration (``registrations``).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import CertificateStatus
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, RefusedRequest
from postroad.identifiers import MemberId, SubsystemId
from postroad.management.addresses import is_server_address
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRegistration,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    OwnerChange,
    ServiceCode,
    service_code_of,
)
from postroad.securityserver.globalconf_files import load_globalconf
from postroad.securityserver.management_client import opened_management_client
from postroad.securityserver.serverconf import clients, submissions
from postroad.securityserver.serverconf.revision import server_id as stored_server_id
from postroad.securityserver.serverconf.status import ClientStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.adapters.signer_client import SignerClient
    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId, SecurityServerId
    from postroad.management.requests import ManagementRequest
    from postroad.securityserver.management_client import ManagementClient, SubmittedRequest
    from postroad.securityserver.serverconf.repository import ServerConf
    from postroad.securityserver.settings import Settings

MAX_MESSAGE: Final = 255
"""Characters of a maintenance message."""
PATIENCE: Final = timedelta(minutes=10)
"""How long the same change isn't asked for again; by then it has been published, or undone."""

_REGISTRABLE: Final = frozenset({ClientStatus.SAVED})
_UNREGISTRABLE: Final = frozenset(
    {ClientStatus.REGISTERED, ClientStatus.REGISTRATION_IN_PROGRESS, ClientStatus.DISABLED}
)


@dataclass(frozen=True, slots=True)
class Governance:
    """Asks the Central Server for changes on behalf of one server."""

    conf: ServerConf
    requests: ManagementClient
    signer: SignerClient
    globalconf: GlobalConfiguration
    clock: Clock

    async def register_client(self, client: ClientId, name: str | None = None) -> SubmittedRequest:
        """Ask to register a client, its subsystem with a name.

        All methods raise ``RefusedRequest`` or ``ConfigurationError`` for what isn't sent at all,
        and what ``ManagementClient.submit`` raises.
        """
        if client == self._server.owner:
            raise _refused(f"{client} owns this server: it is registered with it")
        if client.instance != self._server.instance:
            raise _refused(f"{client} is of another instance than this server")
        if name is not None and not isinstance(client, SubsystemId):
            raise _refused(f"{client} is a member: only a subsystem is given a name")
        self._require_status(client, _REGISTRABLE, "registered")
        request = ClientRegistration(self._server, client, name or None)
        return await self._submit(
            request, client, name or "", status=ClientStatus.REGISTRATION_IN_PROGRESS
        )

    async def unregister_client(self, client: ClientId) -> SubmittedRequest:
        """Ask to end a client's registration, or the request for one that still waits."""
        if client == self._server.owner:
            raise _refused(f"{client} owns this server: it can't leave it")
        self._require_status(client, _UNREGISTRABLE, "unregistered")
        request = ClientDeletion(self._server, client)
        return await self._submit(request, client, status=ClientStatus.DELETION_IN_PROGRESS)

    async def disable_client(self, client: ClientId) -> SubmittedRequest:
        """Ask to take a client out of service for a while."""
        self._require_status(client, {ClientStatus.REGISTERED}, "disabled")
        if client == self.globalconf.management_service.provider:
            raise _refused(f"{client} provides the management services: nobody could enable it")
        request = ClientDisabling(self._server, client)
        return await self._submit(request, client, status=ClientStatus.DISABLING_IN_PROGRESS)

    async def enable_client(self, client: ClientId) -> SubmittedRequest:
        """Ask to put a client back into service."""
        self._require_status(client, {ClientStatus.DISABLED}, "enabled")
        request = ClientEnabling(self._server, client)
        return await self._submit(request, client, status=ClientStatus.ENABLING_IN_PROGRESS)

    async def rename_client(self, client: ClientId, name: str) -> SubmittedRequest:
        """Ask for another name of a subsystem."""
        name = name.strip()
        if not isinstance(client, SubsystemId):
            raise _refused(f"{client} is a member: only a subsystem is given a name")
        if not name or self.globalconf.name_of(client) == name:
            raise _refused(f"{name!r} is not another name")
        self._require_status(client, {ClientStatus.REGISTERED}, "renamed")
        self._require_news(ServiceCode.CLIENT_RENAMING, client, name)
        return await self._submit(ClientRenaming(self._server, client, name), client, name)

    async def change_owner(self, member: ClientId) -> SubmittedRequest:
        """Ask to give the server to another of its members; its identifier will change."""
        if not isinstance(member, MemberId):
            raise _refused(f"{member} is a subsystem: only members own servers")
        if member == self._server.owner:
            raise _refused(f"{member} owns this server already")
        self._require_status(member, {ClientStatus.REGISTERED}, "made the owner")
        return await self._submit(OwnerChange(self._server, member), member)

    async def change_address(self, address: str) -> SubmittedRequest:
        """Ask for another address under which other servers reach this one."""
        if not is_server_address(address):
            raise _refused(f"{address!r} is neither a host name nor an IP address")
        if self.globalconf.address_of(self._server) == address:
            raise _refused(f"the address is {address} already")
        self._require_news(ServiceCode.ADDRESS_CHANGE, None, address)
        return await self._submit(AddressChange(self._server, address), None, address)

    async def start_maintenance(self, message: str = "") -> SubmittedRequest:
        """Ask to tell other servers that this one is in maintenance, with a message for callers."""
        if len(message) > MAX_MESSAGE:
            raise _refused(f"the message has more than {MAX_MESSAGE} characters")
        if self.globalconf.maintenance_of(self._server) is not None:
            raise _refused("this server is in maintenance mode already")
        provider = self.globalconf.management_service.provider
        if self.globalconf.is_registered(provider, self._server):
            raise _refused("this server hosts the management services: nobody could end it")
        self._require_news(ServiceCode.MAINTENANCE_START, None, message)
        return await self._submit(MaintenanceStart(self._server, message or None), None, message)

    async def end_maintenance(self) -> SubmittedRequest:
        """Ask to tell other servers that this one works again."""
        if self.globalconf.maintenance_of(self._server) is None:
            raise _refused("this server is not in maintenance mode")
        self._require_news(ServiceCode.MAINTENANCE_END, None, "")
        return await self._submit(MaintenanceEnd(self._server), None)

    async def unregister_auth_certificate(self, fingerprint: str) -> SubmittedRequest:
        """Ask to end the registration of an authentication certificate, named by its SHA-256."""
        certificate = await self._registered_auth_certificate(fingerprint)
        digest = certificate.sha256.hex()
        request = AuthCertDeletion(self._server, certificate.der)
        submitted = await self._submit(request, None, digest)
        await self.signer.set_certificate(digest, status=CertificateStatus.DELETION_IN_PROGRESS)
        return submitted

    # ---- what they share

    @property
    def _server(self) -> SecurityServerId:
        with self.conf.read() as session:
            return stored_server_id(session)

    def _require_status(
        self, client: ClientId, allowed: set[ClientStatus] | frozenset[ClientStatus], what: str
    ) -> None:
        with self.conf.read() as session:
            status = ClientStatus(clients.get_client(session, client).status)
        if status not in allowed:
            raise _refused(f"{client} is {status.value}: it can't be {what}")

    def _require_news(self, code: ServiceCode, client: ClientId | None, value: str) -> None:
        """Refuse what was asked for a moment ago."""
        with self.conf.read() as session:
            for row in submissions.open_requests(session, frozenset({code}), client):
                if row.value == value and self.clock.now() - row.submitted_at < PATIENCE:
                    raise _refused(
                        "the same was asked for a moment ago: the global configuration will show it"
                    )

    async def _submit(
        self,
        request: ManagementRequest,
        client: ClientId | None,
        value: str = "",
        *,
        status: ClientStatus | None = None,
    ) -> SubmittedRequest:
        submitted = await self.requests.submit(request, self.globalconf)
        with self.conf.change() as session:
            if status is not None and client is not None:
                clients.set_status(session, client, status)
            submissions.note(
                session,
                service_code_of(request),
                client,
                value,
                request_id=submitted.request_id,
                at=self.clock.now(),
            )
        return submitted

    async def _registered_auth_certificate(self, fingerprint: str) -> Certificate:
        wanted = fingerprint.replace(":", "").lower()
        known = {CertificateStatus.REGISTERED, CertificateStatus.REGISTRATION_IN_PROGRESS}
        found = [
            certificate
            for entry in await self.signer.certificates()
            if entry.usage == "AUTHENTICATION" and CertificateStatus(entry.status) in known
            if (certificate := Certificate.from_der(entry.der)).sha256.hex().startswith(wanted)
        ]
        if not wanted or len(found) != 1:
            raise ConfigurationError(
                f"{len(found)} registered authentication certificates could be meant: name one by "
                "its SHA-256",
                code=FaultCode.CERT_NOT_FOUND,
            )
        return found[0]


def _refused(message: str) -> RefusedRequest:
    return RefusedRequest(message, code=FaultCode.INVALID_REQUEST)


@contextmanager
def opened_governance(
    settings: Settings, conf: ServerConf, signer: SignerClient, clock: Clock
) -> Iterator[Governance]:
    """The governance of a server, by the global configuration as it is stored now."""
    globalconf = load_globalconf(settings)
    globalconf.ensure_valid(clock.now())
    with opened_management_client(settings, signer) as requests:
        yield Governance(conf, requests, signer, globalconf, clock)
