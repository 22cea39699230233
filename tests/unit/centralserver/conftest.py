from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.tokens import SoftwareToken
from postroad.centralserver.node import (
    CentralServerNode,
    NewInstance,
    initialize_node,
)
from postroad.centralserver.signing_keys import KeyAlgorithm
from support.central_server import (
    PIN,
    MovingClock,
    Registry,
    copied_token,
    fill,
    plain_node,
    registry_in_memory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroad.centralserver.signing_keys import SigningToken


@pytest.fixture
def registry() -> Iterator[Registry]:
    """An initialised, empty registry in memory."""
    with registry_in_memory(filled=False) as registry:
        yield registry


@pytest.fixture
def filled() -> Iterator[Registry]:
    """A registry with a small instance."""
    with registry_in_memory(filled=True) as registry:
        yield registry


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def node(tmp_path: Path, clock: MovingClock) -> Iterator[CentralServerNode]:
    """An opened node that is not initialised."""
    node = plain_node(tmp_path, clock)
    yield node
    node.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SigningToken]:
    """The home directory of a small instance DEV, made once: stretching PINs takes time."""
    home = tmp_path_factory.mktemp("central")
    node = plain_node(home, MovingClock())
    new = NewInstance(instance="DEV", address="cs.example", pin=PIN, algorithm=KeyAlgorithm.EC)
    # Stored with the PIN, so every later try at it is as cheap.
    SoftwareToken(node.settings.token_path, scrypt_n=2).initialise(PIN)
    token = initialize_node(node, new, "tester")
    with node.changing("tester") as change:
        fill(change)
    node.close()
    return home, token


@pytest.fixture
def token(node: CentralServerNode, template: tuple[Path, SigningToken]) -> SigningToken:
    """Makes ``node`` a copy of the small instance; its unlocked token."""
    home, unlocked = template
    node.close()
    shutil.copytree(home, node.settings.home_path, dirs_exist_ok=True)
    return copied_token(unlocked, node.settings.token_path)
