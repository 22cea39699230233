from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.messagelog import OpenLog, open_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/db/messagelog.sqlite"
    address: str = request.getfixturevalue("postgresql_server").create_database()
    return address


@pytest.fixture
def log(url: str) -> Iterator[OpenLog]:
    """A log in each product in turn."""
    with open_log(url) as opened:
        yield opened


@pytest.fixture
def file_log(tmp_path: Path) -> Iterator[OpenLog]:
    """A log in SQLite alone, for what doesn't depend on the product."""
    with open_log(f"sqlite:///{tmp_path}/messagelog.sqlite") as opened:
        yield opened
