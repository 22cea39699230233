"""The audit log: one line an event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.api.audit import AuditLog
from postroad.errors import ConfigurationError
from support.central_server import NOW

if TYPE_CHECKING:
    from pathlib import Path


def write(log: AuditLog, reason: str | None = None) -> None:
    log.write(
        "Add member",
        at=NOW,
        user="admin",
        address="192.0.2.1",
        auth="Session",
        url="/api/v1/members",
        data={"memberName": "Näme"},
        reason=reason,
    )


def test_a_line_says_who_did_what_when_and_how_it_went(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log" / "audit.log")
    log.ensure_writable()
    write(log)
    write(log, reason="member_exists")
    first, second = map(json.loads, (tmp_path / "log" / "audit.log").read_text().splitlines())
    assert first == {
        "time": "2026-03-01T12:00:00.000+00:00",
        "event": "Add member",
        "user": "admin",
        "ipaddress": "192.0.2.1",
        "auth": "Session",
        "url": "/api/v1/members",
        "data": {"memberName": "Näme"},
    }
    assert (second["event"], second["reason"]) == ("Add member failed", "member_exists")


def test_a_rotated_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    write(log)
    path.rename(tmp_path / "audit.log.1")
    write(log)
    assert len(path.read_text().splitlines()) == 1
    assert path.stat().st_mode & 0o007 == 0


def test_a_log_that_can_not_be_written_stops_the_start_but_no_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = AuditLog(tmp_path / "file" / "audit.log")
    with pytest.raises(ConfigurationError, match="audit log"):
        log.ensure_writable()
    write(log)
