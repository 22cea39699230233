from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf.generation import shared_parameters_of
from postroad.globalconf.shared_parameters import (
    SUPPORTED_VERSIONS,
    CostType,
    CsrFormat,
    GlobalGroup,
    GlobalSettings,
    Member,
    MemberClass,
    SecurityServer,
    SharedParameters,
    Subsystem,
)
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from support.globalconf import HANDMADE, SIGNED, STORED, snapshot

if TYPE_CHECKING:
    from pathlib import Path

STORED_FILES = [
    (path, int(json.loads(metadata.read_bytes()).get("configurationVersion", 2)))
    for path in sorted(
        [*STORED.glob("*_good*/*/shared-params.xml"), *HANDMADE.glob("V*/*/shared-params.xml")]
    )
    if (metadata := path.with_name("shared-params.xml.metadata")).exists()
]


def signed_file(folder: str) -> bytes:
    (path,) = (SIGNED / folder).glob("*/shared-params.xml")
    return path.read_bytes()


@pytest.mark.parametrize(("path", "version"), STORED_FILES, ids=lambda value: str(value)[-60:])
def test_real_parameters_are_read_and_written_without_loss(path: Path, version: int) -> None:
    parameters = SharedParameters.parse(path.read_bytes(), version)
    assert parameters.instance == path.parent.name or path.parent.parent.name.startswith("V")
    assert SharedParameters.parse(parameters.encode(version), version) == parameters


@pytest.mark.parametrize("folder", ["current/V4", "rotated/V4", "current/V6", "rotated/V6"])
def test_rewrites_files_of_a_real_central_server_byte_for_byte(folder: str) -> None:
    data = signed_file(folder)
    version = int(folder[-1])
    assert SharedParameters.parse(data, version).encode(version) == data


@pytest.mark.parametrize("folder", ["current/V3", "rotated/V3"])
def test_version_3_files_that_hold_a_construct_of_version_4_are_refused(folder: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        SharedParameters.parse(signed_file(folder), 3)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_reads_every_construct_of_version_6() -> None:
    parameters = SharedParameters.parse(signed_file("current/V6"), 6)
    assert [ca.name for ca in parameters.approved_cas] == ["Test CA", "New CA"]
    new_ca = parameters.approved_cas[1]
    assert new_ca.default_csr_format is CsrFormat.PEM
    assert new_ca.acme_server is not None
    assert new_ca.acme_server.directory_url == "http://testca:8887"
    assert new_ca.top.ocsp[0].cost_type is CostType.FREE
    # What the administrator uploaded is kept as it is, here PEM text.
    assert new_ca.top.certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert parameters.approved_tsas[0].cost_type is CostType.FREE
    assert parameters.members[0].subsystems[0].name == "Management services"
    server = parameters.security_servers[1]
    assert server.server_id == SecurityServerId("DEV", "COM", "4321", "SS1")
    assert server.clients == (
        SubsystemId("DEV", "COM", "4321", "TestClient"),
        SubsystemId("DEV", "COM", "1234", "test-consumer"),
    )
    assert [len(value) for value in server.auth_certificate_hashes] == [32]
    assert parameters.global_settings.ocsp_freshness_seconds == 3600


def test_reads_the_maintenance_mode() -> None:
    path = STORED / "globalconf_good_v6" / "EE" / "shared-params.xml"
    servers = SharedParameters.parse(path.read_bytes(), 6).security_servers
    assert [server.maintenance for server in servers if server.maintenance is not None] != []


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
def test_what_a_version_can_say_is_read_back_equal(version: int) -> None:
    parameters = shared_parameters_of(snapshot(), version)
    read = SharedParameters.parse(parameters.encode(version), version)
    assert read.members == _reduced_members(parameters, version)
    assert read.security_servers == _reduced_servers(parameters, version)
    assert read.global_groups == parameters.global_groups
    assert read.global_settings == parameters.global_settings
    assert read.sources == (parameters.sources if version >= 3 else ())
    (ca,) = read.approved_cas
    assert (ca.default_csr_format is not None) == (version >= 6)
    assert (ca.acme_server is not None) == (version >= 3)
    if ca.acme_server is not None:
        assert (ca.acme_server.signing_profile_id is not None) == (version >= 4)
    assert {ocsp.cost_type is not None for ocsp in ca.top.ocsp} == {version >= 6}
    assert (read.approved_tsas[0].cost_type is not None) == (version >= 6)
    if version == 6:
        assert read == parameters


def _reduced_members(parameters: SharedParameters, version: int) -> tuple[Member, ...]:
    if version >= 5:
        return parameters.members
    return tuple(
        replace(member, subsystems=tuple(replace(s, name=None) for s in member.subsystems))
        for member in parameters.members
    )


def _reduced_servers(parameters: SharedParameters, version: int) -> tuple[SecurityServer, ...]:
    if version >= 5:
        return parameters.security_servers
    return tuple(replace(server, maintenance=None) for server in parameters.security_servers)


@pytest.mark.parametrize("newer", [3, 4, 5, 6])
def test_a_version_refuses_the_constructs_of_the_next(newer: int) -> None:
    data = shared_parameters_of(snapshot(), newer).encode(newer)
    SharedParameters.parse(data, newer)
    with pytest.raises(MalformedInput):
        SharedParameters.parse(data, newer - 1)


@pytest.mark.parametrize("version", [0, 1, 7])
def test_refuses_versions_that_do_not_exist(version: int) -> None:
    with pytest.raises(MalformedInput):
        SharedParameters.parse(signed_file("current/V6"), version)
    with pytest.raises(ConfigurationError):
        SharedParameters(instance="X").encode(version)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<owner>id0<", b"<owner>id1<"),
        (b"<owner>id0<", b"<owner>nobody<"),
        (b"<client>id1<", b"<client>nobody<"),
        (b'<member id="id5">', b'<member id="id0">'),
        (b"<instanceIdentifier>DEV<", b"<instanceIdentifier><"),
        (b"<memberCode>4321<", b"<memberCode><"),
        (b"<memberCode>4321<", b"<memberCode>" + b"x" * 300 + b"<"),
        (b"<serverCode>SS0<", b"<serverCode> <"),
        (b"<ocspFreshnessSeconds>3600<", b"<ocspFreshnessSeconds>0<"),
        (b"<ocspFreshnessSeconds>3600<", b"<ocspFreshnessSeconds>-1<"),
        (b"<ocspFreshnessSeconds>3600<", b"<ocspFreshnessSeconds>" + b"9" * 50 + b"<"),
        (b"<costType>FREE<", b"<costType>CHEAP<"),
        (b'ns2:objectType="MEMBER"', b'ns2:objectType="SERVICE"'),
        (b'ns2:objectType="MEMBER"', b'ns2:objectType="SUBSYSTEM"'),
        (b"<address>cs</address>", b""),
        (b"xroad.xsd", b"other.xsd"),
    ],
)
def test_refuses_parameters_with_one_flaw(old: bytes, new: bytes) -> None:
    data = signed_file("current/V6")
    assert old in data
    with pytest.raises(MalformedInput) as caught:
        SharedParameters.parse(data.replace(old, new), 6)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_unknown_elements_are_allowed_at_the_end_from_version_3() -> None:
    more = b"</globalSettings><other xmlns='urn:x'><inner/></other>"
    data = signed_file("current/V6").replace(b"</globalSettings>", more)
    assert SharedParameters.parse(data, 6) == SharedParameters.parse(signed_file("current/V6"), 6)
    old = shared_parameters_of(snapshot(), 2).encode(2)
    with pytest.raises(MalformedInput):
        SharedParameters.parse(old.replace(b"</globalSettings>", more), 2)


def test_absent_authentication_only_means_false() -> None:
    data = signed_file("current/V6").replace(b"<authenticationOnly>false</authenticationOnly>", b"")
    assert not SharedParameters.parse(data, 6).approved_cas[0].authentication_only


def test_comments_inside_values_do_not_change_them() -> None:
    data = signed_file("current/V6").replace(b"<address>cs<", b"<address>c<!-- x -->s<")
    assert SharedParameters.parse(data, 6).sources[0].address == "cs"


def test_a_schema_location_in_the_document_is_ignored() -> None:
    hint = (
        b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        b'xsi:schemaLocation="http://x-road.eu/xsd/xroad.xsd file:///dev/zero" xmlns:ns2='
    )
    data = signed_file("current/V6").replace(b"xmlns:ns2=", hint, 1)
    assert SharedParameters.parse(data, 6).instance == "DEV"


def test_ids_are_numbered_depth_first() -> None:
    data = shared_parameters_of(snapshot(), 6).encode(6).decode()
    positions = [data.index(f'id="id{number}"') for number in range(5)]
    assert positions == sorted(positions)
    assert "<owner>id0</owner>" in data
    assert "<owner>id3</owner>" in data


CLASS = MemberClass("GOV", "")
MEMBER = Member(CLASS, "1", "One", (Subsystem("a"),))


@pytest.mark.parametrize(
    "parameters",
    [
        SharedParameters(instance="TEST", members=(MEMBER, MEMBER)),
        SharedParameters(
            instance="TEST", members=(replace(MEMBER, subsystems=(Subsystem("a"),) * 2),)
        ),
        SharedParameters(
            instance="TEST",
            security_servers=(SecurityServer(owner=MemberId("TEST", "GOV", "1"), code="S"),),
        ),
        SharedParameters(
            instance="TEST",
            members=(MEMBER,),
            security_servers=(
                SecurityServer(
                    owner=MemberId("TEST", "GOV", "1"),
                    code="S",
                    clients=(SubsystemId("TEST", "GOV", "1", "b"),),
                ),
            ),
        ),
        SharedParameters(instance="TEST", members=(replace(MEMBER, name="bell \x07"),)),
        SharedParameters(instance="TEST", members=(replace(MEMBER, name="\udc80"),)),
        SharedParameters(instance="TEST", global_settings=GlobalSettings(ocsp_freshness_seconds=0)),
    ],
)
def test_writes_nothing_that_a_reader_would_refuse(parameters: SharedParameters) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parameters.encode(2)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_a_group_member_called_member_with_a_subsystem_code_is_that_subsystem() -> None:
    group = GlobalGroup("g", "", (SubsystemId("TEST", "GOV", "1", "a"),))
    parameters = SharedParameters(instance="TEST", global_groups=(group,))
    data = parameters.encode(2).replace(b'"SUBSYSTEM"', b'"MEMBER"')
    assert SharedParameters.parse(data, 2).global_groups == (group,)


def test_line_breaks_and_markup_in_texts_survive() -> None:
    name = "a\r\n\tb & <c> \"d\" 'e' ]]>"
    parameters = SharedParameters(instance="TEST", members=(replace(MEMBER, name=name),))
    assert SharedParameters.parse(parameters.encode(2), 2).members[0].name == name
