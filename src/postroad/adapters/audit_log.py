"""Which line says what an operator did, through commands or a management interface?

One JSON object a line, with the reference's keys (``AuditLogger``) and its event names
(``RestApiAuditEvent``), and the time. Nothing secret is ever handed in: data are names, identifiers
and hashes. Only the server's own user may read the file.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from postroad.adapters.logs import logger
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    AuditValue = str | int | bool | None | Sequence[str] | Mapping[str, str]
    """What an event may say about one aspect of it."""

_MAX_TEXT: Final = 1024


class AuditLog:
    """Appends to one file; it may be rotated under us, each line opens it anew.

    ``component`` names who tells that a line couldn't be written.
    """

    def __init__(self, path: Path, component: str = "audit") -> None:
        self._path = path
        self._component = component

    def ensure_writable(self) -> None:
        """Make the file if it isn't there; ``ConfigurationError`` when it can't be written."""
        try:
            self._append(b"")
        except OSError as error:
            raise ConfigurationError(f"the audit log can't be written: {error}") from error

    def write(
        self,
        event: str,
        *,
        at: datetime,
        user: str,
        auth: str | None,
        data: Mapping[str, AuditValue],
        address: str | None = None,
        url: str | None = None,
        reason: str | None = None,
        is_warning: bool = False,
    ) -> bool:
        """Append a line; with ``reason`` the event has failed, and its name says so.

        ``address`` and ``url`` are those of a request. A line that can't be written is told to the
        process's own log; returns whether it was.
        """
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds"),
            "event": event if reason is None else f"{event} failed",
            "user": user[:_MAX_TEXT],
        }
        if address is not None:
            line["ipaddress"] = address
        if reason is not None:
            line["reason"] = reason[:_MAX_TEXT]
            if is_warning:
                line["warning"] = True
        line["auth"] = auth
        if url is not None:
            line["url"] = url[:_MAX_TEXT]
        line["data"] = dict(data)
        try:
            self._append(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except OSError as error:
            logger(self._component).warning(
                "audit_log_not_written", event_name=event, reason=str(error)
            )
            return False
        return True

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError("the disk is full")
        finally:
            os.close(descriptor)
