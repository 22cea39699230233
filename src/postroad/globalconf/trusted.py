"""What of a download may replace what we hold: only newer, signed, unexpired, and whole.

:class:`TrustedUpdate` takes bytes, never addresses or files, and enforces the order:

1. :meth:`~TrustedUpdate.accept_directory`: the signature holds with a key of the location, the
   directory hasn't expired, it isn't older than what we accepted before, and what it lists fits
   the source it came from;
2. :meth:`~TrustedUpdate.accept_part` for each part in ``missing``: the digest is the one in the
   directory, the content parses in the directory's version and is about the instance it claims;
3. :meth:`~TrustedUpdate.complete`: nothing is missing. Only now is there anything to store.

Any refusal ends the attempt; what is stored stays as it is. Source: PR-GCONF 2.6; reference:
``ConfigurationDownloader``. The refusal of older generations and of other instances' parameters
goes beyond it: a directory only carries an expiry, so an old copy could be replayed until then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, TrustError
from postroad.globalconf.directory import SignedDirectory, verify_directory
from postroad.globalconf.elements import CONFIGURATION_LIMITS
from postroad.globalconf.federation import AllowedFederations
from postroad.globalconf.moments import encode_moment, parse_stamp
from postroad.globalconf.parts import (
    PRIVATE_FILE,
    PRIVATE_PARAMETERS,
    SHARED_PARAMETERS,
    PartMetadata,
    encode_directory_name,
    file_name_of,
)
from postroad.globalconf.private_parameters import PrivateParameters
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.globalconf.stored import StoredPart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from postroad.globalconf.directory import PartReference

MAX_PART_BYTES = CONFIGURATION_LIMITS.max_bytes
MAX_FOREIGN_PART_BYTES = 16 * 1024 * 1024
"""Shared parameters of another instance: strangers must not fill our memory with our blessing."""
MAX_UPDATE_BYTES = 2 * MAX_PART_BYTES
"""All parts of one update together."""
DOWNGRADE_MARGIN = timedelta(minutes=3)
"""How long before what we hold expires a lower configuration version is accepted again."""

Slot = tuple[str, str]
"""Where a part belongs: instance and file name."""


@dataclass(frozen=True, slots=True)
class UpdateScope:
    """What a source may tell: whose it is, and whether it is our own or a federated one.

    Our own source gives private, shared and optional parts, and through a configuration proxy
    also shared parameters of other allowed instances. A federated source gives the shared
    parameters of its own instance and nothing else.
    """

    instance: str
    is_own: bool
    allowed: AllowedFederations = field(default_factory=AllowedFederations)
    may_be_external: bool = False
    """Private parameters aren't demanded: a configuration proxy may pass on an external source."""

    def max_bytes(self, instance: str) -> int:
        """How large a part about ``instance`` may be in what this source gives."""
        is_ours = self.is_own and instance == self.instance
        return MAX_PART_BYTES if is_ours else MAX_FOREIGN_PART_BYTES


@dataclass(frozen=True, slots=True)
class History:
    """What was accepted last from this source; all None before the first time."""

    generated_at: datetime | None = None
    expires_at: datetime | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class AcceptedUpdate:
    """A whole, proven update: the parts of each instance by file name, and the new history."""

    directory: SignedDirectory
    instances: Mapping[str, Mapping[str, StoredPart]]
    fetched: tuple[Slot, ...]
    """The parts that had to be downloaded; the others are what we held already."""
    history: History


class TrustedUpdate:
    """One attempt to move what we hold of a source forward; see the module for the order."""

    def __init__(
        self,
        scope: UpdateScope,
        stored: Mapping[str, Mapping[str, StoredPart]],
        history: History | None = None,
    ) -> None:
        self._scope = scope
        self._stored = stored
        self._history = history or History()
        self._directory: SignedDirectory | None = None
        self._next_history = self._history
        self._wanted: dict[Slot, PartReference] = {}
        self._accepted: dict[Slot, bytes] = {}
        self._fetched: list[Slot] = []

    # --- step 1 ----------------------------------------------------------------------------

    def accept_directory(self, data: bytes, certificates: Sequence[bytes], *, at: datetime) -> None:
        """Prove the directory and decide which of its parts concern us.

        Raises ``MalformedInput`` or ``TrustError``.
        """
        if self._directory is not None:
            raise TrustError("this update has a directory already")
        directory = verify_directory(data, certificates, at=at)
        generated_at = generation_of(directory)
        self._check_history(directory, generated_at, at)
        self._wanted = self._select(directory)
        for slot, reference in self._wanted.items():
            held = self._stored.get(slot[0], {}).get(slot[1])
            if held is not None and reference.matches(held.content):
                if held.metadata.version != directory.version:
                    check_content(reference, held.content, directory.version, slot[0])
                self._accepted[slot] = held.content
        self._directory = directory
        # A source whose clock is ahead must not lock out the others: never remember the future.
        remembered = None if generated_at is None else min(generated_at, at)
        self._next_history = History(remembered, directory.expires_at, directory.version)

    def _check_history(
        self, directory: SignedDirectory, generated_at: datetime | None, at: datetime
    ) -> None:
        before = self._history
        if generated_at is not None and before.generated_at is not None:
            if generated_at < before.generated_at:
                raise _rolled_back(
                    f"generated at {encode_moment(generated_at)}, while we hold the generation of "
                    f"{encode_moment(before.generated_at)}"
                )
        elif before.expires_at is not None and directory.expires_at < before.expires_at:
            raise _rolled_back(
                f"expires at {encode_moment(directory.expires_at)}, earlier than what we hold"
            )
        still_good = before.expires_at is not None and at < before.expires_at - DOWNGRADE_MARGIN
        if before.version is not None and directory.version < before.version and still_good:
            raise _rolled_back(
                f"version {directory.version}, while version {before.version} is still good"
            )

    def _select(self, directory: SignedDirectory) -> dict[Slot, PartReference]:
        wanted: dict[Slot, PartReference] = {}
        for reference in directory.parts:
            instance = reference.instance or self._scope.instance
            if not self._concerns_us(reference.identifier, instance):
                continue
            encode_directory_name(instance)  # must be storable
            name = file_name_of(reference.identifier, reference.file_name, reference.location)
            if (instance, name) in wanted:
                raise TrustError(
                    f"the directory lists {name} of instance {instance} twice",
                    code=FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE,
                )
            wanted[instance, name] = reference
        self._check_presence(wanted)
        return wanted

    def _concerns_us(self, identifier: str, instance: str) -> bool:
        ours = instance == self._scope.instance
        if identifier == SHARED_PARAMETERS:
            # A federated source must not speak for any instance but its own.
            return ours or (self._scope.is_own and self._scope.allowed.allows(instance))
        if not self._scope.is_own:
            return False
        if identifier == PRIVATE_PARAMETERS and not ours:
            raise TrustError(
                f"private parameters of instance {instance!r} in the configuration of "
                f"{self._scope.instance!r}",
                code=FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER,
            )
        return ours

    def _check_presence(self, wanted: Mapping[Slot, PartReference]) -> None:
        identifiers = {
            reference.identifier
            for (instance, _name), reference in wanted.items()
            if instance == self._scope.instance
        }
        needed = PRIVATE_PARAMETERS if self._scope.is_own else SHARED_PARAMETERS
        instead = SHARED_PARAMETERS if self._scope.may_be_external else needed
        if not identifiers & {needed, instead}:
            raise TrustError(
                f"the directory lists no {needed} of instance {self._scope.instance!r}",
                code=FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER,
            )

    # --- step 2 ----------------------------------------------------------------------------

    @property
    def missing(self) -> tuple[tuple[Slot, PartReference], ...]:
        """The parts that are still to be downloaded."""
        return tuple(
            (slot, reference)
            for slot, reference in self._wanted.items()
            if slot not in self._accepted
        )

    @property
    def is_own(self) -> bool:
        """Whether the source is our own; strangers may not send us to other servers than theirs."""
        return self._scope.is_own

    def max_bytes(self, slot: Slot) -> int:
        """How large the part for that place may be."""
        return self._scope.max_bytes(slot[0])

    def accept_part(self, slot: Slot, content: bytes) -> None:
        """Take a downloaded part if it is the one that the directory means.

        Raises ``TrustError`` (integrity, instance) or ``MalformedInput``.
        """
        reference = self._wanted[slot]
        directory = self._held_directory()
        total = len(content) + sum(len(accepted) for accepted in self._accepted.values())
        if len(content) > self.max_bytes(slot) or total > MAX_UPDATE_BYTES:
            raise TrustError(
                f"{reference.location} makes the configuration larger than any real one",
                code=FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE,
            )
        if not reference.matches(content):
            raise TrustError(
                f"{reference.location} isn't the file that the directory lists",
                code=FaultCode.GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE,
            )
        check_content(reference, content, directory.version, slot[0])
        self._accepted[slot] = content
        self._fetched.append(slot)

    # --- step 3 ----------------------------------------------------------------------------

    def complete(self) -> AcceptedUpdate:
        """Return the update, once every part is at hand."""
        directory = self._held_directory()
        if self.missing:
            raise TrustError(
                "the update isn't complete", code=FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE
            )
        instances: dict[str, dict[str, StoredPart]] = {}
        for (instance, name), reference in self._wanted.items():
            metadata = PartMetadata(
                content_identifier=reference.identifier,
                instance=instance,
                expires_at=directory.expires_at,
                file_name=reference.file_name,
                location=reference.location,
                version=directory.version,
            )
            content = self._accepted[instance, name]
            instances.setdefault(instance, {})[name] = StoredPart(content, metadata)
        return AcceptedUpdate(directory, instances, tuple(self._fetched), self._next_history)

    def _held_directory(self) -> SignedDirectory:
        if self._directory is None:
            raise TrustError("no directory has been accepted")
        return self._directory


def check_content(reference: PartReference, content: bytes, version: int, instance: str) -> None:
    """Refuse parameters that don't parse in ``version`` or are about another instance."""
    if reference.identifier == SHARED_PARAMETERS:
        found = SharedParameters.parse(content, version).instance
    elif reference.identifier == PRIVATE_PARAMETERS:
        found = PrivateParameters.parse(content, version).instance
    else:
        return
    if found != instance:
        raise TrustError(
            f"{reference.location} is about instance {found[:60]!r}, not {instance!r}",
            code=FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER,
        )


def generation_of(directory: SignedDirectory) -> datetime | None:
    """When the newest part was generated, by the directory it is published in; None if unsaid."""
    moments = [
        moment
        for reference in directory.parts
        for segment in reference.location.split("/")
        if (moment := parse_stamp(segment)) is not None
    ]
    return max(moments, default=None)


def is_rolled_back(held: StoredPart, new: StoredPart, *, at: datetime) -> bool:
    """Whether a part is an older generation than the one we hold, which still counts.

    One instance's shared parameters may come from two sources: its own, and a configuration proxy
    of ours that passes a copy on. Neither must bring back what the other has replaced.
    """
    before, after = _source_generation(held.metadata), _source_generation(new.metadata)
    if before is None or after is None or held.content == new.content:
        return False
    expires_at = held.metadata.expires_at
    return after < before <= at and (expires_at is None or at <= expires_at)


def _source_generation(metadata: PartMetadata) -> datetime | None:
    # A proxy puts its own moment in front of the location that the source has given.
    segments = reversed((metadata.location or "").split("/"))
    moments = (parse_stamp(segment) for segment in segments)
    return next((moment for moment in moments if moment is not None), None)


def private_parameters_in(update: AcceptedUpdate, instance: str) -> PrivateParameters | None:
    """The private parameters of an accepted update, None when it has none."""
    part = update.instances.get(instance, {}).get(PRIVATE_FILE)
    return None if part is None else PrivateParameters.parse(part.content, part.metadata.version)


def _rolled_back(reason: str) -> TrustError:
    return TrustError(
        f"the directory is older than what was accepted before: {reason}",
        code=FaultCode.GLOBAL_CONF_OUTDATED,
    )
