"""Does this server hold an authentication certificate that peers accept, and signing certificates?

Both checks judge what the signer holds by what peers will judge it by, the OCSP answers left to a
check of their own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.crypto.certificates import Certificate
from postroad.errors import PostroadError
from postroad.securityserver.certificate_states import WARN_BEFORE
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import short
from postroad.securityserver.doctor.registration import NAME as REGISTRATION
from postroad.securityserver.peer_certificates import path_to_authority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId, MemberId, SecurityServerId
    from postroad.ports import KeyCertificate
    from postroad.securityserver.doctor.patient import Patient

AUTHENTICATION: Final = "authentication certificate"
SIGNING: Final = "signing certificates"
_RENEW: Final = "request a new one and import it: postroad server csr, then cert import"
_REGISTER: Final = "postroad server register, and ask the Central Server's operator to approve"


async def examine_authentication(patient: Patient) -> Sequence[Finding]:
    """Look at the certificates for TLS between servers."""
    return judge_authentication(
        await patient.keys(),
        await patient.globalconf(),
        patient.settings.server_id,
        patient.clock.now(),
    )


async def examine_signing(patient: Patient) -> Sequence[Finding]:
    """Look at the certificates of the members that are served here."""
    view = await patient.serverconf()
    return judge_signing(
        await patient.keys(),
        await patient.globalconf(),
        [client.identifier for client in view.clients],
        patient.clock.now(),
    )


def judge_authentication(
    keys: Sequence[KeyCertificate],
    globalconf: GlobalConfiguration,
    server_id: SecurityServerId,
    at: datetime,
) -> list[Finding]:
    """One must be active, registered, valid, issued by an approved authority, and ours."""
    tell = Telling(AUTHENTICATION)
    candidates = [key for key in keys if key.usage == "AUTHENTICATION"]
    if not candidates:
        return [
            tell.failed("there is none", "postroad server key generate, csr, cert import, register")
        ]
    findings = [_of_authentication(key, globalconf, server_id, at) for key in candidates]
    return _best(findings)


def _of_authentication(
    key: KeyCertificate,
    globalconf: GlobalConfiguration,
    server_id: SecurityServerId,
    at: datetime,
) -> Finding:
    tell = Telling(AUTHENTICATION)
    certificate = Certificate.from_der(key.der)
    name = short(certificate.sha256)
    trouble = _usable(key, certificate, globalconf, server_id.instance, at, tell)
    if trouble is not None:
        return trouble
    belongs_to = globalconf.server_by_auth_certificate(certificate, server_id.instance)
    if belongs_to is None:
        return tell.failed(
            "the global configuration doesn't list it: peers refuse it",
            _REGISTER,
            name,
            (REGISTRATION,),
        )
    if belongs_to != server_id:
        return tell.failed(
            f"the global configuration lists it for another server, {belongs_to}",
            _REGISTER,
            name,
            (REGISTRATION,),
        )
    if key.status != "registered":
        return tell.failed(f"its status is {key.status!r}", _REGISTER, name)
    return _expiring(certificate, at, tell, name) or tell.ok(
        f"registered, active, valid until {certificate.not_after:%Y-%m-%d}", name
    )


def judge_signing(
    keys: Sequence[KeyCertificate],
    globalconf: GlobalConfiguration,
    clients: Sequence[ClientId],
    at: datetime,
) -> list[Finding]:
    """Every member that is served here needs one that can be used."""
    members = sorted({client.member for client in clients}, key=str)
    findings: list[Finding] = []
    for member in members:
        findings += _of_member(member, keys, globalconf, at)
    return findings or [Telling(SIGNING).failed("no client is configured", "postroad server apply")]


def _of_member(
    member: MemberId,
    keys: Sequence[KeyCertificate],
    globalconf: GlobalConfiguration,
    at: datetime,
) -> list[Finding]:
    tell = Telling(SIGNING)
    own = [key for key in keys if key.usage == "SIGNING" and key.member == member.encoded()]
    if not own:
        return [
            tell.failed(
                f"{member} has none: nothing is signed for it",
                f"postroad server csr for {member}, then cert import",
                str(member),
            )
        ]
    findings: list[Finding] = []
    for key in own:
        certificate = Certificate.from_der(key.der)
        name = f"{member} {short(certificate.sha256)}"
        trouble = _usable(key, certificate, globalconf, member.instance, at, tell, str(member))
        findings.append(
            trouble
            or _expiring(certificate, at, tell, name)
            or tell.ok(f"active, valid until {certificate.not_after:%Y-%m-%d}", name)
        )
    return _best(findings)


def _usable(  # noqa: PLR0917 - one certificate and what it is judged by
    key: KeyCertificate,
    certificate: Certificate,
    globalconf: GlobalConfiguration,
    instance: str,
    at: datetime,
    tell: Telling,
    owner: str = "",
) -> Finding | None:
    name = f"{owner} {short(certificate.sha256)}".strip()
    if at > certificate.not_after:
        return tell.failed(
            f"it has expired at {certificate.not_after:%Y-%m-%d %H:%M} UTC",
            _RENEW,
            name,
            ("clock",),
        )
    if at < certificate.not_before:
        return tell.failed(
            f"it is not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC",
            "wait, or look at the clock",
            name,
            ("clock",),
        )
    if not key.token_active:
        return tell.failed(
            "its token is away, or not logged in",
            "postroad server token login",
            name,
            ("token",),
        )
    if not key.active:
        return tell.failed("it is not active", "postroad server cert activate", name)
    try:
        path_to_authority(certificate, instance, globalconf, at)
    except PostroadError as error:
        return tell.failed(
            f"no approved authority vouches for it: {error.message}",
            "get a certificate from an approved certification service",
            name,
        )
    return None


def _expiring(certificate: Certificate, at: datetime, tell: Telling, name: str) -> Finding | None:
    left = certificate.not_after - at
    if left > WARN_BEFORE:
        return None
    return tell.warning(f"it expires in {left // timedelta(days=1)} days", _RENEW, name)


def _best(findings: list[Finding]) -> list[Finding]:
    """What is usable speaks for a whole group: a certificate beside it may be old or coming."""
    usable = [finding for finding in findings if not finding.is_sick]
    good = [finding for finding in usable if not finding.advice]
    return good or usable or findings
