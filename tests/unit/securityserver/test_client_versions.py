"""Consumers' servers that are too old are refused, where the operator wants that."""

from __future__ import annotations

import pytest

from postroad.errors import FaultCode, RefusedRequest
from postroad.securityserver.client_versions import check_client_version


@pytest.mark.parametrize("version", ["7.6.0", "7.6.1", "7.10.0", "8.0.0", "7.8.0-SNAPSHOT"])
def test_new_enough_is_answered(version: str) -> None:
    check_client_version(version, "7.6.0")


@pytest.mark.parametrize("version", ["7.5.9", "6.26.3", "7.6.0-beta-1", "unknown", "", None, "7.6"])
def test_older_or_unknown_is_refused(version: str | None) -> None:
    with pytest.raises(RefusedRequest, match=r"is: 7\.6\.0 $") as refused:
        check_client_version(version, "7.6.0")
    assert refused.value.code is FaultCode.CLIENT_PROXY_VERSION_NOT_SUPPORTED
    check_client_version(version, "")
