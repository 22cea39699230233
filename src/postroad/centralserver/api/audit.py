"""Which line says who did what through the management interface?

One JSON object a line, with the reference's keys (``AuditLogger``) and its event names
(``RestApiAuditEvent``), and the time. Nothing secret is ever handed in: data are what the change
log records, and names. The change log in the database is the proof; this file is for people and
log collectors.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from postroad.adapters.logs import logger
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from postroad.centralserver.registry.change import Detail

_MAX_TEXT = 1024


class AuditLog:
    """Appends to one file; it may be rotated under us, each line opens it anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ensure_writable(self) -> None:
        """Make the file if it isn't there; ``ConfigurationError`` when it can't be written."""
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._append(b"")
        except OSError as error:
            raise ConfigurationError(f"the audit log can't be written: {error}") from error

    def write(  # noqa: PLR0913 - the keys of a line
        self,
        event: str,
        *,
        at: datetime,
        user: str,
        address: str,
        auth: str | None,
        url: str,
        data: Mapping[str, Detail],
        reason: str | None = None,
        is_warning: bool = False,
    ) -> None:
        """Append a line; with ``reason`` the event has failed, and its name says so.

        A line that can't be written is told to the process's own log.
        """
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds"),
            "event": event if reason is None else f"{event} failed",
            "user": user[:_MAX_TEXT],
            "ipaddress": address,
        }
        if reason is not None:
            line["reason"] = reason[:_MAX_TEXT]
            if is_warning:
                line["warning"] = True
        line |= {"auth": auth, "url": url[:_MAX_TEXT], "data": dict(data)}
        try:
            self._append(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except OSError as error:
            logger("central").warning("audit_log_not_written", event_name=event, reason=str(error))

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o640)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
