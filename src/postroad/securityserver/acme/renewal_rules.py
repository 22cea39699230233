"""When is a certificate renewed, when is the new one used, and when is the old one given up?

Pure decisions. Reference: AcmeClientWorker (what is renewed and when) and its settings; where it
leaves the old certificate to a person, the rule here is ours: never before the new one has proven
to work, and a day after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import CertificateStatus, KeyUsage
from postroad.crypto.certificates import Certificate

if TYPE_CHECKING:
    from postroad.adapters.signer_protocol import CertificateRecord, KeyRecord
    from postroad.securityserver.settings_sections import AcmeSection

KEEP_OLD: Final = timedelta(days=1)
"""How long both certificates are active: every peer has read the new one in its configuration."""
MIN_AGE: Final = timedelta(days=1)
"""How old a certificate is at least when it is renewed."""
MAX_FAILURES: Final = 16
"""From there on the delay grows no more anyway."""


class Next(Enum):
    """What is to be done for a certificate that has a successor."""

    REGISTER = "register"
    """Ask the Central Server to register the new one."""
    WAIT = "wait"
    """For the registry, or for an administrator."""
    ACTIVATE = "activate"
    """Use the new one, if its OCSP answer is good."""
    RETIRE = "retire"
    """Use the old one no longer."""
    DONE = "done"


def is_candidate(key: KeyRecord, record: CertificateRecord) -> bool:
    """Whether a certificate is one to renew: in use, known to the registry, without successor."""
    return (
        key.usage is not None
        and record.active
        and record.status is CertificateStatus.REGISTERED
        and record.renewed_by is None
    )


def due_moment(
    life: tuple[datetime, datetime],
    section: AcmeSection,
    window: tuple[datetime, datetime] | None,
    part: float,
) -> datetime:
    """When a certificate is to be renewed.

    ``life`` is from when to when it is valid. ``window`` is what its service suggests, and ``part``
    (0 to 1) which part of that to let pass: a random one, so that not everybody comes at once
    (RFC 9773, 4.2). Never after its end, and not within its first day (or third): whatever service
    or settings say, a new certificate isn't renewed again and again.
    """
    begin, end = life
    if window is not None:
        wanted = window[0] + (window[1] - window[0]) * part
    else:
        wanted = end - timedelta(days=section.acme_renewal_time_before_expiration_date)
        if wanted <= begin:  # its whole life is shorter than that
            wanted = begin + (end - begin) * 2 / 3
    return min(max(wanted, begin + min(MIN_AGE, (end - begin) / 3)), end)


def retry_delay(failures: int, asked: float, section: AcmeSection) -> float:
    """Seconds until the next attempt after so many failures; ``asked`` is the service's wish."""
    doubled: float = section.acme_renewal_retry_delay * 2 ** (min(failures, MAX_FAILURES) - 1)
    limit = max(section.acme_renewal_interval, section.acme_renewal_retry_delay)
    return max(min(doubled, limit), asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """A certificate, and the one that is to take its place."""

    usage: KeyUsage
    old: CertificateRecord
    new: CertificateRecord
    is_listed: bool
    """Whether the global configuration lists the new one for this server (authentication)."""
    is_good: bool
    """Whether the stored OCSP response for the new one is good now."""
    active_since: datetime | None
    """When the new one was seen active first."""


def next_step(succession: Succession, section: AcmeSection, at: datetime) -> Next:
    """What is to be done now."""
    old, new = succession.old, succession.new
    authentication = succession.usage is KeyUsage.AUTHENTICATION
    automatic = (
        section.automatic_activate_auth_certificate
        if authentication
        else section.automatic_activate_acme_sign_certificate
    )
    if not new.active:
        if authentication and new.status is CertificateStatus.SAVED:
            return Next.REGISTER
        known = new.status is CertificateStatus.REGISTERED
        usable = known and (succession.is_listed or not authentication)
        return Next.ACTIVATE if automatic and usable else Next.WAIT
    if not old.active:
        return Next.DONE
    proven = (
        new.status is CertificateStatus.REGISTERED
        and (succession.is_listed or not authentication)
        and succession.is_good
        and Certificate.from_der(new.der).is_valid_at(at)
        and succession.active_since is not None
        and at - succession.active_since >= KEEP_OLD
    )
    return Next.RETIRE if automatic and proven else Next.WAIT
