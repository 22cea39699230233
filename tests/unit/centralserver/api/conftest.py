from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.token_login import TokenLogin
from support.central_server import holding
from support.management_api import ManagementApi, opened_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.signing_keys import SigningToken


@pytest.fixture
def api(node: CentralServerNode, token: SigningToken, tmp_path: Path) -> Iterator[ManagementApi]:
    """The interface of a small instance whose token is open."""
    with opened_api(node, holding(token), tmp_path) as opened:
        yield opened


@pytest.fixture
def empty(node: CentralServerNode, tmp_path: Path) -> Iterator[ManagementApi]:
    """The interface of a node that is not initialised."""
    with opened_api(node, TokenLogin(node.settings.token_path), tmp_path) as opened:
        yield opened
