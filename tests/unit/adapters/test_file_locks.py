from __future__ import annotations

import threading
from pathlib import Path

import pytest

from postroad.adapters.file_locks import in_turn, only_one
from postroad.errors import ConfigurationError


def test_a_second_holder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "logwriter.lock"
    taken = ConfigurationError("another log writer serves this home directory")
    with (
        only_one(lock, taken),
        pytest.raises(ConfigurationError, match="another log writer"),
        only_one(lock, taken),
    ):
        pass
    with only_one(lock, taken):
        pass


def test_a_second_one_waits_for_its_turn(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "snapshot.lock"
    order: list[str] = []

    def second() -> None:
        with in_turn(lock):
            order.append("second")

    waiting = threading.Thread(target=second)
    with in_turn(lock):
        waiting.start()
        waiting.join(0.1)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
