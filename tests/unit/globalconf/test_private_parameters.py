from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.generation import private_parameters_of
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.shared_parameters import SUPPORTED_VERSIONS
from postroad.identifiers import SubsystemId
from support.globalconf import HANDMADE, NOW, REGISTRY, SIGNED, STORED, snapshot

if TYPE_CHECKING:
    from pathlib import Path

REAL = [
    *sorted(SIGNED.glob("*/V*/*/private-params.xml")),
    *sorted(STORED.glob("*good*/*/private-params.xml")),
    *sorted(HANDMADE.glob("*/*/private-params.xml")),
]


@pytest.mark.parametrize("path", REAL, ids=lambda path: str(path)[-60:])
def test_real_parameters_are_read_and_written_without_loss(path: Path) -> None:
    parameters = PrivateParameters.parse(path.read_bytes(), 2)
    for version in SUPPORTED_VERSIONS:
        assert PrivateParameters.parse(parameters.encode(version), version) == parameters


@pytest.mark.parametrize("path", REAL[:6], ids=lambda path: str(path)[-60:])
def test_rewrites_files_of_a_real_central_server_byte_for_byte(path: Path) -> None:
    data = path.read_bytes()
    assert PrivateParameters.parse(data, 6).encode(6) == data


def test_reads_the_management_service() -> None:
    parameters = PrivateParameters.parse(REAL[0].read_bytes(), 3)
    service = parameters.management_service
    assert service.registration_address == "https://cs:4001/managementservice/"
    assert isinstance(service.provider, SubsystemId)
    assert service.registration_certificate is not None
    assert parameters.timestamping_interval_seconds == 60


def test_trusted_anchors_are_read_back() -> None:
    anchor = Anchor(
        "FI", NOW.replace(microsecond=5000), (Source("http://fi/externalconf", (b"A", b"B")),)
    )
    parameters = PrivateParameters(
        "TEST", ManagementService("https://cs", REGISTRY), (anchor, anchor), 90
    )
    assert PrivateParameters.parse(parameters.encode(6), 6) == parameters


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<timeStampingIntervalSeconds>120<", b"<timeStampingIntervalSeconds>0<"),
        (b"<timeStampingIntervalSeconds>120<", b"<timeStampingIntervalSeconds>x<"),
        (b"<ns2:memberCode>1</ns2:memberCode>", b""),
        (b"conf", b"other"),
    ],
)
def test_refuses_parameters_with_one_flaw(old: bytes, new: bytes) -> None:
    data = private_parameters_of(snapshot()).encode(2)
    with pytest.raises(MalformedInput) as caught:
        PrivateParameters.parse(data.replace(old, new), 2)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_unknown_elements_are_allowed_at_the_end_from_version_3() -> None:
    data = private_parameters_of(snapshot()).encode(3)
    more = data.replace(b"</ns3:conf", b"<more/></ns3:conf")
    assert PrivateParameters.parse(more, 3) == PrivateParameters.parse(data, 3)
    with pytest.raises(MalformedInput):
        PrivateParameters.parse(more, 2)


@pytest.mark.parametrize("version", [1, 7])
def test_refuses_versions_that_do_not_exist(version: int) -> None:
    with pytest.raises(ConfigurationError):
        private_parameters_of(snapshot()).encode(version)


def test_refuses_more_trusted_anchors_than_an_ecosystem_has() -> None:
    anchor = Anchor("FI", None, (Source("http://fi/externalconf", (b"A",)),))
    parameters = PrivateParameters(
        "TEST", ManagementService("https://cs", REGISTRY), (anchor,) * 1001
    )
    with pytest.raises(ConfigurationError):
        parameters.encode(6)
