"""One file says what the registry should hold; applying it twice does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.declaration import apply_declaration, load_declaration
from postroad.centralserver.registry import groups, members, provider, trust_services
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.errors import ConfigurationError
from support.central_server import MANAGEMENT, OWNER, lab

if TYPE_CHECKING:
    from pathlib import Path

    from support.central_server import Registry

TEXT = """
management_provider = "DEV/GOV/1/MANAGEMENT"

[parameters]
ocspFreshnessSeconds = 1200

[[member_class]]
code = "GOV"
description = "Government"

[[member]]
id = "DEV/GOV/1"
name = "Member 1"
[[member.subsystem]]
code = "MANAGEMENT"
name = "Management services"

[[member]]
id = "DEV/GOV/2"
name = "Member 2"
[[member.subsystem]]
code = "client"

[[certification_service]]
certificate = "root.pem"
profile = "FiVRK"
default_csr_format = "PEM"
[certification_service.acme]
directory_url = "https://acme.example/"
[[certification_service.ocsp]]
url = "http://ocsp.example/root"
cost_type = "FREE"
[[certification_service.intermediate]]
certificate = "issuing.pem"
[[certification_service.intermediate.ocsp]]
url = "http://ocsp.example/issuing"
certificate = "ocsp.pem"

[[timestamping_service]]
certificate = "tsa.pem"
url = "http://tsa.example/"
cost_type = "PAID"

[[group]]
code = "group"
description = "A group"
members = ["DEV/GOV/2/client", "EE/GOV/1"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "registry.toml"
    path.write_text(TEXT)
    (tmp_path / "root.pem").write_bytes(lab().root.certificate.pem)
    (tmp_path / "issuing.pem").write_bytes(lab().ca_certificate.pem)
    (tmp_path / "ocsp.pem").write_bytes(lab().ocsp_certificate.pem)
    (tmp_path / "tsa.pem").write_bytes(lab().tsa_certificate.pem)
    return path


def apply(registry: Registry, file: Path) -> list[str]:
    declared = load_declaration(file)
    with registry.changing() as change:
        apply_declaration(change, declared, file.parent)
    return [entry.event for entry in change.entries]


def test_everything_declared_is_there_afterwards(registry: Registry, file: Path) -> None:
    apply(registry, file)
    with registry.reading() as session:
        assert members.load_member(session, OWNER).name == "Member 1"
        assert members.load_subsystem(session, MANAGEMENT).name == "Management services"
        assert provider.find_management_provider(session) == MANAGEMENT
        (ca,) = trust_services.list_approved_cas(session)
        assert [row.url for c in ca.certificates for row in c.ocsp_responders] == [
            "http://ocsp.example/root",
            "http://ocsp.example/issuing",
        ]
        assert ca.acme_directory_url == "https://acme.example/"
        (tsa,) = trust_services.list_tsas(session)
        assert tsa.cost_type == "PAID"
        assert len(groups.load_group(session, "group").members) == 2


def test_applying_twice_changes_nothing(registry: Registry, file: Path) -> None:
    assert len(apply(registry, file)) > 10
    assert apply(registry, file) == []


def test_only_what_differs_is_changed(registry: Registry, file: Path) -> None:
    apply(registry, file)
    text = TEXT
    for old, new in (
        ('description = "Government"', 'description = "The state"'),
        ('name = "Member 2"', 'name = "Member two"'),
        ('name = "Management services"', 'name = "Management"'),
        ('profile = "FiVRK"', 'profile = "Basic"'),
        ('cost_type = "FREE"', 'cost_type = "PAID"'),
        ('url = "http://tsa.example/"\ncost_type = "PAID"', 'url = "http://tsa.example/"'),
        ('description = "A group"', 'description = "Some"'),
        ("ocspFreshnessSeconds = 1200", 'ocspFreshnessSeconds = "1300"'),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    assert apply(registry, file) == [
        "Edit member class description",
        "Edit subsystem name",
        "Edit member name",
        "Edit certification service settings",
        "Edit OCSP responder",
        "Edit timestamping service",
        "Edit global group description",
        "Edit system parameter",
    ]


def test_what_a_rule_forbids_leaves_nothing_behind(registry: Registry, file: Path) -> None:
    file.write_text(TEXT + '\n[[member]]\nid = "ELSE/GOV/9"\nname = "x"\n')
    with pytest.raises(RegistryRefusal):
        apply(registry, file)
    with registry.reading() as session:
        assert not members.list_members(session)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[member", "registry.toml"),
        ("unknown = 1", "unknown"),
        ('[[server]]\nid = "DEV/GOV/1/SS1"', "server"),
        ('[[member]]\nid = "DEV/GOV/1"', "name"),
        ('[[timestamping_service]]\ncertificate = "x"\nurl = "x"\ncost_type = "CHEAP"', "CHEAP"),
        ('[[timestamping_service]]\ncertificate = "nothing.pem"\nurl = "http://x"', "nothing.pem"),
    ],
)
def test_what_is_wrong_is_named(registry: Registry, file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        apply(registry, file)


def test_a_missing_or_oversized_file_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        apply(registry, tmp_path / "nothing.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        apply(registry, tmp_path / "large.toml")
