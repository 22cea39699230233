"""Is the signer there, and are its tokens logged in?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import SOFTWARE_ID, TokenInfo, TokenStatus
from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "token"


async def examine(patient: Patient) -> Sequence[Finding]:
    """Ask the signer for its tokens."""
    section = patient.settings.tokens
    return judge(
        await attempt(patient.signer.tokens()),
        has_pin_source=bool(section.pin_file or section.pin_command),
    )


def judge(tokens: Sequence[TokenInfo] | PostroadError, *, has_pin_source: bool) -> list[Finding]:
    """Without an open token nothing is signed, and nobody can be connected to."""
    tell = Telling(NAME)
    if isinstance(tokens, PostroadError):
        return [
            tell.failed(
                f"the signer doesn't answer: {tokens.message}",
                "the supervisor starts it again by itself; its log tells why it ended",
                symptom_of=("server", "processes"),
            )
        ]
    return [_judge(info, tell, has_pin_source=has_pin_source) for info in tokens]


def _judge(info: TokenInfo, tell: Telling, *, has_pin_source: bool) -> Finding:
    name = f"{info.token.id} ({info.token.friendly_name})"
    finding = _state(info, tell, name, has_pin_source=has_pin_source)
    if info.token.id == SOFTWARE_ID:
        return finding
    # Which keys a hardware token holds is told by the certificates that need them.
    return Finding(
        check=finding.check,
        verdict=finding.verdict,
        seen=finding.seen,
        advice=finding.advice,
        subject=finding.subject,
        blocks=False,
    )


def _state(info: TokenInfo, tell: Telling, name: str, *, has_pin_source: bool) -> Finding:
    login = f"postroad server token login --token {info.token.id}"
    if not info.available:
        return tell.failed(
            f"it is away: {info.problem}", "plug it in, or look at its library and server", name
        )
    if info.status is TokenStatus.NOT_INITIALIZED:
        return tell.failed("it has no PIN yet", "postroad server token init", name)
    if info.active:
        return tell.ok(f"logged in, {len(info.available_keys)} keys usable", name)
    if info.status in {
        TokenStatus.USER_PIN_INCORRECT,
        TokenStatus.USER_PIN_FINAL_TRY,
        TokenStatus.USER_PIN_COUNT_LOW,
    }:
        return tell.failed(
            f"it is not logged in: the last PIN was wrong ({info.status.value})",
            f"correct the PIN source, then: {login}",
            name,
        )
    if info.status is not TokenStatus.OK:
        return tell.failed(f"its PIN is {info.status.value}", "unlock it, then: " + login, name)
    why = (
        "the PIN source of automatic login gave a wrong PIN or none (the signer's log tells)"
        if has_pin_source
        else "nobody gave its PIN since the start"
    )
    return tell.failed(f"it is not logged in: {why}", login, name)
