"""Ecosystems of real processes for the end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from postroad.adapters.signer_protocol import KeyAlgorithm
from postroad.demo.ecosystem import Ecosystem, Options
from postroad.demo.layout import Layout


def network(number: int) -> str:
    """A loopback network that no other test process uses."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return f"127.{100 + worker}.{number}"


@pytest.fixture(scope="module")
def ecosystem(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Ecosystem]:
    number = sum(request.module.__name__.encode()) % 200 + 10
    layout = Layout(tmp_path_factory.mktemp("ecosystem"), network(number))
    with Ecosystem(layout, Options(algorithm=KeyAlgorithm.EC_P256)) as running:
        running.start(lambda _step: None)
        yield running
