from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.federation import preview_anchor, upload_anchor
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.trusted_anchors import list_trusted_anchors
from postroad.globalconf.anchor import fingerprint
from postroad.globalconf.private_parameters import PrivateParameters
from postroad.globalconf.shared_parameters import SharedParameters
from support.central_server import NOW, approve_trust_services
from support.globalconf import Instance, Network

if TYPE_CHECKING:
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.signing_keys import SigningToken


@pytest.fixture
def partner() -> Instance:
    made = Instance(name="PARTNER", address="partner.example")
    made.publish(NOW)
    return made


def trusted(node: CentralServerNode) -> list[str]:
    with node.reading() as session:
        return [row.instance_identifier for row in list_trusted_anchors(session)]


def refused(node: CentralServerNode, data: bytes, network: Network) -> Problem:
    with pytest.raises(RegistryRefusal) as caught:
        asyncio.run(upload_anchor(node, data, network, "tester"))
    assert trusted(node) == []
    return caught.value.problem


@pytest.mark.usefixtures("token")
def test_a_verified_external_anchor_is_trusted(node: CentralServerNode, partner: Instance) -> None:
    data = partner.anchor(external=True).encode()
    assert preview_anchor(node, data).fingerprint == fingerprint(data)
    assert trusted(node) == []
    uploaded = asyncio.run(upload_anchor(node, data, Network(partner), "tester"))
    assert uploaded.anchor.instance == "PARTNER"
    assert trusted(node) == ["PARTNER"]


@pytest.mark.usefixtures("token")
def test_an_internal_anchor_is_not_trusted(node: CentralServerNode, partner: Instance) -> None:
    data = partner.anchor().encode()
    assert refused(node, data, Network(partner)) is Problem.TRUSTED_ANCHOR_NOT_VERIFIED


@pytest.mark.usefixtures("token")
def test_an_anchor_that_leads_nowhere_is_not_trusted(
    node: CentralServerNode, partner: Instance
) -> None:
    data = partner.anchor(external=True).encode()
    assert refused(node, data, Network()) is Problem.TRUSTED_ANCHOR_NOT_VERIFIED


@pytest.mark.usefixtures("token")
def test_an_anchor_of_another_instance_than_its_source_is_not_trusted(
    node: CentralServerNode, partner: Instance
) -> None:
    """The anchor says OTHER, the configuration it leads to is PARTNER's."""
    other = Instance(name="OTHER", address="partner.example")
    other.external = partner.external
    data = other.anchor(external=True).encode()
    assert refused(node, data, Network(partner)) is Problem.TRUSTED_ANCHOR_NOT_VERIFIED


@pytest.mark.usefixtures("token")
def test_our_own_anchor_is_refused_before_anybody_is_asked(node: CentralServerNode) -> None:
    own = Instance(name="DEV", address="cs.example")
    network = Network(own)
    data = own.anchor(external=True).encode()
    assert refused(node, data, network) is Problem.TRUSTED_ANCHOR_OF_OWN_INSTANCE
    assert network.asked == []


def test_generated_private_parameters_name_the_federated_sources_and_no_others_do(
    node: CentralServerNode, token: SigningToken, partner: Instance
) -> None:
    with node.changing("tester") as change:
        approve_trust_services(change)
    anchor = partner.anchor(external=True)
    asyncio.run(upload_anchor(node, anchor.encode(), Network(partner), "tester"))
    generated = node.generate(token)
    for path, content in generated.parts.items():
        version = int(path[1])
        if path.endswith("private-params.xml"):
            assert PrivateParameters.parse(content, version).trusted_anchors == (anchor,)
        else:
            assert b"configurationAnchor" not in content
            SharedParameters.parse(content, version)
