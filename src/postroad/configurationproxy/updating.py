"""How does a configuration proxy bring what it publishes up to date?

For each proxy instance and version: poll the source as a client does, judge as a client does, sign
what is left. A version that fails is told and left alone; what was published of it counts until its
own expiry. Source: reference ``ConfProxy``.
"""

from __future__ import annotations

import asyncio
import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import read_tree
from postroad.configurationproxy.instances import list_instances
from postroad.configurationproxy.publishing import clean, new_generation, publish_version
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, PostroadError
from postroad.globalconf.directory import sign_directory
from postroad.globalconf.federation import AllowedFederations
from postroad.globalconf.republishing import republish
from postroad.globalconf.stored import load_parts, read_instance_identifier
from postroad.securityserver.confclient import MAX_STORED_BYTES, ConfigurationClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.centralserver.signing_keys import SigningToken
    from postroad.clock import Clock
    from postroad.configurationproxy.instances import ProxyInstance
    from postroad.configurationproxy.settings import Settings
    from postroad.globalconf.republishing import Republished
    from postroad.ports import HttpFetcher

_LETTERS: Final = string.ascii_letters
_BOUNDARY_LENGTH: Final = 30


@dataclass(frozen=True, slots=True)
class VersionReport:
    """How one version of one proxy instance went; ``error`` None when it was published."""

    version: int
    error: PostroadError | None = None
    expires_at: datetime | None = None
    left_out: tuple[str, ...] = ()
    federated_errors: tuple[str, ...] = ()
    """What could not be renewed of other instances."""


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """How one proxy instance went, newest version first."""

    name: str
    versions: tuple[VersionReport, ...]

    @property
    def error(self) -> PostroadError | None:
        """Why nothing was published; None when any version was."""
        if any(report.error is None for report in self.versions):
            return None
        return next((report.error for report in self.versions), None)


@dataclass(slots=True)
class ProxyUpdater:
    """Updates the proxy instances of one home; one at a time may work on it."""

    settings: Settings
    token: SigningToken
    fetcher: HttpFetcher
    clock: Clock
    clients: dict[tuple[str, int, str], ConfigurationClient] = field(default_factory=dict)

    async def run_once(self, names: Sequence[str] = ()) -> list[InstanceReport]:
        """Update all proxy instances, or those named. Failures are in the reports."""
        instances = [
            instance
            for instance in await asyncio.to_thread(list_instances, self.settings)
            if not names or instance.name in names
        ]
        missing = set(names) - {instance.name for instance in instances}
        if missing:
            raise ConfigurationError(f"there is no proxy instance {', '.join(sorted(missing))}")
        return [await self._update(instance) for instance in instances]

    async def _update(self, instance: ProxyInstance) -> InstanceReport:
        public = self.settings.public_path / instance.name
        await asyncio.to_thread(clean, public, at=self.clock.now())
        reports = [
            await self._update_version(instance, version) for version in self.settings.versions
        ]
        return InstanceReport(instance.name, tuple(reports))

    async def _update_version(self, instance: ProxyInstance, version: int) -> VersionReport:
        try:
            polled = await self._client(instance, version).run_once()
            if polled.own.error is not None:
                return VersionReport(version, polled.own.error)
            made = await asyncio.to_thread(self._publish, instance, version)
        except PostroadError as error:
            return VersionReport(version, error)
        except OSError as error:
            return VersionReport(version, ConfigurationError(f"nothing can be kept: {error}"))
        failed = [(each.instance, each.error) for each in polled.federated]
        return VersionReport(
            version,
            expires_at=made.directory.expires_at,
            left_out=made.left_out,
            federated_errors=tuple(f"{name}: {error.message}" for name, error in failed if error),
        )

    def _client(self, instance: ProxyInstance, version: int) -> ConfigurationClient:
        key = (instance.name, version, instance.allowed_federations)
        if key not in self.clients:
            directory = self.settings.download_path / instance.name / f"V{version}"
            directory.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self.clients[key] = ConfigurationClient(
                anchor_path=instance.anchor_path,
                directory=directory,
                fetcher=self.fetcher,
                clock=self.clock,
                allowed=AllowedFederations.parse(instance.allowed_federations),
                version=version,
            )
        return self.clients[key]

    def _publish(self, instance: ProxyInstance, version: int) -> Republished:
        proxy = instance.as_published(self.settings)
        files = read_tree(
            self.settings.download_path / instance.name / f"V{version}", MAX_STORED_BYTES
        )
        public = self.settings.public_path / instance.name
        public.mkdir(mode=0o755, parents=True, exist_ok=True)
        at = self.clock.now()
        generation = new_generation(public, at)
        made = republish(
            load_parts(files),
            proxy,
            instance=read_instance_identifier(files),
            version=version,
            folder=generation,
            at=at,
        )
        algorithm, sign = self.token.signer(instance.active_key or "", DigestAlgorithm.SHA512)
        signed = sign_directory(
            made.directory,
            boundaries=(_boundary(), _boundary()),
            certificate=proxy.certificates[0],
            algorithm=algorithm,
            sign=sign,
        )
        publish_version(public, generation, version, made.files, signed)
        return made


def _boundary() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_BOUNDARY_LENGTH))
