"""Which node of which version is this? Source: reference ``SystemApiController``."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from postroad import __version__
from postroad.centralserver.api.initialization import InitializationStatus, initialization_status
from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.registry.nodes import NodeState, shown_name
from postroad.centralserver.registry.system import change_address
from postroad.centralserver.roles import Permission


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
            is_ha_configured=bool(call.node_name), node_name=shown_name(call.node_name)
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
    """All nodes of the cluster, as they have told in the database how they fare."""
    nodes = [
        HighAvailabilityClusterNode(
            node_name=node.shown_name,
            node_address=node.address,
            status=node.state.value,
            configuration_generated=node.generated_at,
        )
        for node in call.node.nodes()
    ]
    return HighAvailabilityClusterStatus(
        is_ha_configured=bool(call.node_name),
        node_name=shown_name(call.node_name),
        nodes=nodes,
        all_nodes_ok=all(node.status == NodeState.OK for node in nodes),
    )


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
