"""How does an instance begin? Source: reference ``InitializationApiController``."""

from __future__ import annotations

from typing import Final

from postroad.centralserver.api.operations import AUTHENTICATED, Call, Operation, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.node import NewInstance, initialize_instance
from postroad.centralserver.registry.system import instance_status
from postroad.centralserver.roles import Permission


class InitialServerConf(Payload):
    """What an instance is made from."""

    instance_identifier: Text
    central_server_address: Text
    software_token_pin: Text

    def __repr__(self) -> str:
        return f"InitialServerConf({self.instance_identifier})"


class InitializationStatus(Payload):
    """How far this is done."""

    instance_identifier: str
    central_server_address: str
    software_token_init_status: str


def initialization_status(call: Call) -> InitializationStatus:
    """How far the initialisation has come."""
    with call.reading() as session:
        status = instance_status(session, call.node_name)
    done = call.services.login.is_initialized
    return InitializationStatus(
        instance_identifier=status.instance or "",
        central_server_address=status.address or "",
        software_token_init_status="INITIALIZED" if done else "NOT_INITIALIZED",
    )


def initialize(call: Call) -> None:
    """Make an instance, or complete one that was half made; then its token is logged in."""
    body: InitialServerConf = call.body
    call.audited.update(
        instanceIdentifier=body.instance_identifier,
        centralServerAddress=body.central_server_address,
        haNode=call.node_name,
    )
    status = initialization_status(call)
    if (
        status.instance_identifier
        and status.central_server_address
        and call.services.login.is_initialized
    ):
        raise ApiRefusal(409, "init_already_initialized")
    new = NewInstance(
        instance=body.instance_identifier,
        address=body.central_server_address,
        pin=body.software_token_pin,
    )
    initialize_instance(call.node, new, call.actor)
    call.services.login.login(body.software_token_pin)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/initialization/status",
        name="getInitializationStatus",
        handler=initialization_status,
        needs=AUTHENTICATED,
        answer=InitializationStatus,
    ),
    Operation(
        method="POST",
        path="/initialization",
        name="initCentralServer",
        handler=initialize,
        needs=any_of(Permission.INIT_CONFIG),
        body=InitialServerConf,
        event="Initialize central server",
    ),
)
