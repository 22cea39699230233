"""An ecosystem of another instance, other parties and another network: everything follows."""

from __future__ import annotations

from pathlib import Path

from postroad.adapters.database import sqlite_url
from postroad.authorization.rights import BASE_ENDPOINT, parse_endpoint
from postroad.centralserver.settings import load_settings as load_central_settings
from postroad.demo import governance
from postroad.demo.descriptions import CERTIFY, FIND_PERSON, encode_openapi, encode_wsdl
from postroad.demo.equipment import write_server_files
from postroad.demo.layout import CONSUMER, SERVICE_CODE, Cast, Layout, Party, make_governor
from postroad.identifiers import GlobalGroupId, MemberId, SubsystemId
from postroad.management.requests import ServiceCode
from postroad.securityserver.descriptions.derived import Derived
from postroad.securityserver.descriptions.openapi import derive_openapi
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from postroad.securityserver.serverconf.declaration import load_declaration
from postroad.securityserver.serverconf.models import DescriptionType
from postroad.securityserver.settings import load_settings
from support.central_server import lab

SHOP = Party(
    name="Shop",
    owner=MemberId("OTHER", "COM", "7"),
    server_code="SHOP1",
    subsystem=SubsystemId("OTHER", "COM", "7", "shop"),
    number=31,
    callers=(CONSUMER.subsystem,),
)
SERVICE_URL = "http://127.99.0.21:8000"
OTHER = Cast("OTHER", make_governor("OTHER"), (SHOP,))


def described(kind: DescriptionType, url: str, code: str) -> Derived:
    """What the documents say that the demo's provider serves."""
    if kind is DescriptionType.WSDL:
        return derive_wsdl(encode_wsdl(SERVICE_URL))
    return derive_openapi(encode_openapi(SERVICE_URL), code=code, url=url)


def test_every_server_gets_its_own_identity_address_and_services(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "127.99.0", OTHER)
    certificate = layout.central_home / "tls" / "management-service.crt"
    certificate.parent.mkdir(parents=True)
    certificate.write_bytes(lab().tsa_certificate.pem)
    for party in OTHER.servers:
        write_server_files(layout, party, b"<anchor/>")
        settings = load_settings(layout.server_home(party))
        assert settings.server_id == party.server_id
        assert settings.client_proxy.host == f"127.99.0.{party.number}"
        assert settings.serverconf_url == sqlite_url(settings.home_path / "db/serverconf.sqlite")

    governor, shop = (
        load_declaration(layout.server_home(party) / "services.toml", described).clients[
            party.subsystem
        ]
        for party in OTHER.servers
    )
    codes = {code.value for code in ServiceCode} - {"authCertReg"}
    assert {code for code, _version in governor.services} == codes
    owners = GlobalGroupId("OTHER", "security-server-owners")
    assert set(governor.rights.values()) == {frozenset({owners})}
    assert all(service.verify_tls for service in governor.services.values())
    assert {each for subjects in shop.rights.values() for each in subjects} == {CONSUMER.subsystem}
    assert {code for code, _version in shop.services} == {SERVICE_CODE, FIND_PERSON, CERTIFY}
    everybody = shop.rights[SERVICE_CODE, parse_endpoint("GET", "/persons")]
    assert everybody == shop.rights[SERVICE_CODE, BASE_ENDPOINT] == frozenset()


def test_the_central_server_keeps_to_its_network(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "127.99.0", OTHER)
    governance.write_settings(layout)
    settings = load_central_settings(layout.central_home)
    hosts = {
        settings.distribution.host,
        settings.registration_service.host,
        settings.management_service.host,
        settings.management_api.host,
    }
    assert hosts == {"127.99.0.2"}
    assert settings.management_service.client_certificate_file
    assert list(OTHER.pairs) == []
