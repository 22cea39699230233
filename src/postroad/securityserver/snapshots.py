"""What does a proxy worker know at this moment: configuration, keys, OCSP responses?

Every exchange takes one immutable :class:`Snapshot` at its beginning and asks nothing else, so it
sees one state of the world. :class:`Snapshots` swaps the whole value when a file changes; looking
costs a few ``stat`` calls a second. What can't be loaded leaves the former state in place, whose
own expiry then ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from postroad.adapters.files import read_tree, tree_signature, write_atomic
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import MAX_RESPONSE_BYTES, OcspResponse
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.globalconf.stored import ConfigurationLoader
from postroad.identifiers import MemberId
from postroad.securityserver.peer_certificates import (
    GoodCertificate,
    judge_path,
    path_to_authority,
)
from postroad.securityserver.serverconf.snapshot import SnapshotFile
from postroad.securityserver.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from datetime import datetime
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import KeyCertificate, SignerPort
    from postroad.securityserver.serverconf.snapshot import ServerConfView
    from postroad.securityserver.settings import Settings

MAX_GLOBALCONF_BYTES: Final = 256 * 1024 * 1024
KEY_LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at the signer's keys."""
_REGISTERED: Final = "registered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One state of everything that exchanges are judged by."""

    globalconf: GlobalConfiguration
    serverconf: ServerConfView
    keys: tuple[KeyCertificate, ...] = ()
    ocsp: Mapping[bytes, bytes] = field(default_factory=dict)
    """SHA-1 of a certificate's DER -> DER of the newest OCSP response for it."""


class _Chosen(NamedTuple):
    """A member's signing key, and how long the same state of the world leads to it."""

    snapshot: Snapshot
    since: datetime
    until: datetime
    key: SigningKey


class OwnCertificates:
    """Which of our own certificates may be used now, with the OCSP responses that prove it?

    Verdicts are remembered as long as the same evidence would lead to them, never longer.
    """

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._known: OrderedDict[object, tuple[GlobalConfiguration, datetime, GoodCertificate]]
        self._known = OrderedDict()
        self._chosen: dict[MemberId, _Chosen] = {}

    def signing_key(self, snapshot: Snapshot, member: MemberId, at: datetime) -> SigningKey:
        """The key that signs for a member: active, registered and good at the moment.

        Raises ``ConfigurationError`` (``cannot_create_signature``) that says what is missing.
        """
        chosen = self._chosen.get(member)
        if (
            chosen is not None
            and chosen.snapshot is snapshot
            and chosen.since <= at <= chosen.until
        ):
            return chosen.key
        return self._choose(snapshot, member, at)

    def _choose(self, snapshot: Snapshot, member: MemberId, at: datetime) -> SigningKey:
        reasons: list[str] = []
        for key in snapshot.keys:
            if key.usage != "SIGNING" or not _belongs_to(key, member):
                continue
            reason = _why_unusable(key)
            if reason is None:
                try:
                    certificate = Certificate.from_der(key.der)
                    good = self.good(snapshot, certificate, member.instance, at)
                except PostroadError as error:
                    reason = error.message
                else:
                    found = SigningKey(
                        key_id=key.key_id,
                        certificate=certificate,
                        ocsp_responses=good.ocsp_responses,
                        intermediates=good.path[1:-1],
                        rsa_pss=key.rsa_pss,
                        batch_signing=key.batch_signing,
                    )
                    if not reasons:  # a key before this one may become usable with time alone
                        if len(self._chosen) >= self._size:
                            self._chosen.clear()
                        self._chosen[member] = _Chosen(snapshot, at, good.valid_until, found)
                    return found
            reasons.append(reason)
        why = reasons[0] if reasons else "the signer holds no signing certificate of this member"
        raise ConfigurationError(
            f"{member} can't sign: {why}", code=FaultCode.CANNOT_CREATE_SIGNATURE
        )

    def authentication_ocsp(
        self, snapshot: Snapshot, certificate: Certificate, at: datetime
    ) -> tuple[bytes, ...]:
        """OCSP responses for our authentication certificate, in the order of its chain.

        Raises ``ConfigurationError`` (``ssl_authentication_failed``) if none is good now: every
        peer would refuse the connection.
        """
        instance = snapshot.serverconf.server_id.instance
        try:
            return self.good(snapshot, certificate, instance, at).ocsp_responses
        except PostroadError as error:
            raise ConfigurationError(
                f"our authentication certificate can't be used: {error.message}",
                code=FaultCode.SSL_AUTHENTICATION_FAILED,
            ) from error

    def good(
        self, snapshot: Snapshot, certificate: Certificate, instance: str, at: datetime
    ) -> GoodCertificate:
        """Judge one of our certificates by what peers will judge it by; raises ``TrustError``."""
        response = snapshot.ocsp.get(certificate.sha1)
        key = (certificate, response, instance)
        known = self._known.get(key)
        if known is not None:
            globalconf, judged_at, good = known
            if globalconf is snapshot.globalconf and judged_at <= at <= good.valid_until:
                return good
        path = path_to_authority(certificate, instance, snapshot.globalconf, at)
        ders = [snapshot.ocsp[entry.sha1] for entry in path[:-1] if entry.sha1 in snapshot.ocsp]
        responses = [OcspResponse.parse(der) for der in ders]
        good = judge_path(path, responses, instance, snapshot.globalconf, at)
        self._known[key] = (snapshot.globalconf, at, good)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return good


_member_named = lru_cache(maxsize=256)(MemberId.parse)


def _belongs_to(key: KeyCertificate, member: MemberId) -> bool:
    try:
        return key.member is not None and _member_named(key.member) == member
    except PostroadError:
        return False


def _why_unusable(key: KeyCertificate) -> str | None:
    if not key.token_active:
        return "its token is not logged in, or is away"
    if not key.active:
        return "the certificate is not active"
    if key.status != _REGISTERED:
        return f"the certificate's status is {key.status!r}"
    return None


class OcspDirectory:
    """OCSP responses on disk, ``<sha1 hex of the certificate>.ocsp``, ours and peers'."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: int | None = None
        self.responses: dict[bytes, bytes] = {}

    def refresh(self) -> bool:
        """Load what changed (blocking); whether anything did."""
        try:
            seen = self._directory.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if seen == self._seen:
            return False
        loaded: dict[bytes, bytes] = {}
        with os.scandir(self._directory) as entries:
            for entry in entries:
                name, _, suffix = entry.name.partition(".")
                if suffix != "ocsp" or entry.stat().st_size > MAX_RESPONSE_BYTES:
                    continue
                with contextlib.suppress(ValueError, OSError):
                    loaded[bytes.fromhex(name)] = (self._directory / entry.name).read_bytes()
        self.responses = loaded
        self._seen = seen
        return True

    def store(self, certificate: Certificate, der: bytes) -> None:
        """Keep a response for other exchanges and other processes (blocking)."""
        write_atomic(self._directory / f"{certificate.sha1.hex()}.ocsp", der)
        self.responses = {**self.responses, certificate.sha1: der}


class Snapshots:
    """The newest snapshot, kept up to date by ``run``."""

    def __init__(self, settings: Settings, signer: SignerPort, clock: Clock) -> None:
        self._settings = settings
        self._signer = signer
        self._clock = clock
        self._loader = ConfigurationLoader()
        self._globalconf: GlobalConfiguration | None = None
        self._globalconf_seen: object = ()
        self._serverconf = SnapshotFile(settings.snapshot_path)
        self._keys: tuple[KeyCertificate, ...] = ()
        self._keys_looked_at = float("-inf")
        self._current: Snapshot | None = None
        self.ocsp = OcspDirectory(settings.ocsp_path)
        self.problems: dict[str, PostroadError] = {}
        """What could not be loaded at the last look, by what it was."""

    def current(self) -> Snapshot:
        """The newest snapshot, without foreign instances whose configuration has expired.

        Raises ``ConfigurationError`` while the configuration was never loaded.
        """
        snapshot = self._current
        if snapshot is None:
            for problem in self.problems.values():
                raise ConfigurationError(problem.message, code=problem.code)
            raise ConfigurationError("the server is starting", code=FaultCode.MALFORMED_SERVER_CONF)
        visible = snapshot.globalconf.visible_at(self._clock.now())
        if visible is not snapshot.globalconf:
            snapshot = self._current = Snapshot(
                globalconf=visible,
                serverconf=snapshot.serverconf,
                keys=snapshot.keys,
                ocsp=snapshot.ocsp,
            )
        return snapshot

    async def refresh(self) -> None:
        """Look once at everything; a source that fails keeps its former state."""
        changed = await self._look("signer", self._look_at_keys())
        changed |= await self._look("globalconf", asyncio.to_thread(self._load_globalconf))
        changed |= await self._look("serverconf", asyncio.to_thread(self._serverconf.refresh))
        changed |= await self._look("ocsp", asyncio.to_thread(self.ocsp.refresh))
        view = self._serverconf.view
        if self._globalconf is None or view is None:
            return
        if changed or self._current is None or self._current.ocsp is not self.ocsp.responses:
            self._current = Snapshot(
                globalconf=self._globalconf,
                serverconf=view,
                keys=self._keys,
                ocsp=self.ocsp.responses,
            )

    async def run(self, interval: float = 1.0) -> None:
        """Look again every ``interval`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            await self.refresh()

    async def _look(self, what: str, work: Awaitable[bool]) -> bool:
        try:
            changed = await work
        except PostroadError as error:
            self.problems[what] = error
            return False
        except OSError as error:
            self.problems[what] = ConfigurationError(f"{what} can't be read: {error.strerror}")
            return False
        self.problems.pop(what, None)
        return changed

    async def _look_at_keys(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._can_sign and now - self._keys_looked_at < KEY_LOOK_INTERVAL:
            return False
        keys = tuple(await self._signer.certificates())
        self._keys_looked_at = now
        changed, self._keys = keys != self._keys, keys
        return changed

    @property
    def _can_sign(self) -> bool:
        """Whether some key can be used; until then every look asks, so that a start is quick."""
        return any(key.active and key.token_active for key in self._keys)

    def look_at_keys_soon(self) -> None:
        """Ask the signer at the next look: something went wrong with a key."""
        self._keys_looked_at = float("-inf")

    def _load_globalconf(self) -> bool:
        directory = self._settings.globalconf_path
        seen = tree_signature(directory)
        if seen == self._globalconf_seen and self._globalconf is not None:
            return False
        self._globalconf = self._loader.load(read_tree(directory, MAX_GLOBALCONF_BYTES))
        self._globalconf_seen = seen
        return True
