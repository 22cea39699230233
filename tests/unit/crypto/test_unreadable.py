"""Rules of what counts as unreadable input."""

from __future__ import annotations

from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import PostroadError


def test_neither_our_own_errors_nor_all_errors_count_as_unreadable() -> None:
    assert Exception not in UNREADABLE
    assert not issubclass(PostroadError, UNREADABLE)
    assert not issubclass(OSError, UNREADABLE)
    assert not issubclass(MemoryError, UNREADABLE)
