"""Which nodes make up this Central Server, and how does each of them fare?

Nodes work on one database and are equal: each generates, signs and serves its own copy of the
configuration. A node is known by its address and its signing keys. Source: reference
``HAClusterNodeMapper`` and its view ``ha_cluster_status``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select

from postroad.centralserver.models.system import (
    ManagementServiceCertificate,
    NodeGeneration,
    SystemParameter,
)
from postroad.centralserver.registry.parameters import (
    Parameter,
    find_parameter,
    number_parameter,
    own_instance,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import SourceType, find_source, rebuild_anchors

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change

_SLACK: Final = timedelta(seconds=10)


class NodeState(StrEnum):
    """How current a node's configuration is, in the reference's words."""

    UNKNOWN = "UNKNOWN"
    """It has never generated any."""
    OK = "OK"
    WARN = "WARN"
    """The last generation failed, or is overdue."""
    ERROR = "ERROR"
    """What it publishes has expired."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node as the others see it."""

    name: str
    address: str | None
    state: NodeState
    generated_at: datetime | None = None
    expires_at: datetime | None = None
    log_sequence: int = 0
    """The last entry of the change log that its published configuration knows."""
    error: str = ""

    @property
    def shown_name(self) -> str:
        """The name that people see; a node without one is called as in the reference."""
        return shown_name(self.name)


def shown_name(node_name: str) -> str:
    """The name that people see of a node.

    >>> shown_name("")
    'node_0'
    """
    return node_name or "node_0"


def list_nodes(session: Session, *, at: datetime, interval: timedelta) -> list[ClusterNode]:
    """All nodes that have an address, by name; ``interval`` is that between generations."""
    addresses = select(SystemParameter).where(
        SystemParameter.key == Parameter.CENTRAL_SERVER_ADDRESS.value
    )
    known = {row.node_name: row.value for row in session.scalars(addresses)}
    notes = {row.node_name: row for row in session.scalars(select(NodeGeneration))}
    validity = timedelta(seconds=number_parameter(session, Parameter.EXPIRE_INTERVAL))
    return [
        _node(name, known[name], notes.get(name), at=at, interval=interval, validity=validity)
        for name in sorted(known)
    ]


def require_new_node(session: Session, instance: str, node_name: str) -> None:
    """Refuse what can't join: another instance, no instance at all, a name that is taken."""
    if own_instance(session) != instance:
        raise RegistryRefusal(
            Problem.ALREADY_INITIALIZED,
            f"the database holds instance {own_instance(session)}, not {instance}",
        )
    if not node_name:
        raise RegistryRefusal(
            Problem.INVALID_VALUE, "a node that joins others needs a name of its own"
        )
    addresses = select(SystemParameter.node_name).where(
        SystemParameter.key == Parameter.CENTRAL_SERVER_ADDRESS.value
    )
    if node_name in {shown_name(name) for name in session.scalars(addresses)}:
        raise RegistryRefusal(
            Problem.ALREADY_INITIALIZED, f"there is a node {node_name!r} already: choose another"
        )


def remove_node(change: Change, node_name: str, *, by: str, at_rest: bool) -> None:
    """Take a node out of the cluster: its address, keys and certificate; the anchors change.

    What the node itself still publishes ends within its validity, and it can make no more. ``by``
    is the node that asks, which can't remove itself; ``at_rest`` says that its operator knows the
    node to be stopped: without, one that still publishes valid configuration is refused.
    """
    session = change.session
    if node_name == by:
        raise RegistryRefusal(
            Problem.INVALID_VALUE, "a node can't remove itself: ask from another one"
        )
    if find_parameter(session, Parameter.CENTRAL_SERVER_ADDRESS, node_name) is None:
        raise RegistryRefusal(Problem.INVALID_VALUE, f"there is no node {shown_name(node_name)!r}")
    note = session.get(NodeGeneration, node_name)
    if not at_rest and note is not None and note.expires_at and note.expires_at > change.at:
        raise RegistryRefusal(
            Problem.INVALID_VALUE,
            f"node {shown_name(node_name)!r} publishes configuration that is valid until "
            f"{note.expires_at:%Y-%m-%d %H:%M:%S} UTC: stop it first",
        )
    for source_type in SourceType:
        source = find_source(session, source_type, node_name)
        if source is not None:
            session.delete(source)
    for table in (SystemParameter, NodeGeneration, ManagementServiceCertificate):
        session.execute(delete(table).where(table.node_name == node_name, table.node_name != ""))
    if not node_name:
        _forget_unnamed(session)
    change.record("Remove Central Server node", haNode=node_name)
    for source_type in SourceType:
        rebuild_anchors(change, source_type)


def _forget_unnamed(session: Session) -> None:
    # Under the empty name there also is what belongs to all nodes, and stays.
    address = Parameter.CENTRAL_SERVER_ADDRESS.value
    session.execute(
        delete(SystemParameter).where(
            SystemParameter.key == address, SystemParameter.node_name == ""
        )
    )
    session.execute(delete(NodeGeneration).where(NodeGeneration.node_name == ""))


def _node(
    name: str,
    address: str,
    note: NodeGeneration | None,
    *,
    at: datetime,
    interval: timedelta,
    validity: timedelta,
) -> ClusterNode:
    if note is None:
        return ClusterNode(name, address, NodeState.UNKNOWN)
    state = NodeState.UNKNOWN
    if note.generated_at is not None:
        age = at - note.generated_at
        state = NodeState.OK
        if note.failing_since is not None or age > interval + _SLACK:
            state = NodeState.WARN
        if age > validity:
            state = NodeState.ERROR
    return ClusterNode(
        name,
        address,
        state,
        generated_at=note.generated_at,
        expires_at=note.expires_at,
        log_sequence=note.log_sequence,
        error=note.error,
    )
