"""Two countries of real processes: refused, trusted, exchanged, proven, and moved to a proxy."""

from __future__ import annotations

import pytest

from postroad.demo.evidence import load_stored
from postroad.demo.federation import Federation

pytestmark = pytest.mark.xdist_group("federation")


def test_two_countries_learn_to_trust_each_other_and_prove_what_they_exchanged(
    federation: Federation,
) -> None:
    federation.start(lambda _step: None)
    shown = list(federation.tour())
    assert [each.title.partition(",")[0] for each in shown] == [
        "Before the anchors are exchanged: NORTH calls SOUTH",
        "NORTH trusts SOUTH",
        "One direction is not enough: NORTH calls SOUTH",
        "SOUTH trusts NORTH",
        "NORTH calls SOUTH",
        "SOUTH calls NORTH",
        "The Security Server of Ministry of the South lives on a configuration proxy",
        "NORTH calls SOUTH",
        "SOUTH calls NORTH",
    ]
    assert len(federation.evidence.containers) == 16
    for layout, other in ((federation.north, "SOUTH"), (federation.south, "NORTH")):
        configuration = load_stored(layout, layout.cast.governor)
        assert set(configuration.instances) == {layout.cast.instance, other}
