"""A configuration proxy for tests: its home, its sources in memory, and a client of it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import msgspec

from postroad.centralserver.signing_keys import SigningToken
from postroad.configurationproxy.instances import load_instance
from postroad.configurationproxy.settings import FILE_NAME, Settings, load_settings
from postroad.configurationproxy.updating import InstanceReport, ProxyUpdater
from postroad.ports import FetchedResponse
from support.configuration_client import MovingClock, Server
from support.globalconf import Instance, Network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroad.globalconf.anchor import Anchor

PIN = "canary-pin-4711"
ADDRESS = "proxy.example"


def proxy_settings(home: Path) -> Settings:
    """Settings in a new home."""
    home.mkdir(parents=True)
    (home / FILE_NAME).write_text(f'[proxy]\naddress = "{ADDRESS}"\n')
    return load_settings(home)


@cache
def _unlocked(template: Path) -> SigningToken:
    return SigningToken(template, PIN)


def unlocked(template: Path, target: Path) -> SigningToken:
    """A copy of a token, opened without stretching its PIN again."""
    shutil.copytree(template, target)
    opened = object.__new__(SigningToken)
    known = _unlocked(template)
    opened._token = type(known._token)(target)
    opened._secret = known._secret
    opened._keys = {}
    return opened


@dataclass
class Proxy:
    """A proxy whose updates are run by hand, and what it published, served from its folder."""

    settings: Settings
    token: SigningToken
    source: Instance
    partner: Instance
    network: Network
    clock: MovingClock = field(default_factory=MovingClock)

    def updater(self) -> ProxyUpdater:
        return ProxyUpdater(self.settings, self.token, self.network, self.clock)

    def update(self, *names: str) -> InstanceReport:
        (report,) = asyncio.run(self.updater().run_once(names))
        return report

    def federate(self) -> None:
        anchors = (self.partner.anchor(external=True),)
        self.source.registry = replace(self.source.registry, trusted_anchors=anchors)
        self.source.publish()

    def anchor(self, name: str = "PX") -> Anchor:
        return load_instance(self.settings, name).build_anchor(self.settings, at=self.clock.now())

    def client(self, home: Path, allowed: str = "none") -> Server:
        """A Security Server whose only way to any configuration is the proxy."""
        home.mkdir(exist_ok=True)
        server = Server(home, _Web(self), self.clock, allowed)
        server.give(self.anchor())
        return server


class _Web(Network):
    """What the proxy's web server answers."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self.proxy = proxy

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        parts = urlsplit(url)
        if parts.hostname != ADDRESS:
            return await super().fetch(method, url)
        self.asked.append(url)
        path = parts.path.lstrip("/")
        if path.endswith("/conf"):
            path += "-v" + parse_qs(parts.query).get("version", ["2"])[0]
        file = self.proxy.settings.public_path / path
        if parts.scheme != "http" or not file.is_file():
            return FetchedResponse(404, (), b"")
        return FetchedResponse(200, (), file.read_bytes())


def with_settings(proxy: Proxy, **section: object) -> None:
    """Change settings of the section ``proxy``."""
    changed = msgspec.structs.replace(proxy.settings.proxy, **section)
    proxy.settings = msgspec.structs.replace(proxy.settings, proxy=changed)
