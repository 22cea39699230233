"""How do our own certificates stand: OCSP, expiry, what an operator must do soon?

Words of the OCSP state as in the reference (its certificate details), warnings are ours: a key is
useless from the second its last certificate expires, and getting a new one takes people days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import CertificateStatus, OcspResponse
from postroad.errors import PostroadError
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.ocsp_fetching import targets_of, verify_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import KeyCertificate

WARN_BEFORE: Final = timedelta(days=30)
URGENT_BEFORE: Final = timedelta(days=7)
LOOK_INTERVAL: Final = 3600.0


class OcspState(StrEnum):
    """What an administrator sees of a certificate; the first that applies."""

    DISABLED = "DISABLED"
    """Not active: nobody asks about it."""
    EXPIRED = "EXPIRED"
    GOOD = "OCSP_RESPONSE_GOOD"
    SUSPENDED = "OCSP_RESPONSE_SUSPENDED"
    REVOKED = "OCSP_RESPONSE_REVOKED"
    UNKNOWN = "OCSP_RESPONSE_UNKNOWN"
    """The responder doesn't know it, or there is no response that holds now."""


def ocsp_state(
    key: KeyCertificate,
    responses: Mapping[bytes, bytes],
    globalconf: GlobalConfiguration,
    at: datetime,
) -> OcspState:
    """The state of one of our certificates; ``responses`` are DER by SHA-1 of the certificate."""
    certificate = Certificate.from_der(key.der)
    if not key.active:
        return OcspState.DISABLED
    if at > certificate.not_after:
        return OcspState.EXPIRED
    response = responses.get(certificate.sha1)
    if response is None:
        return OcspState.UNKNOWN
    try:
        verified = verify_for(targets_of(certificate, globalconf)[0], response, globalconf, at)
        on_hold = OcspResponse.parse(response).on_hold
    except PostroadError:
        return OcspState.UNKNOWN
    revoked = OcspState.SUSPENDED if on_hold else OcspState.REVOKED
    told = {CertificateStatus.GOOD: OcspState.GOOD, CertificateStatus.REVOKED: revoked}
    return told.get(verified.status, OcspState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class ExpiryWarning:
    """A certificate in use that ends soon, or has ended."""

    certificate: Certificate
    usage: str
    member: str | None
    left: timedelta
    """Negative when it has expired."""

    @property
    def text(self) -> str:
        """One sentence for the operator."""
        owner = f" of {self.member}" if self.member else ""
        days = self.left // timedelta(days=1)
        when = "has expired" if self.left < timedelta(0) else f"expires in {days} days"
        return (
            f"the {self.usage.lower()} certificate{owner} ({self.certificate.sha256.hex()[:16]}) "
            f"{when}: request a new one and import it beside this one"
        )


def expiry_warnings(keys: Sequence[KeyCertificate], at: datetime) -> list[ExpiryWarning]:
    """What ends within 30 days and has no successor, the most urgent first.

    A successor is another active, registered certificate of the same usage and member that is
    valid for longer than those 30 days.
    """
    lasting = {
        (key.usage, key.member)
        for key in keys
        if key.active
        and key.status == "registered"
        and Certificate.from_der(key.der).not_after - at > WARN_BEFORE
    }
    found = [
        ExpiryWarning(certificate, key.usage, key.member, certificate.not_after - at)
        for key in keys
        if key.active and (key.usage, key.member) not in lasting
        for certificate in (Certificate.from_der(key.der),)
        if certificate.not_after - at <= WARN_BEFORE
    ]
    return sorted(found, key=lambda warning: warning.left)


class ExpiryJob:
    """Tells once an hour which certificates end soon, in the log and in the job's status."""

    def __init__(
        self,
        certificates: Callable[[], Awaitable[Sequence[KeyCertificate]]],
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self._certificates = certificates
        self._clock = clock
        self._warn = warn

    async def run(self) -> Outcome:
        """Look once."""
        warnings = expiry_warnings(await self._certificates(), self._clock.now())
        for warning in warnings:
            self._warn(warning.text)
        return Outcome(LOOK_INTERVAL, {"warnings": [warning.text for warning in warnings]})
