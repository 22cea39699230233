from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroad.adapters.audit_log import AuditLog
from postroad.errors import ConfigurationError

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def write(log: AuditLog, event: str = "Add client", reason: str | None = None) -> bool:
    return log.write(event, at=AT, user="ann", auth="Session", data={"id": "ä"}, reason=reason)


def test_a_failed_event_says_so_by_its_name_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.log"
    assert write(AuditLog(path), reason="not\nallowed")
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678+00:00",
        "event": "Add client failed",
        "user": "ann",
        "reason": "not\nallowed",
        "auth": "Session",
        "data": {"id": "ä"},
    }


def test_only_the_owner_may_read_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.log"
    AuditLog(path).ensure_writable()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_was_rotated_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    write(log)
    path.rename(tmp_path / "audit.log.1")
    write(log, "Delete client")
    assert "Delete client" in path.read_text()


def test_a_line_that_can_not_be_written_is_admitted(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.mkdir()
    assert not write(AuditLog(path))
    with pytest.raises(ConfigurationError):
        AuditLog(path).ensure_writable()


def test_a_full_disk_is_admitted() -> None:
    assert not write(AuditLog(Path("/dev/full")))
