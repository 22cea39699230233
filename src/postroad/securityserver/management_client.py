"""How does a server ask the Central Server to change the registry?

The registration of an authentication certificate goes straight to the Central Server, over TLS
that is pinned to the certificate in the private parameters; the ten other requests are messages to
the management services, signed here and exchanged like any other. Signing keys stay in the signer.
Source: PR-MSERV; reference: ``ManagementRequestSender``, ``CentralServerHandler``.
"""

from __future__ import annotations

import secrets
import string
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import ClientTls, HttpClient
from postroad.adapters.signer_protocol import CertificateStatus
from postroad.adapters.system_clock import SystemClock
from postroad.adapters.tls import provider_client_context
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import require_good
from postroad.errors import (
    ConfigurationError,
    FaultCode,
    MalformedInput,
    RemoteFault,
    TrustError,
)
from postroad.management.addresses import is_server_address
from postroad.management.envelope import (
    SOAP_TYPE,
    AttachedPart,
    encode_message,
    encode_multipart,
    parse_reply,
    signature_part,
)
from postroad.management.requests import (
    AuthCertRegistration,
    Signer,
    member_concerned,
    service_code_of,
    signer_of,
)
from postroad.securityserver.ocsp_fetching import OcspClient, targets_of
from postroad.securityserver.own_proxy import open_own_proxy
from postroad.securityserver.signing import algorithm_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroad.adapters.signer_client import SignerClient
    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import MemberId, SecurityServerId
    from postroad.management.requests import ManagementRequest
    from postroad.ports import KeyCertificate
    from postroad.securityserver.own_proxy import OwnProxy
    from postroad.securityserver.settings import Settings

DIGEST: Final = DigestAlgorithm.SHA512
TIMEOUT: Final = 60.0
MAX_REPLY: Final = 1024 * 1024
ALREADY_SUBMITTED: Final = "management_request_exists"
"""What the Central Server says while the same request waits for approval (G-26)."""


@dataclass(frozen=True, slots=True)
class SubmittedRequest:
    """A request that the Central Server has taken in; no id if it had the same one already."""

    request_id: int | None


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A management request ready to be sent: its content type and body, and the SOAP inside."""

    content_type: str
    body: bytes
    soap: bytes


class ManagementClient:
    """Makes, signs and sends management requests for one server.

    ``new_id`` gives a query id and ``new_boundary`` a MIME boundary, both never the same twice.
    """

    def __init__(
        self,
        server_id: SecurityServerId,
        *,
        signer: SignerClient,
        http: HttpClient,
        ocsp: OcspClient,
        clock: Clock,
        new_id: Callable[[], str],
        new_boundary: Callable[[], str],
        own_proxy: Callable[[], OwnProxy],
    ) -> None:
        self._server_id = server_id
        self._own_proxy = own_proxy
        self._signer = signer
        self._http = http
        self._ocsp = ocsp
        self._clock = clock
        self._new_id = new_id
        self._new_boundary = new_boundary
        self._tls = ClientTls(provider_client_context())

    async def register_auth_certificate(
        self, certificate: Certificate, address: str, globalconf: GlobalConfiguration
    ) -> SubmittedRequest:
        """Ask for the registration of one of our authentication certificates, and note that.

        Raises ``RemoteFault`` with the Central Server's refusal, ``TrustError`` when it isn't who
        answers, ``ConfigurationError`` when something of ours is missing.
        """
        globalconf.ensure_valid(self._clock.now())
        if not is_server_address(address):
            raise ConfigurationError(
                f"{address!r} is neither a host name nor an IP address",
                code=FaultCode.INVALID_REQUEST,
            )
        key = await self._key_of(certificate)
        request = AuthCertRegistration(self._server_id, certificate.der, address)
        owner = self._server_id.owner
        owner_key, owner_certificate = await self._signing_key(owner)
        response = await self._ocsp_response(owner_certificate, globalconf)
        soap = self._soap(request, globalconf)
        parts = (
            await self._signature(key, certificate, soap),
            await self._signature(owner_key, owner_certificate, soap),
            AttachedPart(certificate.der),
            AttachedPart(owner_certificate.der),
            AttachedPart(response),
        )
        message = self._multipart(soap, parts)
        try:
            submitted = SubmittedRequest(await self._send_directly(message, globalconf))
        except RemoteFault as fault:
            if ALREADY_SUBMITTED not in fault.message:
                raise
            submitted = SubmittedRequest(None)
        await self._signer.set_certificate(
            certificate.sha256.hex(), status=CertificateStatus.REGISTRATION_IN_PROGRESS
        )
        return submitted

    async def probe_registration_service(self, globalconf: GlobalConfiguration) -> None:
        """Find out if the Central Server would hear a registration; nothing is registered.

        A message without signatures and certificates: older Central Servers know no dry run and
        would take a whole one in (G-28). Its refusal as an invalid request is the proof wanted.
        Raises what :meth:`register_auth_certificate` raises for any other outcome.
        """
        globalconf.ensure_valid(self._clock.now())
        request = AuthCertRegistration(self._server_id, b"", dry_run=True)
        message = self._multipart(self._soap(request, globalconf), ())
        try:
            await self._send_directly(message, globalconf)
        except RemoteFault as fault:
            if fault.code_text not in {"invalid_request", "InvalidRequest"}:
                raise

    async def submit(
        self, request: ManagementRequest, globalconf: GlobalConfiguration
    ) -> SubmittedRequest:
        """Send one of the ten requests that are exchanged as messages.

        The server's owner sends it to the provider of the management services, through our own
        client proxy, as any information system would. Raises ``RemoteFault`` with what a proxy or
        the Central Server refuses, and what :meth:`sign` and ``OwnProxy.post`` raise.
        """
        globalconf.ensure_valid(self._clock.now())
        message = await self.sign(request, globalconf)
        answer = await self._own_proxy().post(message.content_type, message.body)
        try:
            return SubmittedRequest(parse_reply(answer, message.soap))
        except RemoteFault as fault:
            if ALREADY_SUBMITTED not in fault.message:
                raise
            return SubmittedRequest(None)

    async def sign(
        self, request: ManagementRequest, globalconf: GlobalConfiguration
    ) -> SignedMessage:
        """Make one of the ten requests that are exchanged as messages, with what proves it.

        The client's member signs, or the server's owner; deletions aren't signed.
        """
        soap = self._soap(request, globalconf)
        signer = signer_of(service_code_of(request))
        if signer is Signer.SERVER_AND_OWNER:
            raise ConfigurationError("authentication certificates are registered directly")
        if signer is Signer.NOBODY:
            return SignedMessage(SOAP_TYPE, soap, soap)
        key, certificate = await self._signing_key(member_concerned(request))
        response = await self._ocsp_response(certificate, globalconf)
        parts = (
            await self._signature(key, certificate, soap),
            AttachedPart(certificate.der),
            AttachedPart(response),
        )
        return self._multipart(soap, parts)

    def _soap(self, request: ManagementRequest, globalconf: GlobalConfiguration) -> bytes:
        return encode_message(
            request,
            sender=self._server_id.owner,
            provider=globalconf.management_service.provider,
            query_id=self._new_id(),
        )

    def _multipart(self, soap: bytes, parts: Sequence[AttachedPart]) -> SignedMessage:
        content_type, body = encode_multipart(soap, parts, self._new_boundary())
        return SignedMessage(content_type, body, soap)

    async def _send_directly(self, message: SignedMessage, globalconf: GlobalConfiguration) -> int:
        """Send a registration to the address in the private parameters; its number."""
        service = globalconf.management_service
        pinned = service.registration_certificate
        if pinned is None or not service.registration_address.lower().startswith("https://"):
            raise ConfigurationError(
                "the global configuration names no certificate of the registration service",
                code=FaultCode.SSL_AUTHENTICATION_FAILED,
            )

        async def is_pinned(shown: bytes, _chain: tuple[bytes, ...]) -> None:
            if shown != pinned:
                raise TrustError(
                    "the registration service shows another certificate than the global "
                    "configuration says",
                    code=FaultCode.SSL_AUTHENTICATION_FAILED,
                )

        response = await self._http.fetch(
            "POST",
            service.registration_address,
            headers=(("Content-Type", message.content_type),),
            body=message.body,
            timeout=TIMEOUT,
            max_body=MAX_REPLY,
            tls=self._tls,
            verify_peer=is_pinned,
        )
        if response.status not in {200, 500} and not response.body:
            raise MalformedInput(
                f"the registration service answered with status {response.status}",
                code=FaultCode.HTTP_ERROR,
            )
        return parse_reply(response.body, message.soap)

    async def _key_of(self, certificate: Certificate) -> KeyCertificate:
        for entry in await self._signer.certificates():
            if entry.der == certificate.der and entry.usage == "AUTHENTICATION":
                return entry
        raise ConfigurationError(
            "the certificate is not an authentication certificate of this server",
            code=FaultCode.CERT_NOT_FOUND,
        )

    async def _signing_key(self, member: MemberId) -> tuple[KeyCertificate, Certificate]:
        """The newest usable signing certificate of a member, with its key."""
        at = self._clock.now()
        usable = [
            (entry, Certificate.from_der(entry.der))
            for entry in await self._signer.certificates()
            if entry.usage == "SIGNING" and entry.active and entry.member == member.encoded()
        ]
        usable = [pair for pair in usable if pair[1].is_valid_at(at)]
        if not usable:
            raise ConfigurationError(
                f"{member} has no active signing certificate here", code=FaultCode.CERT_NOT_FOUND
            )
        return max(usable, key=lambda pair: pair[1].not_before)

    async def _ocsp_response(
        self, certificate: Certificate, globalconf: GlobalConfiguration
    ) -> bytes:
        target = targets_of(certificate, globalconf)[0]
        fetched = await self._ocsp.fetch(target, globalconf)
        require_good(fetched.verified)
        return fetched.der

    async def _signature(
        self, key: KeyCertificate, certificate: Certificate, soap: bytes
    ) -> AttachedPart:
        algorithm = algorithm_of(certificate, rsa_pss=key.rsa_pss)
        value = await self._signer.sign(key.key_id, DIGEST, DIGEST.digest(soap))
        return signature_part(algorithm, value)


@contextmanager
def opened_management_client(
    settings: Settings, signer: SignerClient
) -> Iterator[ManagementClient]:
    """The management client of a server, with connections of its own for as long as the block."""
    clock, http = SystemClock(), HttpClient()
    try:
        yield ManagementClient(
            settings.server_id,
            signer=signer,
            http=http,
            ocsp=OcspClient(settings.ocsp_path, http, clock),
            clock=clock,
            new_id=lambda: str(uuid.uuid4()),
            new_boundary=_boundary,
            own_proxy=lambda: open_own_proxy(settings, http),
        )
    finally:
        http.close()


def _boundary() -> str:
    return "postroad" + "".join(secrets.choice(string.ascii_letters) for _ in range(30))


def choose_auth_certificate(
    entries: Sequence[KeyCertificate], fingerprint: str | None = None
) -> Certificate:
    """The authentication certificate to register: the one named, or the only one not registered.

    ``fingerprint`` is the beginning of its SHA-256 in hex. Raises ``ConfigurationError``
    (``cert_not_found``) when that names none or several.
    """
    wanted = (fingerprint or "").replace(":", "").lower()
    found = [
        Certificate.from_der(entry.der)
        for entry in entries
        if entry.usage == "AUTHENTICATION"
        and (wanted or entry.status != CertificateStatus.REGISTERED.value)
    ]
    found = [each for each in found if each.sha256.hex().startswith(wanted)]
    if len(found) != 1:
        raise ConfigurationError(
            f"{len(found)} authentication certificates could be meant: name one by its SHA-256",
            code=FaultCode.CERT_NOT_FOUND,
        )
    return found[0]
