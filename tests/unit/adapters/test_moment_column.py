from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from postroad.adapters.moment_column import Moment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIALECTS = (sqlite.dialect(), postgresql.dialect())


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_moment_of_any_zone_comes_back_in_utc(dialect: object) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=2)))
    stored = Moment().process_bind_param(local, dialect)
    found = Moment().process_result_value(stored, dialect)
    assert found == NOON
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_nothing_stays_nothing(dialect: object) -> None:
    assert Moment().process_bind_param(None, dialect) is None
    assert Moment().process_result_value(None, dialect) is None


def test_a_naive_moment_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="naive"):
        Moment().process_bind_param(NOON.replace(tzinfo=None), DIALECTS[0])
