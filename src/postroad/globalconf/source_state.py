"""What does the configuration client remember of each source between polls and restarts?

One small JSON file beside the stored configuration. Losing it costs only the memory: the next
poll asks for versions again and accepts any generation that is signed and unexpired.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from postroad.errors import MalformedInput
from postroad.globalconf.elements import malformed
from postroad.globalconf.moments import encode_milliseconds, parse_moment
from postroad.globalconf.trusted import History

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_STATE_BYTES = 4 * 1024 * 1024
MAX_SOURCES = 2000
REPROBE_AFTER = timedelta(hours=1)
"""How long a version that worked is asked for without looking for a newer one."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class RememberedLocation:
    """An address that worked: the version it gave, and when versions were last looked for."""

    url: str
    version: int
    probed_at: datetime

    def is_fresh(self, at: datetime) -> bool:
        """Whether the version may be asked for without probing again."""
        return timedelta(0) <= at - self.probed_at < REPROBE_AFTER


@dataclass(frozen=True, slots=True)
class SourceState:
    """The memory of one source; ``anchor`` tells with which anchor it was made."""

    anchor: str
    location: RememberedLocation | None = None
    history: History = field(default_factory=History)


@dataclass(frozen=True, slots=True)
class ClientState:
    """The memory of all sources, by instance."""

    sources: Mapping[str, SourceState] = field(default_factory=dict)

    def of(self, instance: str, anchor: str) -> SourceState:
        """The memory of a source; an empty one when it was made with another anchor."""
        state = self.sources.get(instance)
        return state if state is not None and state.anchor == anchor else SourceState(anchor)

    def encode(self) -> bytes:
        """Write the file."""
        sources = {name: _encode_source(state) for name, state in self.sources.items()}
        document = {"format": _FORMAT, "sources": sources}
        return json.dumps(document, indent=1, sort_keys=True).encode("utf-8") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> ClientState:
        """Read the file; ``MalformedInput`` when it's broken."""
        if len(data) > MAX_STATE_BYTES:
            raise malformed("the state of the configuration client is too large")
        try:
            document = json.loads(data)
            if document["format"] != _FORMAT or len(document["sources"]) > MAX_SOURCES:
                raise malformed("the state of the configuration client has another format")
            return cls({str(k): _parse_source(v) for k, v in document["sources"].items()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise malformed("the state of the configuration client is broken") from None


def _encode_source(state: SourceState) -> dict[str, object]:
    location, history = state.location, state.history
    return {
        "anchor": state.anchor,
        "location": None
        if location is None
        else {
            "url": location.url,
            "version": location.version,
            "probed_at": encode_milliseconds(location.probed_at),
        },
        "generated_at": _optional_moment(history.generated_at),
        "expires_at": _optional_moment(history.expires_at),
        "version": history.version,
    }


def _optional_moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _parse_source(read: Mapping[str, object]) -> SourceState:
    location = read["location"]
    remembered = None
    if isinstance(location, dict):
        remembered = RememberedLocation(
            str(location["url"]), _number(location["version"]), _moment(location["probed_at"])
        )
    return SourceState(
        str(read["anchor"]),
        remembered,
        History(
            None if read["generated_at"] is None else _moment(read["generated_at"]),
            None if read["expires_at"] is None else _moment(read["expires_at"]),
            None if read["version"] is None else _number(read["version"]),
        ),
    )


def _moment(value: object) -> datetime:
    try:
        return parse_moment(str(value))
    except MalformedInput as error:
        raise ValueError(str(error)) from error


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value
