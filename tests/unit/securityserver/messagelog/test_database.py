from __future__ import annotations

from postroad.securityserver.messagelog.database import is_unusable, refused_row, unusable


def test_an_unusable_database_is_told_apart_from_a_refused_row() -> None:
    assert is_unusable(unusable("disk full"))
    assert not is_unusable(refused_row("too long"))


def test_both_are_failures_of_logging() -> None:
    assert unusable("disk full").fault_code == "logging_failed.database_error"
    assert refused_row("too long").fault_code == "logging_failed"
    assert "disk full" in unusable("disk full").message
