"""Do the OCSP responders say now that our certificates are good, and may they say so?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.crypto.ocsp import (
    DEFAULT_SKEW,
    CertificateStatus,
    OcspResponse,
    verify_responder,
)
from postroad.errors import PostroadError, UnavailablePeer
from postroad.securityserver.doctor.asking import OcspAnswer, ocsp_answers
from postroad.securityserver.doctor.findings import Finding, Telling, Verdict
from postroad.securityserver.doctor.patient import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "OCSP"
_OPERATOR: Final = "ask the operator of the certification service"


async def examine(patient: Patient) -> Sequence[Finding]:
    """Ask them all, freshly, and prove what they say."""
    return judge(await ocsp_answers(patient), await patient.globalconf())


def judge(answers: Sequence[OcspAnswer], globalconf: GlobalConfiguration) -> list[Finding]:
    """Each certificate needs one responder that proves it good; bad news counts from any."""
    if not answers:
        return [
            Telling(NAME).failed(
                "there is nobody to ask: no active certificate, or no responder for any",
                _OPERATOR,
                symptom_of=("authentication certificate", "signing certificates"),
            )
        ]
    by_certificate: dict[bytes, list[Finding]] = {}
    for entry in answers:
        findings = by_certificate.setdefault(entry.target.subject.sha256, [])
        findings.append(_judge(entry, globalconf))
    told: list[Finding] = []
    for findings in by_certificate.values():
        told += _together(findings)
    return _grouped(told)


def _together(findings: Sequence[Finding]) -> list[Finding]:
    """Several responders of one certificate: one that answers well is enough to go on."""
    tell = Telling(NAME)
    good = [finding for finding in findings if finding.verdict is Verdict.OK]
    bad = [finding for finding in findings if finding.verdict is Verdict.FAILED]
    if not good or any("says" in finding.seen for finding in bad):
        return bad or list(findings)
    return [good[0], *(tell.warning(each.seen, each.advice, each.subject) for each in bad)]


def _grouped(findings: Sequence[Finding]) -> list[Finding]:
    """A responder that is down is down once, not for each certificate."""
    seen: dict[tuple[Verdict, str, str], Finding] = {}
    for finding in findings:
        seen.setdefault((finding.verdict, finding.subject, finding.seen), finding)
    return list(seen.values())


def _judge(entry: OcspAnswer, globalconf: GlobalConfiguration) -> Finding:
    tell = Telling(NAME)
    subject, issuer = entry.target.subject, entry.target.issuer
    name = short(subject.sha256)
    who = f"the OCSP responder {entry.url}"
    if isinstance(entry.answer, PostroadError):
        down = isinstance(entry.answer, UnavailablePeer)
        what = "gives no answer" if down else "gives no OCSP response"
        return tell.failed(f"{who} {what}: {entry.answer.message}", _OPERATOR, entry.url)
    response = entry.answer
    if not response.matches(subject, issuer):
        return tell.failed(
            f"{who} answered about another certificate than asked: serial number "
            f"{_serial(response)}, not {subject.serial:x}",
            f"{_OPERATOR}; somebody may be replaying answers",
            name,
        )
    try:
        verify_responder(
            response,
            subject,
            issuer,
            responders=[
                responder.certificate
                for responder in globalconf.responders_of(issuer)
                if responder.certificate is not None
            ],
            ca_certificates=globalconf.ca_certificates(),
        )
    except PostroadError as error:
        return tell.failed(f"{who} may not be believed: {error.message}", _OPERATOR, name)
    return _judge_moment(entry, response, globalconf, name) or _judge_status(response, who, name)


def _serial(response: OcspResponse) -> str:
    return "unreadable" if response.cert_id is None else f"{response.cert_id.serial:x}"


def _judge_moment(
    entry: OcspAnswer, response: OcspResponse, globalconf: GlobalConfiguration, name: str
) -> Finding | None:
    tell = Telling(NAME)
    policy = globalconf.ocsp_policy
    who = f"the OCSP responder {entry.url}"
    age = entry.at - response.this_update
    if age > policy.freshness:
        return tell.failed(
            f"{who} gives stale answers: of {response.this_update:%Y-%m-%d %H:%M:%S} UTC, older "
            f"than {policy.freshness.total_seconds():.0f} s",
            f"{_OPERATOR}: its clock is behind, or it isn't updated",
            entry.url,
            ("clock",),
        )
    if -age > DEFAULT_SKEW:
        return tell.failed(
            f"{who} answers from the future: {response.this_update:%Y-%m-%d %H:%M:%S} UTC",
            f"{_OPERATOR}: its clock is ahead",
            entry.url,
            ("clock",),
        )
    ended = response.next_update is not None and entry.at > response.next_update
    if policy.verify_next_update and ended:
        return tell.failed(f"{who} gives answers that have ended", _OPERATOR, name, ("clock",))
    return None


def _judge_status(response: OcspResponse, who: str, name: str) -> Finding:
    tell = Telling(NAME)
    match response.status:
        case CertificateStatus.GOOD:
            return tell.ok(f"good, says {who}", name)
        case CertificateStatus.REVOKED if response.on_hold:
            return tell.failed(
                f"{who} says that the certificate is suspended",
                "ask the certification service to end the suspension",
                name,
            )
        case CertificateStatus.REVOKED:
            since = "" if response.revoked_at is None else f" since {response.revoked_at:%Y-%m-%d}"
            return tell.failed(
                f"{who} says that the certificate is revoked{since}",
                "get a new one: postroad server csr, cert import; find out why it was revoked",
                name,
            )
        case _:
            return tell.failed(f"{who} says that it doesn't know the certificate", _OPERATOR, name)
