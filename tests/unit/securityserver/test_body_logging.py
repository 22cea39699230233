from __future__ import annotations

import pytest

from postroad.identifiers import ServiceId
from postroad.securityserver.body_logging import is_body_logged
from postroad.securityserver.messagelog.records import Side
from postroad.securityserver.settings_sections import MessageLogSection

REGISTER = ServiceId.parse("EE/GOV/1/register/persons")
OTHER = ServiceId.parse("EE/GOV/1/other/persons")
OF_MEMBER = ServiceId.parse("EE/GOV/1/persons")
LISTED = ("EE/GOV/1/register",)


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("side", list(Side))
def test_a_list_makes_exceptions_from_the_rule_on_its_own_side_only(rule: bool, side: Side) -> None:
    kind = "disabled" if rule else "enabled"
    for place, where in (("local", Side.SERVER), ("remote", Side.CLIENT)):
        section = MessageLogSection(
            log_bodies=rule, **{f"{kind}_body_logging_{place}_producer_subsystems": LISTED}
        )
        assert is_body_logged(section, side, REGISTER) is (rule if side is not where else not rule)
        assert is_body_logged(section, side, OTHER) is rule
        assert is_body_logged(section, side, OF_MEMBER) is rule
