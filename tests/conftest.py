"""What every test may use: the fixtures of ``support`` that last for the whole session."""

from __future__ import annotations

pytest_plugins = ["support.postgresql"]
