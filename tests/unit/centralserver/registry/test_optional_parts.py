from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry.optional_parts import (
    list_optional_parts,
    upload_optional_part,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.globalconf.extensions import FetchInterval, NextUpdate

if TYPE_CHECKING:
    from support.central_server import Registry


def test_a_part_is_kept_and_replaced(registry: Registry) -> None:
    first = FetchInterval(timedelta(seconds=100)).encode()
    second = FetchInterval(timedelta(seconds=200)).encode()
    with registry.changing() as change:
        assert upload_optional_part(change, "FETCHINTERVAL", first)
        assert not upload_optional_part(change, "FETCHINTERVAL", first)
        assert upload_optional_part(change, "FETCHINTERVAL", second)
        (part,) = list_optional_parts(change.session)
        assert (part.file_name, part.data) == ("fetchinterval-params.xml", second)


@pytest.mark.parametrize(
    ("identifier", "data"),
    [
        ("SHARED-PARAMETERS", b"<x/>"),
        ("UNKNOWN", NextUpdate().encode()),
        ("MONITORING", NextUpdate().encode()),
        ("NEXTUPDATE", b"nothing"),
    ],
)
def test_other_parts_and_broken_ones_are_refused(
    registry: Registry, identifier: str, data: bytes
) -> None:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        upload_optional_part(change, identifier, data)
    assert refused.value.problem is Problem.UNKNOWN_CONFIGURATION_PART
