"""When is the automatic backup due?"""

from __future__ import annotations

from datetime import datetime, timedelta


def seconds_until_daily(at: datetime) -> float:
    """How long it is until the next automatic backup, at 03:15 UTC as in the reference.

    >>> from datetime import UTC
    >>> seconds_until_daily(datetime(2026, 3, 1, 3, 0, tzinfo=UTC))
    900.0
    """
    today = at.replace(hour=3, minute=15, second=0, microsecond=0)
    due = today if today > at else today + timedelta(days=1)
    return (due - at).total_seconds()
