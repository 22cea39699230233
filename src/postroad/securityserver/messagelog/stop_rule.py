"""May messages be logged now, or has time-stamping failed for too long?

Without a time-stamp a signature proves nothing once its certificate's OCSP response is stale, so a
server that can't get time-stamps must stop exchanging messages before its evidence rots. The rule
judges by results: it stops when stamping is known to fail for too long, and also when records stay
unstamped although nobody reports a failure, because then the stamping job itself is dead. Both end
by themselves with the next time-stamp. Source: reference ``LogManager`` (isTimestampFailed,
``acceptable-timestamp-failure-period``).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import logging_failed

STATE_NAME: Final = "timestamping"
"""Where the log's database keeps the ``TimestampingState``."""
DEFAULT_INTERVAL_S: Final = 60.0
MAX_REASON: Final = 500


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the last request to one time-stamping service went, for diagnostics."""

    url: str
    ok: bool
    at: datetime
    code: str = ""
    """The fault code of a failure."""
    message: str = ""


class TimestampingState(msgspec.Struct, frozen=True, kw_only=True):
    """What the stamping job reports and the log writer judges by; kept in the log's database."""

    configured: bool | None = None
    """Whether a time-stamping service is configured; None before the job has ever looked."""
    failing_since: datetime | None = None
    last_success: datetime | None = None
    interval: float = DEFAULT_INTERVAL_S
    """Seconds between two runs of the job."""
    services: tuple[ServiceStatus, ...] = ()

    def encode(self) -> bytes:
        """Return the form that the database keeps (JSON)."""
        return msgspec.json.encode(self)

    @classmethod
    def parse(cls, data: bytes | None) -> TimestampingState:
        """Read the stored form; what can't be read counts as not known, which stops logging."""
        if data is None:
            return cls()
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return cls()


def decide_logging(
    state: TimestampingState,
    *,
    oldest_pending: datetime | None,
    watching_since: datetime,
    acceptable_failure: timedelta,
    at: datetime,
) -> ConfigurationError | None:
    """Return why no message may be logged, or None if messages may be logged.

    ``oldest_pending`` is the oldest record without a time-stamp; its age counts from
    ``watching_since`` at the earliest, because nothing is stamped while the server is off.
    ``acceptable_failure`` of zero never stops for failures, only for a missing configuration.
    """
    if not state.configured:
        reason = (
            "no time-stamping service is configured"
            if state.configured is False
            else "time-stamping has not started yet"
        )
        return logging_failed(
            f"cannot log messages: {reason}", code=FaultCode.MLOG_NO_TIMESTAMPING_PROVIDER_FOUND
        )
    if not acceptable_failure:
        return None
    if state.failing_since is not None and at - state.failing_since > acceptable_failure:
        return _stop(f"time-stamping has failed since {_text(state.failing_since)}")
    if oldest_pending is not None:
        since = max(oldest_pending, watching_since)
        if at - since > acceptable_failure + timedelta(seconds=state.interval):
            return _stop(f"records have waited for a time-stamp since {_text(since)}")
    return None


def _stop(reason: str) -> ConfigurationError:
    return logging_failed(
        f"cannot log messages: {reason}, longer than is acceptable",
        code=FaultCode.TIMESTAMPING_FAILED,
    )


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
