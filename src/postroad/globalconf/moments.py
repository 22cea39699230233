"""How are moments written in the configuration: expiry dates, generation times, stamps?

ISO 8601 with an offset, in UTC with ``Z`` when we write. Sources: PR-GCONF 2.6 (``Expire-date``),
annex E (``generatedAt``); reference: ``ConfigurationPartMetadata``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from postroad.globalconf.elements import malformed

_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)T(?P<clock>\d\d:\d\d)(?P<seconds>:\d\d)?(?P<fraction>\.\d{1,9})?"
    r"(?P<offset>Z|[+-]\d\d(:\d\d)?)?",
    re.ASCII,
)
_STAMP = re.compile(r"\d{14}\d{9}", re.ASCII)
_MILLISECONDS = re.compile(r"\d{12,14}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, *, assume_utc: bool = False) -> datetime:
    """Read a moment and return it in UTC; parts of a microsecond are dropped.

    >>> parse_moment("2035-11-11T05:07:40.5+02:00").isoformat()
    '2035-11-11T03:07:40.500000+00:00'

    ``assume_utc`` accepts a moment without an offset. Raises ``MalformedInput`` otherwise, and
    for any other shape.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None or not (assume_utc or match["offset"]):
        raise malformed(f"not a moment with an offset: {text[:60]!r}")
    fraction = (match["fraction"] or ".0")[:7].ljust(7, "0")
    offset = match["offset"] or "Z"
    try:
        moment = datetime.fromisoformat(
            f"{match['date']}T{match['clock']}{match['seconds'] or ':00'}{fraction}{offset}"
        )
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise malformed(f"no such moment: {text[:60]!r}") from None


def encode_moment(at: datetime) -> str:
    """Write a moment with whole seconds, the rest dropped.

    >>> encode_moment(datetime(2022, 12, 8, 8, 5, 1, 123000, tzinfo=UTC))
    '2022-12-08T08:05:01Z'
    """
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def encode_milliseconds(at: datetime) -> str:
    """Write a moment with milliseconds, as anchors carry it."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def encode_stamp(at: datetime) -> str:
    """Name the directory of one generation: 14 digits of the moment, 9 of its nanoseconds.

    >>> encode_stamp(datetime(2025, 11, 10, 17, 0, 0, 548026, tzinfo=UTC))
    '20251110170000548026000'
    """
    moment = at.astimezone(UTC)
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond:06d}000"


def parse_stamp(segment: str) -> datetime | None:
    """Read the name of a generation's directory; None when it doesn't tell a moment.

    Central servers write 23 digits, configuration proxies milliseconds since 1970.
    """
    try:
        if _STAMP.fullmatch(segment):
            moment = datetime.strptime(segment[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            return moment + timedelta(microseconds=int(segment[14:20]))
        if _MILLISECONDS.fullmatch(segment):
            return _EPOCH + timedelta(milliseconds=int(segment))
    except (ValueError, OverflowError):
        return None
    return None
