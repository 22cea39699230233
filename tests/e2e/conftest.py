"""Ecosystems of real processes for the end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postroad.adapters.signer_protocol import KeyAlgorithm
from postroad.demo.ecosystem import Ecosystem, Options
from postroad.demo.federation import Federation
from postroad.demo.layout import Layout


def network(number: int) -> str:
    """A loopback network that no other test process uses.

    ``POSTROAD_TEST_NETWORK`` moves them, so that several test runs fit on one machine.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = int(os.environ.get("POSTROAD_TEST_NETWORK", "100"))
    return f"127.{first + worker}.{number}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what doesn't leave the ecosystem as it was: it gives a server another owner."""
    items.sort(key=lambda item: item.path.name == "test_governance.py")


@contextmanager
def running(home: Path, number: int, options: Options) -> Iterator[Ecosystem]:
    with Ecosystem(Layout(home, network(number)), options) as ecosystem:
        ecosystem.start(lambda _step: None)
        yield ecosystem
    ecosystem.forget()


@pytest.fixture(scope="module")
def ecosystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ecosystem]:
    """An ecosystem that one module may spoil."""
    options = Options(algorithm=KeyAlgorithm.EC_P256)
    with running(tmp_path_factory.mktemp("own"), 2, options) as started:
        yield started


@pytest.fixture(scope="session")
def shared_ecosystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ecosystem]:
    """The ecosystem of all tests in the xdist group ``ecosystem``, who leave it as it was.

    Over PostgreSQL, and with the provider's signing key in SoftHSM.
    """
    options = Options(algorithm=KeyAlgorithm.EC_P256, postgresql=True, softhsm=True)
    with running(tmp_path_factory.mktemp("shared"), 3, options) as started:
        yield started


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """Two ecosystems that aren't started yet, and don't know each other."""
    options = Options(algorithm=KeyAlgorithm.EC_P256)
    with Federation(tmp_path, network(20), options) as made:
        yield made
