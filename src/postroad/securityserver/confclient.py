"""How does a server keep its copy of the global configuration: one poll, from anchor to disk.

A poll never makes things worse: whatever fails, the configuration on disk stays in use until its
own expiry ends it, and the report says what went wrong. The steps are those of PR-GCONF 2.6; the
decisions are made in ``globalconf.updates`` and ``globalconf.trusted``. Reference:
``ConfigurationClient``.
"""

from __future__ import annotations

import asyncio
import math
import random
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from postroad.adapters.configuration_download import converse
from postroad.adapters.files import read_tree, remove_directory, replace_directory, write_atomic
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, PostroadError
from postroad.globalconf.anchor import MAX_ANCHOR_BYTES, Anchor, fingerprint
from postroad.globalconf.federation import AllowedFederations
from postroad.globalconf.parts import (
    INSTANCE_FILE,
    PRIVATE_FILE,
    SHARED_FILE,
    encode_directory_name,
)
from postroad.globalconf.private_parameters import PrivateParameters
from postroad.globalconf.source_state import MAX_STATE_BYTES, ClientState, SourceState
from postroad.globalconf.stored import StoredPart, encode_instance, load_parts
from postroad.globalconf.trusted import UpdateScope, is_rolled_back, private_parameters_in
from postroad.globalconf.updates import update_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.globalconf.locations import Location
    from postroad.globalconf.trusted import AcceptedUpdate
    from postroad.ports import HttpFetcher

INSTANCE_DEADLINE: Final = 300.0
"""Seconds after which the update of one instance is given up, whatever its sources do."""
FEDERATED_DEADLINE: Final = 60.0
"""The same for a federated instance."""
FEDERATIONS_DEADLINE: Final = 180.0
"""For all of them together: our own configuration must be renewed meanwhile, or it expires."""
PARALLEL_FEDERATIONS: Final = 8
MAX_FOREIGN_BYTES: Final = 96 * 1024 * 1024
"""What all other instances may take on disk, so that our own always has room."""
MAX_STORED_BYTES: Final = 256 * 1024 * 1024

Stored = dict[str, dict[str, StoredPart]]


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """How the update of one instance went; ``error`` is None when it went well."""

    instance: str
    error: PostroadError | None = None
    url: str | None = None
    """The address that gave the configuration, without the version asked for."""
    version: int | None = None
    fetched: tuple[str, ...] = ()
    """File names that were downloaded anew."""


@dataclass(frozen=True, slots=True)
class PollReport:
    """How one poll went: our own instance, the federated ones, what was removed."""

    own: InstanceReport
    federated: tuple[InstanceReport, ...] = ()
    removed: tuple[str, ...] = ()
    changed: bool = False
    """Whether any content on disk is different now; a new expiry alone doesn't count."""

    @property
    def succeeded(self) -> bool:
        """Whether our own configuration is up to date."""
        return self.own.error is None


@dataclass(slots=True)
class _Poll:
    """What one poll works on: the parts on disk, the memory of sources, what has changed."""

    own_instance: str
    stored: Stored
    state: ClientState
    sources: dict[str, SourceState] = field(default_factory=dict)
    changed: bool = False
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)


class ConfigurationClient:
    """Downloads, proves and stores the global configuration.

    ``directory`` holds the configuration in the layout of ``globalconf.stored``; the memory of
    sources is the file ``<directory>.state`` beside it. One client at a time may work on them.
    A configuration proxy gives the one ``version`` to be asked for, of any kind of source.
    """

    def __init__(
        self,
        *,
        anchor_path: Path,
        directory: Path,
        fetcher: HttpFetcher,
        clock: Clock,
        allowed: AllowedFederations | None = None,
        shuffle: Callable[[Sequence[Location]], Sequence[Location]] | None = None,
        version: int | None = None,
    ) -> None:
        self._anchor_path = anchor_path
        self._directory = directory
        self._state_path = directory.with_name(f"{directory.name}.state")
        self._fetcher = fetcher
        self._clock = clock
        self._allowed = allowed or AllowedFederations()
        self._shuffle = shuffle or _shuffled
        self._version = version
        self._turn = 0

    async def run_once(self) -> PollReport:
        """Poll once. Refusals and failures of network or disk are in the report, never raised."""
        try:
            data = await asyncio.to_thread(_read_anchor, self._anchor_path)
            anchor = Anchor.parse(data)
            poll = await asyncio.to_thread(self._open, anchor.instance)
        except (PostroadError, OSError) as error:
            return PollReport(InstanceReport("", _told(error)))
        scope = UpdateScope(
            anchor.instance,
            is_own=True,
            allowed=self._allowed,
            may_be_external=self._version is not None,
        )
        own, accepted = await self._update(poll, anchor, scope, fingerprint(data))
        private = self._private_parameters(poll, accepted)
        wanted = {} if private is None else self._wanted_anchors(anchor.instance, private)
        federated = await self._update_federations(poll, list(wanted.values()))
        removed: tuple[str, ...] = ()
        if accepted is not None:
            keep = {anchor.instance, *accepted.instances, *wanted}
            try:
                removed = await asyncio.to_thread(self._remove_others, poll, keep)
            except OSError as error:
                own = InstanceReport(anchor.instance, _told(error))
        try:
            await asyncio.to_thread(self._save_state, poll)
        except OSError as error:
            own = InstanceReport(anchor.instance, _told(error))
        return PollReport(own, federated, removed, poll.changed)

    # --- one instance ----------------------------------------------------------------------

    async def _update(
        self,
        poll: _Poll,
        anchor: Anchor,
        scope: UpdateScope,
        anchor_key: str,
        deadline: float = math.inf,
    ) -> tuple[InstanceReport, AcceptedUpdate | None]:
        key = f"{'own' if scope.is_own else 'federated'}/{anchor.instance}"
        state = poll.state.of(key, anchor_key)
        dialogue = update_instance(
            anchor,
            scope,
            stored=poll.stored,
            state=state,
            shuffle=self._shuffle,
            version=self._version,
        )
        patience = INSTANCE_DEADLINE if scope.is_own else FEDERATED_DEADLINE
        until = min(deadline, asyncio.get_running_loop().time() + patience)
        try:
            async with asyncio.timeout_at(until):
                outcome = await converse(dialogue, self._fetcher, self._clock)
        except TimeoutError:
            return InstanceReport(anchor.instance, _too_slow(anchor.instance)), None
        accepted = outcome.accepted
        if accepted is None:
            poll.sources[key] = outcome.state
            return InstanceReport(anchor.instance, outcome.error), None
        try:
            async with poll.storing:
                await asyncio.to_thread(self._store, poll, accepted, scope)
        except (PostroadError, OSError) as error:
            # What was accepted isn't on disk, so neither is it remembered.
            return InstanceReport(anchor.instance, _told(error)), None
        poll.sources[key] = outcome.state
        location = outcome.state.location
        report = InstanceReport(
            anchor.instance,
            url=None if location is None else location.url,
            version=accepted.directory.version,
            fetched=tuple(name for _instance, name in accepted.fetched),
        )
        return report, accepted

    def _store(self, poll: _Poll, accepted: AcceptedUpdate, scope: UpdateScope) -> None:
        own_instance = poll.own_instance
        own_first = sorted(accepted.instances.items(), key=lambda entry: entry[0] != own_instance)
        for instance, parts in own_first:
            before = poll.stored.get(instance, {})
            after = dict(parts)
            if instance != own_instance:
                after = self._not_older(before, after)
                _check_room(poll.stored, own_instance, instance, after)
            elif not scope.is_own:
                # Our own shared parameters come from a source of their own, the rest stays.
                after = {**before, **after}
            elif SHARED_FILE not in after and SHARED_FILE in before:
                after[SHARED_FILE] = before[SHARED_FILE]
            if after == before:
                continue
            replace_directory(
                self._directory / encode_directory_name(instance), encode_instance(after)
            )
            poll.changed |= _contents(after) != _contents(before)
            poll.stored[instance] = after

    def _not_older(
        self, before: dict[str, StoredPart], after: dict[str, StoredPart]
    ) -> dict[str, StoredPart]:
        at = self._clock.now()
        return {
            name: before[name]
            if name in before and is_rolled_back(before[name], part, at=at)
            else part
            for name, part in after.items()
        }

    # --- federation ------------------------------------------------------------------------

    def _private_parameters(
        self, poll: _Poll, accepted: AcceptedUpdate | None
    ) -> PrivateParameters | None:
        """The private parameters that say which instances are federated; stored ones while good."""
        if accepted is not None:
            return private_parameters_in(accepted, poll.own_instance)
        part = poll.stored.get(poll.own_instance, {}).get(PRIVATE_FILE)
        if part is None:
            return None
        expires_at = part.metadata.expires_at
        if expires_at is not None and self._clock.now() > expires_at:
            return None
        try:
            return PrivateParameters.parse(part.content, part.metadata.version)
        except MalformedInput:
            return None

    def _wanted_anchors(self, own_instance: str, private: PrivateParameters) -> dict[str, Anchor]:
        wanted: dict[str, Anchor] = {}
        for anchor in private.trusted_anchors:
            # Our own instance may be listed: then its shared parameters come from there.
            if anchor.instance == own_instance or self._allowed.allows(anchor.instance):
                wanted.setdefault(anchor.instance, anchor)
        return wanted

    async def _update_federations(
        self, poll: _Poll, anchors: Sequence[Anchor]
    ) -> tuple[InstanceReport, ...]:
        """Update them in turns, so that sources that never answer don't starve the same others."""
        turn = self._turn % max(1, len(anchors))
        self._turn += 1
        limit = asyncio.Semaphore(PARALLEL_FEDERATIONS)
        deadline = asyncio.get_running_loop().time() + FEDERATIONS_DEADLINE

        async def update(anchor: Anchor) -> InstanceReport:
            try:
                async with asyncio.timeout_at(deadline):
                    await limit.acquire()
            except TimeoutError:
                return InstanceReport(anchor.instance, _too_slow(anchor.instance))
            try:
                scope = UpdateScope(anchor.instance, is_own=False)
                key = fingerprint(anchor.encode())
                report, _accepted = await self._update(poll, anchor, scope, key, deadline)
                return report
            finally:
                limit.release()

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(update(anchor)) for anchor in [*anchors[turn:], *anchors[:turn]]
            ]
        return tuple(task.result() for task in tasks)

    def _remove_others(self, poll: _Poll, keep: Collection[str]) -> tuple[str, ...]:
        others = tuple(instance for instance in poll.stored if instance not in keep)
        for instance in others:
            remove_directory(self._directory / encode_directory_name(instance))
            del poll.stored[instance]
            poll.changed = True
        return others

    # --- disk ------------------------------------------------------------------------------

    def _open(self, own_instance: str) -> _Poll:
        """Read what is stored, clear away what a crash left, say whose configuration it is."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for leftover in self._directory.glob(".*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
        files = read_tree(self._directory, MAX_STORED_BYTES)
        identifier = own_instance.encode("utf-8")
        if files.get(INSTANCE_FILE) != identifier:
            write_atomic(self._directory / INSTANCE_FILE, identifier, 0o640)
        return _Poll(own_instance, load_parts(files), self._load_state())

    def _load_state(self) -> ClientState:
        try:
            with self._state_path.open("rb") as file:
                return ClientState.parse(file.read(MAX_STATE_BYTES + 1))
        except (FileNotFoundError, MalformedInput):
            # The memory is a convenience; without it the next poll asks a little more.
            return ClientState()

    def _save_state(self, poll: _Poll) -> None:
        sources = {
            key: state
            for key, state in {**poll.state.sources, **poll.sources}.items()
            if key.startswith("own/") or key.partition("/")[2] in poll.stored
        }
        if sources != poll.state.sources:
            write_atomic(self._state_path, ClientState(sources).encode(), 0o640)


def _check_room(stored: Stored, own: str, instance: str, after: dict[str, StoredPart]) -> None:
    others = {name: parts for name, parts in stored.items() if name not in {own, instance}}
    total = sum(len(part.content) for parts in (*others.values(), after) for part in parts.values())
    if total > MAX_FOREIGN_BYTES:
        raise ConfigurationError(
            f"instance {instance} doesn't fit: other instances may take "
            f"{MAX_FOREIGN_BYTES // 2**20} MiB together",
            code=FaultCode.GLOBAL_CONF_PART_FILE_SAVE_FAILURE,
        )


def _contents(parts: dict[str, StoredPart]) -> dict[str, bytes]:
    return {name: part.content for name, part in parts.items()}


def _read_anchor(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ANCHOR_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration anchor {path} can't be read: {error.strerror}",
            code=FaultCode.ANCHOR_FILE_NOT_FOUND,
        ) from error


def _told(error: PostroadError | OSError) -> PostroadError:
    if isinstance(error, PostroadError):
        return error
    return ConfigurationError(
        f"the global configuration can't be saved: {error}",
        code=FaultCode.GLOBAL_CONF_PART_FILE_SAVE_FAILURE,
    )


def _too_slow(instance: str) -> PostroadError:
    return ConfigurationError(
        f"the update of instance {instance} took longer than it may",
        code=FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE,
    )


def _shuffled(locations: Sequence[Location]) -> Sequence[Location]:
    order = list(locations)
    random.SystemRandom().shuffle(order)
    return order
