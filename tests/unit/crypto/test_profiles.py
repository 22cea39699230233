"""Rules of reading members out of subjects, per certificate profile."""

from __future__ import annotations

import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroad.crypto.certificates import Certificate
from postroad.crypto.names import build_name
from postroad.crypto.profiles import (
    CertificateProfile,
    auth_fields,
    auth_subject,
    fill_fields,
    member_of_sign_certificate,
    sign_fields,
    sign_subject,
)
from postroad.errors import ConfigurationError, FaultCode, TrustError
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import KeyKind, issue
from postroad.trustlab.profiles import CertificateKind

REFERENCE = Path(__file__).parents[2] / "data" / "reference"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAB = TrustLab.create(at=NOW)
KEY = KeyKind.EC_P256.generate()
MEMBER = MemberId("XX", "GOV", "12345678")
SERVER = SecurityServerId("XX", "COM", "owner", "ss1")
P = CertificateProfile


def certificate(*subject: tuple[str, str]) -> Certificate:
    name = build_name(subject)
    return issue(LAB.issuing.identity, name, KEY.public_key(), CertificateKind.SIGN, at=NOW)


def decoded(profile: CertificateProfile, *subject: tuple[str, str]) -> str:
    return str(member_of_sign_certificate(certificate(*subject), profile.class_name, "CTX"))


@pytest.mark.parametrize(
    ("profile", "subject", "expected"),
    [
        (P.EJBCA, [("C", "XX"), ("O", "Foo"), ("CN", "bar")], "XX/Foo/bar"),
        (P.EJBCA, [("CN", "bar"), ("O", "Foo"), ("C", "LONGER")], "LONGER/Foo/bar"),
        (
            P.FI_VRK,
            [("C", "FI"), ("O", "Org"), ("serialNumber", "XX/ss/GOV"), ("CN", "bar")],
            "XX/GOV/bar",
        ),
        (P.FI_VRK, [("C", "FI"), ("O", "XX"), ("OU", "GOV"), ("CN", "bar")], "XX/GOV/bar"),
        (P.FI_VRK, [("C", "XX"), ("O", "Foo"), ("CN", "bar")], "XX/Foo/bar"),
        (P.BASIC, [("businessCategory", "COM"), ("serialNumber", "1"), ("CN", "n")], "CTX/COM/1"),
        (P.BASIC_ACME, [("businessCategory", "COM"), ("serialNumber", "1")], "CTX/COM/1"),
        (
            P.IS,
            [("C", "IS"), ("O", "XX"), ("OU", "GOV"), ("CN", "bar"), ("serialNumber", "any")],
            "XX/GOV/bar",
        ),
        (P.IS, [("C", "XX"), ("O", "Foo"), ("CN", "bar")], "XX/Foo/bar"),
        (
            P.FO,
            [("C", "FO"), ("O", "XX"), ("OU", "Foo"), ("CN", "bar"), ("serialNumber", "qux")],
            "XX/Foo/bar",
        ),
        (P.SK_KLASS3, [("organizationIdentifier", "NTREE-12345678")], "CTX/COM/12345678"),
        (P.SK_KLASS3, [("organizationIdentifier", "GO:EE-70000562")], "CTX/GOV/70000562"),
        (P.SK_KLASS3, [("organizationIdentifier", "NP:EE-80000001")], "CTX/NGO/80000001"),
        (P.SK_KLASS3, [("organizationIdentifier", "VATLT-1")], "CTX/NEE/VATLT-1"),
        (P.SK_KLASS3, [("serialNumber", "60000000")], "CTX/COM/60000000"),
        (P.SK_KLASS3, [("serialNumber", "70000000")], "CTX/GOV/70000000"),
        (P.SK_KLASS3, [("serialNumber", "80000000")], "CTX/NGO/80000000"),
        (P.SK_KLASS3, [("serialNumber", "99999999")], "CTX/NGO/99999999"),
        (P.SK_ESTEID, [("serialNumber", "38001010000"), ("CN", "n")], "CTX/PERSON/38001010000"),
    ],
)
def test_subject_names_the_member_by_its_profile(
    profile: CertificateProfile, subject: list[tuple[str, str]], expected: str
) -> None:
    assert decoded(profile, *subject) == expected


@pytest.mark.parametrize(
    ("profile", "subject"),
    [
        (P.EJBCA, [("C", "XX"), ("O", "Foo")]),
        (P.EJBCA, [("C", "XX"), ("CN", "bar")]),
        (P.EJBCA, [("O", "Foo"), ("CN", "bar")]),
        (P.EJBCA, [("C", "XX"), ("O", "Foo"), ("CN", "one"), ("CN", "two")]),
        (P.FI_VRK, [("C", "EE"), ("O", "O"), ("serialNumber", "XX/s/GOV"), ("CN", "bar")]),
        (P.FI_VRK, [("C", "FI"), ("serialNumber", "XX/s/GOV"), ("CN", "bar")]),
        (P.FI_VRK, [("C", "FI"), ("O", "O"), ("serialNumber", "XX/GOV"), ("CN", "bar")]),
        (P.FI_VRK, [("C", "FI"), ("O", "O"), ("serialNumber", "XX/s/GOV/x"), ("CN", "bar")]),
        (P.FI_VRK, [("C", "FI"), ("O", "O"), ("serialNumber", "XX/s/"), ("CN", "bar")]),
        (P.FI_VRK, [("C", "FI"), ("O", "O"), ("serialNumber", "XX/s/GOV")]),
        (P.FI_VRK, [("C", "EE"), ("O", "XX"), ("OU", "GOV"), ("CN", "bar")]),
        (P.BASIC, [("serialNumber", "1"), ("CN", "n")]),
        (P.BASIC, [("businessCategory", "COM"), ("CN", "n")]),
        (P.IS, [("C", "IS"), ("O", "XX"), ("OU", "GOV"), ("CN", "bar")]),
        (P.IS, [("C", "FI"), ("O", "XX"), ("OU", "G"), ("CN", "b"), ("serialNumber", "1")]),
        (P.IS, [("C", "IS"), ("O", "XX"), ("CN", "bar"), ("serialNumber", "1")]),
        (P.FO, [("C", "FO"), ("O", "XX"), ("OU", "GOV"), ("CN", "bar")]),
        (P.FO, [("C", "XX"), ("O", "Foo"), ("CN", "bar")]),
        (P.SK_KLASS3, [("CN", "n")]),
        (P.SK_KLASS3, [("serialNumber", "1234567")]),
        (P.SK_KLASS3, [("serialNumber", "1234567x")]),
        (P.SK_KLASS3, [("serialNumber", "01234567")]),
        (P.SK_KLASS3, [("organizationIdentifier", "NTREE-")]),
        (P.SK_ESTEID, [("CN", "n")]),
    ],
)
def test_refuses_a_subject_that_does_not_follow_its_profile(
    profile: CertificateProfile, subject: list[tuple[str, str]]
) -> None:
    with pytest.raises(TrustError) as caught:
        decoded(profile, *subject)
    assert caught.value.code is FaultCode.INCORRECT_CERTIFICATE


def test_an_attribute_given_twice_with_the_same_value_is_one() -> None:
    assert decoded(P.EJBCA, ("C", "XX"), ("O", "Foo"), ("O", "Foo"), ("CN", "b")) == "XX/Foo/b"


@pytest.mark.parametrize("profile", CertificateProfile)
def test_profile_is_known_by_its_class_name_whatever_the_package(
    profile: CertificateProfile,
) -> None:
    assert profile.class_name.startswith("ee.ria.xroad.common.certificateprofile.impl.")
    assert P.by_class_name(profile.class_name) is profile
    assert P.by_class_name(f" org.example.{profile.value}\n") is profile


def test_unknown_profile_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="unknown certificate profile"):
        member_of_sign_certificate(certificate(("CN", "x")), "org.example.Other", "CTX")


@pytest.mark.parametrize("profile", [each for each in P if each is not P.SK_ESTEID])
def test_subject_we_ask_for_names_the_member_again(profile: CertificateProfile) -> None:
    values = {"C": "EE"} if "BASIC" in profile.name else {}
    member = SubsystemId(MEMBER.instance, MEMBER.member_class, MEMBER.member_code, "sub")
    if profile is P.SK_KLASS3:
        member = SubsystemId("XX", "COM", "12345678", "sub")
    subject = sign_subject(
        profile.class_name, member=member, server=SERVER, member_name="Name", values=values
    )
    found = member_of_sign_certificate(certificate(*subject), profile.class_name, "XX")
    assert found == member.member


def _plain(fields: object) -> list[str]:
    return [
        f"{field.name}{'*' if field.editable else ''}={field.value}"
        for field in fields  # a tuple of fields
    ]


@pytest.mark.parametrize(
    ("profile", "sign", "auth"),
    [
        (P.EJBCA, ["C=XX", "O=GOV", "CN=12345678"], ["C=XX", "CN=ss1"]),
        (
            P.FI_VRK,
            ["C=FI", "O*=Name", "serialNumber=XX/ss1/GOV", "CN=12345678", "subjectAltName*="],
            ["C=FI", "O*=Name", "serialNumber=XX/ss1/COM", "CN*=host", "subjectAltName*=host"],
        ),
        (
            P.BASIC,
            ["CN=Name", "O=Name", "businessCategory=GOV", "C*=", "serialNumber=12345678"],
            ["CN*=host", "serialNumber=owner", "C*=", "O=Name"],
        ),
        (
            P.BASIC_ACME,
            [
                "C*=",
                "O=Name",
                "businessCategory=GOV",
                "serialNumber=12345678",
                "CN=Name",
                "subjectAltName*=",
            ],
            ["C*=", "O=Name", "serialNumber=owner", "CN*=host", "subjectAltName*=host"],
        ),
        (
            P.IS,
            ["C=IS", "O=XX", "OU=GOV", "CN=12345678", "serialNumber=XX/COM/owner/ss1"],
            ["C=IS", "CN*=host", "serialNumber=XX/COM/owner/ss1"],
        ),
        (
            P.FO,
            ["C=FO", "O=XX", "OU=GOV", "CN=12345678", "serialNumber*=XX/COM/owner/ss1"],
            ["C=FO", "O=XX", "CN=XX/COM/owner/ss1"],
        ),
        (
            P.SK_KLASS3,
            ["serialNumber=12345678", "CN=Name"],
            ["serialNumber=owner", "CN=Name"],
        ),
        (P.SK_ESTEID, [], []),
    ],
)
def test_request_fields_of_each_profile(
    profile: CertificateProfile, sign: list[str], auth: list[str]
) -> None:
    name = profile.class_name
    assert _plain(sign_fields(name, member=MEMBER, server=SERVER, member_name="Name")) == sign
    assert _plain(auth_fields(name, server=SERVER, member_name="Name", dns_name="host")) == auth


def test_braces_in_a_name_are_plain_text() -> None:
    subject = sign_subject(
        P.SK_KLASS3.class_name, member=MEMBER, server=SERVER, member_name="{server_code}"
    )
    assert ("CN", "{server_code}") in subject


def test_administrator_fills_editable_fields_only() -> None:
    fields = auth_fields(P.FI_VRK.class_name, server=SERVER, member_name="Name")
    subject, alt_name = fill_fields(fields, {"CN": "ss1.example", "subjectAltName": "a.example"})
    assert dict(subject)["CN"] == "ss1.example"
    assert alt_name == "a.example"
    assert "subjectAltName" not in dict(subject)
    for values in ({"C": "EE", "CN": "x"}, {"OU": "x", "CN": "x"}):
        with pytest.raises(ConfigurationError, match="cannot be set"):
            fill_fields(fields, values)


def test_blank_subject_fields_are_refused_and_a_blank_alternative_name_is_none() -> None:
    fields = auth_fields(P.FI_VRK.class_name, server=SERVER, member_name="Name")
    with pytest.raises(ConfigurationError, match="without a value: CN") as caught:
        fill_fields(fields, {})
    assert caught.value.code is FaultCode.CSR_FAILED
    assert fill_fields(fields, {"CN": "x"})[1] is None
    with pytest.raises(ConfigurationError, match="without a value: all"):
        auth_subject(P.SK_ESTEID.class_name, server=SERVER, member_name="Name")


@pytest.mark.parametrize(
    ("name", "member"),
    [("valid-signed-message", "DEV/COM/4321"), ("valid-non-batch-rest", "DEV/COM/1234")],
)
def test_signers_of_reference_containers_are_named_by_their_certificates(
    name: str, member: str
) -> None:
    with zipfile.ZipFile(REFERENCE / "asic" / f"{name}.asice") as archive:
        xml = archive.read("META-INF/signatures.xml").decode()
    found = re.search(r"<ds:X509Certificate>([^<]+)<", xml)
    assert found is not None
    signer = Certificate.from_pem_or_der(re.sub(r"&#x?\w+;", "", found[1]).encode())
    assert str(member_of_sign_certificate(signer, P.FI_VRK.class_name, "DEV")) == member
