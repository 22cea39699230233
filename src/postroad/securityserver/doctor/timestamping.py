"""Do the configured time-stamping services give time-stamps that can be proven?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, PostroadError, UnavailablePeer
from postroad.securityserver.doctor.asking import StampAnswer, stamps
from postroad.securityserver.doctor.clocks import TOLERANCE
from postroad.securityserver.doctor.findings import Finding, Telling, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "time-stamping"


async def examine(patient: Patient) -> Sequence[Finding]:
    """Get a time-stamp from each."""
    return judge(await stamps(patient))


def judge(answers: Sequence[StampAnswer]) -> list[Finding]:
    """One that works is enough to go on; the others are warned about."""
    tell = Telling(NAME)
    if not answers:
        return [
            tell.failed(
                "no time-stamping service is chosen: no message can be logged",
                "name one in the declaration, then: postroad server apply",
            )
        ]
    findings = [_judge(answer) for answer in answers]
    if any(finding.verdict is Verdict.OK for finding in findings):
        return [
            tell.warning(finding.seen, finding.advice, finding.subject)
            if finding.verdict is Verdict.FAILED
            else finding
            for finding in findings
        ]
    return findings


def _judge(entry: StampAnswer) -> Finding:
    tell = Telling(NAME)
    answer = entry.answer
    if isinstance(answer, UnavailablePeer):
        return tell.failed(
            f"it gives no answer: {answer.message}",
            "ask its operator, and look at the firewall between",
            entry.url,
        )
    if isinstance(answer, PostroadError):
        if answer.code is FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND:
            return tell.failed(
                "its time-stamps are signed with a certificate that is not approved",
                "ask the Central Server's operator to publish the service's present certificate",
                entry.url,
            )
        return tell.failed(
            f"it gives no usable time-stamp: {answer.message}", "ask its operator", entry.url
        )
    if abs(answer.gen_time - entry.at) > TOLERANCE:
        return tell.failed(
            f"its time-stamps say {answer.gen_time:%Y-%m-%d %H:%M:%S} UTC, which is not now",
            "ask its operator, or look at our own clock",
            entry.url,
            ("clock",),
        )
    if not entry.approved:
        return tell.warning(
            "the global configuration lists no service of this address",
            "choose one that it lists, then: postroad server apply",
            entry.url,
        )
    return tell.ok("gave a time-stamp that holds", entry.url)
