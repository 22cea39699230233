"""How is one instance's configuration updated: which address is asked next, and when is it enough?

The update is a dialogue without I/O: a generator that yields what to fetch and is sent what came
back, so that it reads in the order of the protocol::

    dialogue = update_instance(...)
    step = next(dialogue)                  # a Fetch
    step = dialogue.send(Fetched(...))     # the next Fetch, until StopIteration(UpdateOutcome)

Source: PR-GCONF 2.6.1-2.6.2; reference: ``ConfigurationDownloader``, ``LocationVersionResolver``.
Unlike the reference, a version that worked is looked at again after an hour, so that a running
server moves up when its central server does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, MalformedInput, PostroadError, UnavailablePeer
from postroad.globalconf.directory import MAX_DIRECTORY_BYTES
from postroad.globalconf.locations import (
    PROBED_VERSIONS,
    has_version,
    locations_of,
    part_url,
    with_only_version,
    with_version,
)
from postroad.globalconf.parts import SHARED_FILE
from postroad.globalconf.shared_parameters import OLDEST_VERSION, SharedParameters
from postroad.globalconf.source_state import RememberedLocation, SourceState
from postroad.globalconf.trusted import TrustedUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from datetime import datetime

    from postroad.globalconf.anchor import Anchor
    from postroad.globalconf.locations import Location
    from postroad.globalconf.stored import StoredPart
    from postroad.globalconf.trusted import AcceptedUpdate, UpdateScope

_OK = 200
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask for one address; the answer must not be larger than ``max_body`` bytes."""

    url: str
    max_body: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back, and when. ``status`` is 0 when nothing did; ``body`` then tells why."""

    status: int
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class LocationFailure:
    """Why one address gave nothing usable."""

    url: str
    error: PostroadError


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """How an update ended: what was accepted, if anything, what failed, what to remember."""

    accepted: AcceptedUpdate | None
    failures: tuple[LocationFailure, ...]
    state: SourceState

    @property
    def error(self) -> PostroadError | None:
        """The failure that tells most: a broken proof before an unreachable address."""
        if self.accepted is not None:
            return None
        telling = [f.error for f in self.failures if not isinstance(f.error, UnavailablePeer)]
        errors = telling or [failure.error for failure in self.failures]
        return errors[-1] if errors else _no_location()


def update_instance(
    anchor: Anchor,
    scope: UpdateScope,
    *,
    stored: Mapping[str, Mapping[str, StoredPart]],
    state: SourceState,
    shuffle: Callable[[Sequence[Location]], Sequence[Location]],
    version: int | None = None,
) -> Generator[Fetch, Fetched, UpdateOutcome]:
    """Try the locations of an instance one after the other; the first whole update wins.

    ``stored`` are the parts on disk by instance and file name; ``version`` is the only one that is
    asked for, None looks for the newest. Never raises a ``PostroadError``:
    failures are in the outcome, and what is stored then stays in use.
    """
    remembered = state.location
    locations = locations_of(
        anchor,
        stored_shared_parameters(stored, anchor.instance),
        shuffle=shuffle,
        first=() if remembered is None else (remembered.url,),
    )
    failures: list[LocationFailure] = []
    for location in locations:
        known = remembered if remembered and remembered.url == location.url else None
        update = TrustedUpdate(scope, stored, state.history)
        try:
            accepted, used = yield from _update_from(location, update, known, version)
        except PostroadError as error:
            failures.append(LocationFailure(location.url, error))
            if known is not None:
                state = replace(state, location=None)
            continue
        state = replace(state, location=used, history=accepted.history)
        return UpdateOutcome(accepted, tuple(failures), state)
    return UpdateOutcome(None, tuple(failures), state)


def stored_shared_parameters(
    stored: Mapping[str, Mapping[str, StoredPart]], instance: str
) -> SharedParameters | None:
    """The stored shared parameters of an instance; None when absent or broken."""
    part = stored.get(instance, {}).get(SHARED_FILE)
    if part is None:
        return None
    try:
        return SharedParameters.parse(part.content, part.metadata.version)
    except MalformedInput:
        return None


def _update_from(
    location: Location, update: TrustedUpdate, known: RememberedLocation | None, version: int | None
) -> Generator[Fetch, Fetched, tuple[AcceptedUpdate, RememberedLocation | None]]:
    if version is None:
        url, answer, used = yield from _fetch_directory(location.url, known)
    else:
        url = with_only_version(location.url, version)
        answer = yield Fetch(url, MAX_DIRECTORY_BYTES)
        used = RememberedLocation(location.url, version, answer.at)
    _check_status(url, answer, FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE)
    update.accept_directory(answer.body, location.certificates, at=answer.at)
    for slot, reference in update.missing:
        address = part_url(url, reference.location, may_be_elsewhere=update.is_own)
        part = yield Fetch(address, update.max_bytes(slot))
        _check_status(address, part, FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE)
        update.accept_part(slot, part.body)
    return update.complete(), used


def _fetch_directory(
    url: str, known: RememberedLocation | None
) -> Generator[Fetch, Fetched, tuple[str, Fetched, RememberedLocation | None]]:
    """Fetch the directory in the newest version that the source has.

    The source answers 404 for versions it lacks; any other status means that it has the version.
    A source without any of the newer ones has the oldest.
    """
    if has_version(url):
        return url, (yield Fetch(url, MAX_DIRECTORY_BYTES)), None
    if known is not None:
        address = with_version(url, known.version)
        answer = yield Fetch(address, MAX_DIRECTORY_BYTES)
        newest = known.version == PROBED_VERSIONS[0]
        if answer.status != _NOT_FOUND and (newest or known.is_fresh(answer.at)):
            return address, answer, known
    for version in PROBED_VERSIONS:
        address = with_version(url, version)
        answer = yield Fetch(address, MAX_DIRECTORY_BYTES)
        if answer.status != _NOT_FOUND:
            if answer.status == 0:
                raise _unreachable(address, answer, FaultCode.GLOBAL_CONF_GET_VERSION_FAILED)
            return address, answer, RememberedLocation(url, version, answer.at)
    address = with_version(url, OLDEST_VERSION)
    answer = yield Fetch(address, MAX_DIRECTORY_BYTES)
    return address, answer, RememberedLocation(url, OLDEST_VERSION, answer.at)


def _check_status(url: str, answer: Fetched, code: FaultCode) -> None:
    if answer.status == 0:
        raise _unreachable(url, answer, code)
    if answer.status != _OK:
        raise UnavailablePeer(f"{url} answered with status {answer.status}", code=code)


def _unreachable(url: str, answer: Fetched, code: FaultCode) -> UnavailablePeer:
    reason = answer.body.decode("utf-8", "replace")[:300]
    return UnavailablePeer(f"{url} can't be fetched: {reason}", code=code)


def _no_location() -> PostroadError:
    return UnavailablePeer(
        "the anchor has no address that can be asked",
        code=FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE,
    )
