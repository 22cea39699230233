"""Rules of what an exchange gives up when it ends."""

from __future__ import annotations

import pytest

from postroad.securityserver.resources import Resources


def test_the_newest_is_closed_first() -> None:
    closed: list[int] = []
    with Resources() as resources:
        for number in range(3):
            resources.callback(lambda number=number: closed.append(number))
        assert closed == []
    assert closed == [2, 1, 0]


def test_a_failure_keeps_nothing_else_open_and_is_not_hidden() -> None:
    closed: list[str] = []

    def fail() -> None:
        raise OSError("it is gone already")

    def run() -> None:
        with Resources() as resources:
            resources.callback(lambda: closed.append("oldest"))
            resources.callback(fail)
            resources.callback(lambda: closed.append("newest"))

    with pytest.raises(OSError, match="gone already"):
        run()
    assert closed == ["newest", "oldest"]


def test_an_error_of_the_exchange_goes_on_after_everything_is_closed() -> None:
    closed: list[str] = []
    with pytest.raises(ValueError, match="broken"), Resources() as resources:
        resources.callback(lambda: closed.append("body"))
        raise ValueError("broken")
    assert closed == ["body"]
