"""How does an instance come into being?

Source: reference initialisation of the Central Server: identifier, address, owners' group and the
parameters that it writes at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.centralserver.models.parties import GlobalGroup
from postroad.centralserver.registry.groups import find_group
from postroad.centralserver.registry.names import check_code, check_node_address
from postroad.centralserver.registry.parameters import (
    DEFAULTS,
    Parameter,
    find_parameter,
    own_instance,
    set_parameter,
    store_parameter,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import SourceType, rebuild_anchors

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change

_WRITTEN_AT_START = (
    Parameter.AUTH_CERT_REG_URL,
    Parameter.SIGN_DIGEST,
    Parameter.PART_DIGEST_URI,
    Parameter.CERTIFICATE_DIGEST_URI,
    Parameter.OWNERS_GROUP,
)


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """Which instance this is and where its node answers; None while not initialised."""

    instance: str | None
    address: str | None


def instance_status(session: Session, node_name: str = "") -> InstanceStatus:
    """What is known of the instance on this node."""
    return InstanceStatus(
        find_parameter(session, Parameter.INSTANCE_IDENTIFIER),
        find_parameter(session, Parameter.CENTRAL_SERVER_ADDRESS, node_name),
    )


def initialize(change: Change, instance: str, address: str, node_name: str = "") -> bool:
    """Give the instance its identifier and this node its address; False when done before.

    A further node of a cluster brings its own address. Refused when the database is that of
    another instance, or the node has another address already.
    """
    session = change.session
    check_code(change, "the instance identifier", instance)
    if "'" in instance:
        # Signed directories quote it with this character, and know no escape.
        raise RegistryRefusal(
            Problem.INVALID_IDENTIFIER, f"the instance identifier {instance!r} holds a quote"
        )
    address = check_node_address(address)
    status = instance_status(session, node_name)
    if status == InstanceStatus(instance, address):
        return False
    if status.instance not in {None, instance} or status.address not in {None, address}:
        raise RegistryRefusal(
            Problem.ALREADY_INITIALIZED,
            f"the Central Server is initialised already: instance {status.instance}, "
            f"address {status.address}",
        )
    if status.instance is None:
        store_parameter(session, Parameter.INSTANCE_IDENTIFIER, instance)
        for key in _WRITTEN_AT_START:
            store_parameter(session, key, DEFAULTS[key])
        _create_owners_group(change)
    store_parameter(session, Parameter.CENTRAL_SERVER_ADDRESS, address, node_name)
    change.record(
        "Initialize Central Server",
        instanceIdentifier=instance,
        centralServerAddress=address,
        haNode=node_name,
    )
    return True


def change_address(change: Change, address: str, node_name: str = "") -> bool:
    """Change this node's address; False when it was that already. The anchors change."""
    own_instance(change.session)
    if not set_parameter(change, Parameter.CENTRAL_SERVER_ADDRESS, address, node_name):
        return False
    for source_type in SourceType:
        rebuild_anchors(change, source_type)
    return True


def _create_owners_group(change: Change) -> None:
    code = DEFAULTS[Parameter.OWNERS_GROUP]
    if find_group(change.session, code) is None:
        change.session.add(
            GlobalGroup(
                group_code=code,
                description="Security server owners",
                created_at=change.at,
                updated_at=change.at,
            )
        )
