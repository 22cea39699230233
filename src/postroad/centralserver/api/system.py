"""Which node of which version is this? Source: reference ``SystemApiController``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from postroad import __version__
from postroad.centralserver.api.initialization import InitializationStatus, initialization_status
from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.generator import load_status
from postroad.centralserver.registry.parameters import Parameter, find_parameter, number_parameter
from postroad.centralserver.registry.sources import SourceType, list_sources
from postroad.centralserver.registry.system import change_address
from postroad.centralserver.roles import Permission

_SLACK: Final = timedelta(seconds=10)


class HighAvailabilityStatus(Payload):
    """Whether this node is one of many."""

    is_ha_configured: bool
    node_name: str


class HighAvailabilityClusterNode(Payload):
    """One node of a cluster and how its generation of configuration goes."""

    node_name: str
    status: str
    node_address: str | None = None
    configuration_generated: datetime | None = None


class HighAvailabilityClusterStatus(Payload):
    """All nodes."""

    is_ha_configured: bool
    node_name: str
    nodes: list[HighAvailabilityClusterNode]
    all_nodes_ok: bool


class SystemStatus(Payload):
    """The state of this node."""

    high_availability_status: HighAvailabilityStatus
    initialization_status: InitializationStatus


class Version(Payload):
    """The version of this software."""

    info: str


class CentralServerAddress(Payload):
    """Where participants reach this node."""

    central_server_address: Text


def system_status(call: Call) -> SystemStatus:
    """The state of this node."""
    return SystemStatus(
        high_availability_status=HighAvailabilityStatus(
            is_ha_configured=bool(call.node_name), node_name=_shown(call.node_name)
        ),
        initialization_status=initialization_status(call),
    )


def version(_call: Call) -> Version:
    """The version of this software."""
    return Version(info=__version__)


def change_server_address(call: Call) -> SystemStatus:
    """Change this node's address; the anchors change."""
    body: CentralServerAddress = call.body
    call.audited["centralServerAddress"] = body.central_server_address
    with call.changing() as change:
        change_address(change, body.central_server_address, call.node_name)
    return system_status(call)


def cluster_status(call: Call) -> HighAvailabilityClusterStatus:
    """All nodes of the cluster; of the others no more is known than their addresses."""
    with call.reading() as session:
        names = [source.node_name for source in list_sources(session, SourceType.INTERNAL)]
        nodes = [
            HighAvailabilityClusterNode(
                node_name=_shown(name),
                node_address=find_parameter(session, Parameter.CENTRAL_SERVER_ADDRESS, name),
                status=own[0] if (own := _own_status(call, name)) else "UNKNOWN",
                configuration_generated=own[1] if own else None,
            )
            for name in names
        ]
    return HighAvailabilityClusterStatus(
        is_ha_configured=bool(call.node_name),
        node_name=_shown(call.node_name),
        nodes=nodes,
        all_nodes_ok=all(node.status == "OK" for node in nodes),
    )


def _own_status(call: Call, name: str) -> tuple[str, datetime] | None:
    last = load_status(call.node.settings)
    if name != call.node_name or last is None:
        return None
    age = call.node.clock.now() - last.time
    with call.reading() as session:
        expiry = timedelta(seconds=number_parameter(session, Parameter.EXPIRE_INTERVAL))
    interval = timedelta(seconds=call.node.settings.configuration.generation_interval)
    if age > expiry:
        return "ERROR", last.time
    return ("OK" if last.success and age <= interval + _SLACK else "WARN"), last.time


def _shown(node_name: str) -> str:
    return node_name or "node_0"


_VIEW: Final = any_of(Permission.VIEW_VERSION)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/system/status",
        name="getSystemStatus",
        handler=system_status,
        needs=_VIEW,
        answer=SystemStatus,
    ),
    Operation(
        method="GET",
        path="/system/version",
        name="getSystemVersion",
        handler=version,
        needs=_VIEW,
        answer=Version,
    ),
    Operation(
        method="GET",
        path="/system/high-availability-cluster/status",
        name="getHighAvailabilityClusterStatus",
        handler=cluster_status,
        needs=_VIEW,
        answer=HighAvailabilityClusterStatus,
    ),
    Operation(
        method="PUT",
        path="/system/server-address",
        name="updateCentralServerAddress",
        handler=change_server_address,
        needs=any_of(Permission.EDIT_CENTRAL_SERVER_ADDRESS),
        body=CentralServerAddress,
        answer=SystemStatus,
        event="Edit central server address",
    ),
)
