"""Do the clocks agree, and if they don't, whose lies?

Heard are the time-stamping services (genTime), the Central Server (HTTP Date) and the OCSP
responders (producedAt). An OCSP answer may have been made long before it was asked for, so one from
the past accuses nobody, but may agree with others. Several clocks that differ from ours by the same
amount outvote it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.crypto.ocsp import OcspResponse
from postroad.errors import PostroadError
from postroad.securityserver.doctor.asking import ocsp_answers, stamps
from postroad.securityserver.doctor.configuration import download
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "clock"
TOLERANCE: Final = timedelta(seconds=60)
"""What OCSP answers and time-stamps may be ahead."""
NOTICEABLE: Final = timedelta(seconds=10)
_OURS: Final = "set this machine's clock, and keep it right: chrony or systemd-timesyncd"


@dataclass(frozen=True, slots=True)
class Reading:
    """What somebody's clock said when ours said ``ours``."""

    who: str
    theirs: datetime
    ours: datetime
    may_be_old: bool = False
    """Whether the moment may have been written down long before it was heard."""

    @property
    def ahead(self) -> timedelta:
        """How far their clock is ahead of ours."""
        return self.theirs - self.ours

    @property
    def accuses(self) -> bool:
        """Whether it proves by itself that two clocks differ."""
        return not self.may_be_old or self.ahead > timedelta(0)


async def examine(patient: Patient) -> Sequence[Finding]:
    """Hear everybody's clock."""
    return judge(await listen(patient))


async def listen(patient: Patient) -> list[Reading]:
    """Collect the moments in answers that other checks get as well."""
    told, stamped, downloaded = await asyncio.gather(
        attempt(ocsp_answers(patient)), attempt(stamps(patient)), attempt(download(patient))
    )
    readings: dict[str, Reading] = {}
    if not isinstance(stamped, PostroadError):
        for stamp in stamped:
            if stamp.claimed is not None:
                who = f"the time-stamping service {stamp.url}"
                readings[who] = Reading(who, stamp.claimed, stamp.at)
    if not isinstance(downloaded, PostroadError):
        for date in downloaded.dates:
            who = "the Central Server"
            readings[who] = Reading(who, date.said, date.at)
    if not isinstance(told, PostroadError):
        for entry in told:
            if isinstance(entry.answer, OcspResponse):
                who = f"the OCSP responder {entry.url}"
                reading = Reading(who, entry.answer.produced_at, entry.at, may_be_old=True)
                if who not in readings or reading.theirs > readings[who].theirs:
                    readings[who] = reading
    return list(readings.values())


def judge(readings: Sequence[Reading]) -> list[Finding]:
    """Name the clock that lies, as far as what was heard tells."""
    tell = Telling(NAME)
    off = [reading for reading in readings if abs(reading.ahead) > TOLERANCE]
    right = [reading for reading in readings if abs(reading.ahead) <= TOLERANCE]
    accusers = [reading for reading in off if reading.accuses]
    if not readings:
        return [tell.unknown("nobody whose clock could be compared with ours has answered")]
    if not accusers:
        return _judge_small(readings, tell)
    first = accusers[0]
    agreeing = [reading for reading in off if abs(reading.ahead - first.ahead) <= TOLERANCE]
    if right:
        return [
            tell.failed(
                f"the clock of {reading.who} is {_amount(reading.ahead)} the others",
                "tell its operator; nothing it says can be used until then",
                reading.who.rpartition(" ")[2],
            )
            for reading in accusers
        ]
    if len(agreeing) > 1:
        names = ", ".join(reading.who for reading in agreeing)
        return [
            tell.failed(
                f"our own clock is wrong: {names} agree that they are {_amount(first.ahead)} it",
                _OURS,
            )
        ]
    return [
        tell.failed(
            f"{' and '.join(_told(reading) for reading in off)}: who is right can't be told",
            _OURS,
        )
    ]


def _judge_small(readings: Sequence[Reading], tell: Telling) -> list[Finding]:
    strong = [reading for reading in readings if reading.accuses]
    if not strong:
        return [tell.unknown("only answers that may be old were heard")]
    worst = max(strong, key=lambda reading: abs(reading.ahead))
    if abs(worst.ahead) > NOTICEABLE:
        return [tell.warning(_told(worst), _OURS)]
    names = ", ".join(reading.who for reading in readings)
    return [tell.ok(f"within {NOTICEABLE.seconds} s of {names}")]


def _told(reading: Reading) -> str:
    return f"the clock of {reading.who} is {_amount(reading.ahead)} ours"


def _amount(ahead: timedelta) -> str:
    seconds = ahead.total_seconds()
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"
