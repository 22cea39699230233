"""Who may ask for what: is this management request proven, and by those who have a say in it?

The steps for the registration of an authentication certificate, in the reference's order:

1. all six parts are there
2. an approved authority of our instance issued the authentication certificate directly; it is
   valid now and made for authentication
3. the authentication key has signed the message
4. an approved authority of our instance issued the owner's certificate directly; it is valid now,
   made for signing, and a fresh, authorised OCSP response says that it's good
5. the owner's key has signed the message
6. it is sent to the management service of our instance, by somebody of our instance
7. the server's identifier holds no forbidden character
8. the sender owns the server
9. the certificate beside the message is the one inside
10. the owner's certificate names the owner
11. the address is one

The other requests come through a message exchange, which has authenticated the sender; of them the
signed ones take steps 1 and 4 to 8, and 10 for the member that the request concerns.

Stricter than the reference: a certificate from an authority approved for authentication only signs
nothing, every request must be addressed to the provider of the management services (6), and what a
server's owner must sign is signed by the owner, not by just any member (G-24). Source: PR-MSERV
4; reference: ``ManagementRequestVerifier`` and its callbacks.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import SignatureAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.crypto.ocsp import OcspResponse, require_good, verify_ocsp
from postroad.crypto.profiles import member_of_sign_certificate
from postroad.errors import FaultCode, PostroadError, RefusedRequest, TrustError
from postroad.identifiers import SubsystemId
from postroad.management.addresses import is_server_address
from postroad.management.requests import (
    AddressChange,
    AuthCertRegistration,
    ClientRegistration,
    ClientRenaming,
    OwnerChange,
    ServiceCode,
    Signer,
    invalid_identifier,
    invalid_request,
    member_concerned,
    parse_body,
    signer_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.globalconf.view import ApprovedCertificate, GlobalConfiguration
    from postroad.identifiers import MemberId, SecurityServerId
    from postroad.management.envelope import AttachedPart, ManagementMessage
    from postroad.management.requests import ManagementRequest

MAX_PART: Final = 255
_FORBIDDEN: Final = frozenset(":;%/\\\ufeff\u200b")


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """A request that its sender may make, with the message that it came in."""

    code: ServiceCode
    request: ManagementRequest
    message: ManagementMessage

    @property
    def message_digest(self) -> str:
        """What names the message among all others: the SHA-256 (hex) of its signed bytes."""
        return hashlib.sha256(self.message.soap).hexdigest()

    @property
    def is_dry_run(self) -> bool:
        """Whether the sender only wants to know if the request would be taken in."""
        return isinstance(self.request, AuthCertRegistration) and self.request.dry_run


def verify_registration(
    message: ManagementMessage, globalconf: GlobalConfiguration, *, at: datetime
) -> VerifiedRequest:
    """Judge the registration of an authentication certificate; see the steps above.

    Raises ``ConfigurationError`` (``global_conf_outdated``) when our own configuration isn't valid,
    ``MalformedInput``, ``TrustError`` or ``RefusedRequest`` with the code that the sender is told.
    """
    globalconf.ensure_valid(at)
    if message.code is not ServiceCode.AUTH_CERT_REGISTRATION:
        raise invalid_request(f"Unknown service code '{message.code.value}'")
    auth_signature, owner_signature, auth_part, owner_part, ocsp_part = _require_parts(
        message.parts, _REGISTRATION_PARTS
    )
    request = parse_body(message.body, message.code)
    if not isinstance(request, AuthCertRegistration):
        raise invalid_request("the body is no registration")
    auth_certificate = Certificate.from_der(auth_part.data)
    _verify_auth_certificate(auth_certificate, globalconf, at)
    _verify_signature(auth_certificate, auth_signature, message.soap, "authentication key")
    owner_certificate = Certificate.from_der(owner_part.data)
    issuer = _verify_sign_certificate(owner_certificate, ocsp_part.data, globalconf, at)
    _verify_signature(owner_certificate, owner_signature, message.soap, "owner")
    _require_management_service(message, globalconf)
    _check_server(request.server, message)
    if auth_part.data != request.auth_certificate:
        raise TrustError(
            "Authentication certificates do not match.", code=FaultCode.CERT_VALIDATION
        )
    _require_subject(owner_certificate, issuer, request.server.owner, globalconf)
    if not is_server_address(request.address or ""):
        raise invalid_request("Invalid server address")
    return VerifiedRequest(message.code, request, message)


def verify_management_request(
    message: ManagementMessage, globalconf: GlobalConfiguration, *, at: datetime
) -> VerifiedRequest:
    """Judge a request that came through a message exchange with the management service.

    The exchange has proven who the sender is: the caller lets nothing in that came another way.
    Raises as :func:`verify_registration`.
    """
    globalconf.ensure_valid(at)
    if message.code is ServiceCode.AUTH_CERT_REGISTRATION:
        raise invalid_request(f"Unknown service code '{message.code.value}'")
    is_signed = signer_of(message.code) is not Signer.NOBODY
    parts = _require_parts(message.parts, _SIGNED_PARTS if is_signed else ())
    request = parse_body(message.body, message.code)
    _check_content(request)
    signed_by: tuple[Certificate, ApprovedCertificate] | None = None
    if is_signed:
        signature, certificate_part, ocsp_part = parts
        certificate = Certificate.from_der(certificate_part.data)
        issuer = _verify_sign_certificate(certificate, ocsp_part.data, globalconf, at)
        _verify_signature(certificate, signature, message.soap, "signer")
        signed_by = certificate, issuer
    _require_management_service(message, globalconf)
    _check_server(request.server, message)
    if signed_by is not None:
        _require_subject(*signed_by, member_concerned(request), globalconf)
    return VerifiedRequest(message.code, request, message)


@dataclass(frozen=True, slots=True)
class _PartRule:
    name: str
    is_signature: bool = False


_REGISTRATION_PARTS: Final = (
    _PartRule("Auth signature", is_signature=True),
    _PartRule("Owner signature", is_signature=True),
    _PartRule("Auth certificate"),
    _PartRule("Owner certificate"),
    _PartRule("Owner certificate OCSP"),
)
_SIGNED_PARTS: Final = (
    _PartRule("Signature", is_signature=True),
    _PartRule("Certificate"),
    _PartRule("Certificate OCSP"),
)


def _require_parts(
    parts: Sequence[AttachedPart], rules: Sequence[_PartRule]
) -> Sequence[AttachedPart]:
    """Step 1. Servers test whether we answer by a message without parts: the texts matter."""
    for position, rule in enumerate(rules):
        part = parts[position] if position < len(parts) else None
        if rule.is_signature and (part is None or not part.algorithm):
            raise invalid_request(f"{rule.name} algorithm id is missing")
        if part is None or not part.data:
            raise invalid_request(f"{rule.name} is missing")
    if len(parts) > len(rules):
        raise invalid_request("Unexpected content in multipart")
    return parts


def _verify_auth_certificate(
    certificate: Certificate, globalconf: GlobalConfiguration, at: datetime
) -> None:
    """Step 2."""
    _approved_issuer(certificate, globalconf, at)
    if certificate.is_ca() or not certificate.is_authentication():
        raise TrustError(
            "the certificate to register is not made for authentication",
            code=FaultCode.CERT_VALIDATION,
        )


def _verify_sign_certificate(
    certificate: Certificate, ocsp: bytes, globalconf: GlobalConfiguration, at: datetime
) -> ApprovedCertificate:
    """Step 4; returns the approved authority that issued the certificate."""
    issuer = _approved_issuer(certificate, globalconf, at)
    if issuer.authentication_only or certificate.is_ca() or not certificate.is_signing():
        raise TrustError(
            "the signer's certificate is not made for signing", code=FaultCode.CERT_VALIDATION
        )
    responders = [
        responder.certificate
        for responder in globalconf.responders_of(issuer.certificate, globalconf.own_instance)
        if responder.certificate is not None
    ]
    verified = verify_ocsp(
        OcspResponse.parse(ocsp),
        certificate,
        issuer.certificate,
        at=at,
        policy=globalconf.ocsp_policy,
        responders=responders,
    )
    require_good(verified)
    return issuer


def _approved_issuer(
    certificate: Certificate, globalconf: GlobalConfiguration, at: datetime
) -> ApprovedCertificate:
    """The authority of our instance that issued a certificate directly, which is valid now."""
    candidates = globalconf.issuers_of(certificate, globalconf.own_instance)
    try:
        _leaf, issuer = verify_chain(
            certificate, [entry.certificate for entry in candidates], at=at
        )
    except PostroadError as error:
        raise TrustError(
            f"the certificate is not valid here: {error}", code=FaultCode.CERT_VALIDATION
        ) from error
    found = [entry for entry in candidates if entry.certificate == issuer]
    return next((entry for entry in found if not entry.authentication_only), found[0])


def _verify_signature(
    certificate: Certificate, part: AttachedPart, signed: bytes, whose: str
) -> None:
    """Steps 3 and 5; elliptic curve signatures are in DER here."""
    try:
        algorithm = SignatureAlgorithm.by_jca_name(part.algorithm or "")
        verify_signature(certificate.public_key, algorithm, part.data, signed, ecdsa_raw=False)
    except PostroadError as error:
        raise TrustError(
            f"the signature of the {whose} does not verify: {error}",
            code=FaultCode.INVALID_SIGNATURE_VALUE,
        ) from error


def _require_management_service(
    message: ManagementMessage, globalconf: GlobalConfiguration
) -> None:
    """Step 6."""
    provider = globalconf.management_service.provider
    if message.service.client != provider or message.client.instance != globalconf.own_instance:
        raise invalid_request(
            "Invalid management service address. Contact central server administrator."
        )


def _check_server(server: SecurityServerId, message: ManagementMessage) -> None:
    """Steps 7 and 8."""
    check_identifier(server.parts)
    if message.client != server.owner:
        raise RefusedRequest("Sender does not match server owner.", code=FaultCode.INVALID_REQUEST)


def _check_content(request: ManagementRequest) -> None:
    """What the body itself must fulfil, whoever sent it."""
    match request:
        case ClientRegistration():
            check_identifier(request.client.parts)
            if request.subsystem_name is not None and not isinstance(request.client, SubsystemId):
                raise invalid_request("Only a subsystem can be given a name")
        case ClientRenaming():
            if not isinstance(request.client, SubsystemId):
                raise invalid_request("Only name of subsystem can be changed")
            if not request.subsystem_name.strip():
                raise invalid_request("Invalid subsystem name")
        case OwnerChange():
            check_identifier(request.client.parts)
        case AddressChange() if not is_server_address(request.address):
            raise invalid_request("Invalid server address")
        case _:
            pass


def check_identifier(parts: Sequence[str]) -> None:
    """Refuse identifier parts that no registry holds (``invalid_client_identifier``)."""
    for part in parts:
        wrong = [c for c in part if c in _FORBIDDEN or unicodedata.category(c) == "Cc"]
        if wrong or not part.strip() or len(part) > MAX_PART:
            shown = f"the character {wrong[0]!r}" if wrong else "an empty or oversized part"
            raise invalid_identifier(f"the identifier {'/'.join(parts)[:200]!r} holds {shown}")


def _require_subject(
    certificate: Certificate,
    issuer: ApprovedCertificate,
    member: MemberId,
    globalconf: GlobalConfiguration,
) -> None:
    """Step 10."""
    named = member_of_sign_certificate(certificate, issuer.profile, globalconf.own_instance)
    if named != member:
        raise RefusedRequest(
            f"Subject identifier ({named}) in certificate does not match the identifier of the "
            f"member concerned ({member}) in request",
            code=FaultCode.INVALID_REQUEST,
        )
