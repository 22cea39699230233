from __future__ import annotations

import pytest

from postroad.globalconf.federation import AllowedFederations


@pytest.mark.parametrize(
    ("setting", "allowed", "refused"),
    [
        ("none", [], ["FI", "all", "none"]),
        ("", [], ["FI", ""]),
        (" , ", [], ["FI", ""]),
        ("all", ["FI", "anything"], []),
        ("ALL", ["FI"], []),
        ("FI", ["FI", "fi", "Fi"], ["FI2", "F"]),
        ("fi , ee-Test", ["FI", "EE-TEST"], ["LV"]),
        ("FI,none", [], ["FI"]),
        ("all,NONE", [], ["FI"]),
        ("FI,all", ["LV"], []),
    ],
)
def test_filter_follows_the_setting(setting: str, allowed: list[str], refused: list[str]) -> None:
    federations = AllowedFederations.parse(setting)
    assert [name for name in allowed + refused if federations.allows(name)] == allowed


def test_nothing_is_allowed_by_default() -> None:
    assert not AllowedFederations().allows("FI")
