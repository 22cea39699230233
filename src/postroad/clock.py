"""The only door to "now": a protocol that the shells fulfil and tests replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Tells the present moment, always timezone-aware and in UTC."""

    def now(self) -> datetime:
        """Return the present moment."""
        ...


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands still, for tests and for judging evidence at a past moment."""

    at: datetime

    def now(self) -> datetime:
        """Return the moment this clock was made with."""
        return self.at
