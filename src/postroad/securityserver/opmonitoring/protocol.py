"""What do the proxy workers and the background process say to each other about monitoring?

Methods of ``run/monitoring.sock`` and their arguments. The background process answers; it alone
keeps the records, so that no worker waits for a disk.
"""

from __future__ import annotations

from typing import Final

import msgspec

from postroad.securityserver.opmonitoring.record import Observation

STORE: Final = "store"
QUERY: Final = "query"
HEALTH: Final = "health"
"""Its argument are the parts of a provider's identifier, none for all; it answers with XML."""

METRICS: Final = "metrics"
"""It answers with XML."""


class MetricsArgument(msgspec.Struct, array_like=True):
    """Which metrics of the environment are wanted: their names, none for all."""

    names: tuple[str, ...]
    limited: bool
    """Whether only what the owner lets everybody know is told."""


class WorkerState(msgspec.Struct, array_like=True):
    """How a worker is doing."""

    index: int
    process: int
    """Its process id."""
    connections: int = 0
    """Open connections of information systems and peers."""
    waiting_signatures: int = 0
    """Messages that wait for the signer."""
    files: int = 0
    """Open file descriptors."""
    dropped: int = 0
    """Observations dropped since the worker's start: the buffer was full."""


class StoreArgument(msgspec.Struct, array_like=True):
    """A batch of observations, oldest first; it may be empty."""

    worker: WorkerState
    observations: list[Observation]


class QueryArgument(msgspec.Struct, array_like=True):
    """A question for records; whether it may be asked has been decided."""

    records_from: int
    records_to: int
    """Seconds, both inclusive."""
    client: tuple[str, ...] | None = None
    """Parts of an identifier: only exchanges in which it was client or provider."""
    provider: tuple[str, ...] | None = None
    """Parts of an identifier: only exchanges in which it was the provider."""
    columns: tuple[str, ...] = ()
    """What is wanted of each record; all of it if there are none."""


class QueryResult(msgspec.Struct, array_like=True):
    """The records that were asked for."""

    count: int
    payload: bytes
    """Gzip of the JSON."""
    next_from: int | None = None
    """Where to go on: there are more, or there may be more later."""
