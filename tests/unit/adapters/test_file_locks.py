from __future__ import annotations

from pathlib import Path

import pytest

from postroad.adapters.file_locks import only_one
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
