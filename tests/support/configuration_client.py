"""A Security Server's configuration client for tests, polling instances that live in memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from postroad.adapters.files import read_tree
from postroad.globalconf.federation import AllowedFederations
from postroad.globalconf.stored import load
from postroad.securityserver.confclient import ConfigurationClient, PollReport
from support.globalconf import NOW, Instance, Network

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.globalconf.anchor import Anchor
    from postroad.globalconf.view import GlobalConfiguration


@dataclass
class MovingClock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Server:
    """A server's home with a configuration client that polls instances in memory."""

    home: Path
    network: Network
    clock: MovingClock = field(default_factory=MovingClock)
    allowed: str = "none"

    @property
    def directory(self) -> Path:
        return self.home / "globalconf"

    def give(self, anchor: Anchor) -> None:
        (self.home / "configuration-anchor.xml").write_bytes(anchor.encode())

    def client(self) -> ConfigurationClient:
        return ConfigurationClient(
            anchor_path=self.home / "configuration-anchor.xml",
            directory=self.directory,
            fetcher=self.network,
            clock=self.clock,
            allowed=AllowedFederations.parse(self.allowed),
            shuffle=list,
        )

    def poll(self) -> PollReport:
        return asyncio.run(self.client().run_once())

    def files(self) -> dict[str, bytes]:
        return read_tree(self.directory, 10_000_000)

    def configuration(self) -> GlobalConfiguration:
        return load(self.files())

    @property
    def state(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.home / "globalconf.state").read_bytes())
        return dict(read["sources"])


def federate(instance: Instance, *partners: Instance) -> None:
    anchors = tuple(partner.anchor(external=True) for partner in partners)
    instance.registry = replace(instance.registry, trusted_anchors=anchors)
    instance.publish()


def pass_time(server: Server, *instances: Instance, **delta: float) -> None:
    server.clock.at += timedelta(**delta)
    for entry in instances:
        entry.publish(server.clock.at)
