"""Who may ask for what: each step of the judgement, and what the sender is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import PostroadError
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from postroad.management.envelope import AttachedPart, parse_message
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    AuthCertRegistration,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRegistration,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    ManagementRequest,
    OwnerChange,
)
from postroad.management.verification import (
    VerifiedRequest,
    check_identifier,
    verify_management_request,
    verify_registration,
)
from postroad.trustlab.authority import KeyKind, TrustLab
from support.management import Asker, Letter, signature
from support.trust import CLIENT, NOW, OWNER, SERVER, STRANGER, Ecosystem

SHOP = SubsystemId("TEST", "COM", "2", "shop")
SHOP_MEMBER = SHOP.member
SIGNED: tuple[ManagementRequest, ...] = (
    ClientRegistration(SERVER, SHOP, "Shop"),
    ClientRegistration(SERVER, SHOP_MEMBER),
    ClientDisabling(SERVER, SHOP),
    ClientEnabling(SERVER, SHOP),
    ClientRenaming(SERVER, SHOP, "Pood"),
    OwnerChange(SERVER, SHOP_MEMBER),
    AddressChange(SERVER, "192.0.2.1"),
    MaintenanceStart(SERVER, "soon"),
    MaintenanceEnd(SERVER),
)
UNSIGNED: tuple[ManagementRequest, ...] = (
    ClientDeletion(SERVER, SHOP),
    AuthCertDeletion(SERVER, b"DER"),
)


def name_of(request: ManagementRequest) -> str:
    return type(request).__name__


@pytest.fixture(scope="module")
def ecosystem() -> Ecosystem:
    return Ecosystem()


@pytest.fixture(scope="module")
def asker(ecosystem: Ecosystem) -> Asker:
    return Asker(ecosystem.lab, SERVER, CLIENT)


@pytest.fixture(scope="module")
def globalconf(ecosystem: Ecosystem) -> GlobalConfiguration:
    return ecosystem.globalconf()


Judge = Callable[..., VerifiedRequest]


@pytest.fixture
def judge(globalconf: GlobalConfiguration) -> Judge:
    def verified(letter: Letter, *, direct: bool = True) -> VerifiedRequest:
        message = parse_message(*letter.sent, plain=False)
        verify = verify_registration if direct else verify_management_request
        return verify(message, globalconf, at=NOW)

    return verified


def refusal(judge: Judge, letter: Letter, *, direct: bool = True) -> tuple[str, str]:
    with pytest.raises(PostroadError) as refused:
        judge(letter, direct=direct)
    return refused.value.fault_code, refused.value.message


# --- registration of an authentication certificate ------------------------------------------------


@pytest.mark.parametrize("keys", [KeyKind.EC_P256, KeyKind.RSA_2048])
def test_an_honest_registration_is_accepted(asker: Asker, judge: Judge, keys: KeyKind) -> None:
    owner = asker.lab.sign_certificate(OWNER, keys=keys)
    verified = judge(asker.registration(owner=owner))
    assert verified.request == AuthCertRegistration(
        SERVER, asker.auth.certificate.der, "new.example"
    )
    assert not verified.is_dry_run
    assert judge(asker.registration(dry_run=True)).is_dry_run


def test_every_message_has_a_digest_of_its_own(asker: Asker, judge: Judge) -> None:
    letter = asker.registration()
    assert judge(letter).message_digest == judge(letter).message_digest
    assert judge(letter).message_digest != judge(asker.registration()).message_digest


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "Auth signature algorithm id is missing"),
        (1, "Owner signature algorithm id is missing"),
        (2, "Auth certificate is missing"),
        (3, "Owner certificate is missing"),
        (4, "Owner certificate OCSP is missing"),
    ],
)
def test_every_part_must_be_there(asker: Asker, judge: Judge, count: int, text: str) -> None:
    letter = asker.registration()
    assert refusal(judge, replace(letter, parts=letter.parts[:count])) == ("invalid_request", text)


def test_no_part_may_be_empty_or_too_many(asker: Asker, judge: Judge) -> None:
    letter = asker.registration()
    assert refusal(judge, letter.with_part(0, b"")) == (
        "invalid_request",
        "Auth signature is missing",
    )
    more = replace(letter, parts=(*letter.parts, AttachedPart(b"x")))
    assert refusal(judge, more)[0] == "invalid_request"


def test_a_connection_test_is_answered_as_servers_expect(asker: Asker, judge: Judge) -> None:
    request = AuthCertRegistration(SERVER, b"", None, dry_run=True)
    assert refusal(judge, Letter(soap=asker.soap(request))) == (
        "invalid_request",
        "Auth signature algorithm id is missing",
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda a: {"auth": a.lab.sign_certificate(OWNER)}, "cert_validation"),
        (
            lambda a: {"auth": TrustLab.create(at=NOW, name="Other").auth_certificate(SERVER)},
            "cert_validation",
        ),
        (
            lambda a: {"auth": a.lab.auth_certificate(SERVER, at=NOW - timedelta(days=9), days=3)},
            "cert_validation",
        ),
        (lambda a: {"owner": a.lab.auth_certificate(SERVER)}, "cert_validation"),
        (
            lambda a: {"owner": TrustLab.create(at=NOW, name="Other").sign_certificate(OWNER)},
            "cert_validation",
        ),
        (
            lambda a: {"owner": a.lab.sign_certificate(OWNER, at=NOW - timedelta(days=9), days=3)},
            "cert_validation",
        ),
        (lambda a: {"owner": a.lab.sign_certificate(STRANGER)}, "invalid_request"),
        (lambda a: {"sender": STRANGER}, "invalid_request"),
        (lambda a: {"sender": MemberId("OTHER", "GOV", "1")}, "invalid_request"),
        (lambda a: {"provider": SHOP}, "invalid_request"),
        (
            lambda a: {"server": SecurityServerId("TEST", "GOV", "9", "SS1")},
            "invalid_request",
        ),
        (
            lambda a: {"server": SecurityServerId("TEST", "GOV", "1", "S:;S1")},
            "invalid_client_identifier",
        ),
        (lambda a: {"inside": a.owner.certificate.der}, "cert_validation"),
        (lambda a: {"inside": b""}, "cert_validation"),
        (lambda a: {"address": "a" * 64 + ".example"}, "invalid_request"),
        (lambda a: {"address": ""}, "invalid_request"),
        (lambda a: {"address": None}, "invalid_request"),
        (lambda a: {"address": "http://ss1"}, "invalid_request"),
    ],
)
def test_refuses_a_registration(
    asker: Asker, judge: Judge, change: Callable[[Asker], dict[str, object]], code: str
) -> None:
    def letter() -> Letter:
        bent = change(asker)
        if "owner" in bent:
            bent.setdefault("ocsp", asker.lab.ocsp(bent["owner"].certificate))
        return asker.registration(**bent)

    assert refusal(judge, letter())[0] == code


def test_another_instance_is_sent_to_its_own_central_server(asker: Asker, judge: Judge) -> None:
    foreign = SecurityServerId("OTHER", "GOV", "1", "SS1")
    letter = asker.registration(server=foreign, sender=foreign.owner)
    assert refusal(judge, letter) == (
        "invalid_request",
        "Invalid management service address. Contact central server administrator.",
    )


@pytest.mark.parametrize("at", [0, 1])
def test_both_signatures_must_be_of_their_keys(asker: Asker, judge: Judge, at: int) -> None:
    letter = asker.registration()
    swapped = letter.with_part(at, letter.parts[1 - at])
    assert refusal(judge, swapped)[0] == "invalid_signature_value"
    algorithm = AttachedPart(letter.parts[at].data, "SHA1withECDSA")
    assert refusal(judge, letter.with_part(at, algorithm))[0] == "invalid_signature_value"
    nonsense = AttachedPart(letter.parts[at].data, "NONEwithECDSA")
    assert refusal(judge, letter.with_part(at, nonsense))[0] == "invalid_signature_value"


def test_raw_elliptic_curve_signatures_are_not_those_of_this_protocol(
    asker: Asker, judge: Judge
) -> None:
    letter = asker.registration()
    raw = asker.auth.sign(letter.soap, digest=DigestAlgorithm.SHA512, ecdsa_raw=True)
    assert refusal(judge, letter.with_part(0, raw))[0] == "invalid_signature_value"


def test_the_signatures_cover_every_byte_of_the_message(asker: Asker, judge: Judge) -> None:
    letter = asker.registration()
    bent = letter.with_soap(lambda soap: soap.replace(b"new.example", b"bad.example"))
    assert refusal(judge, bent)[0] == "invalid_signature_value"
    assert refusal(judge, letter.with_soap(lambda soap: soap + b"\n"))[0] == (
        "invalid_signature_value"
    )


def test_the_owner_must_not_be_revoked(asker: Asker, judge: Judge) -> None:
    good = asker.owner.certificate
    revoked = asker.lab.ocsp(good, status=CertificateStatus.REVOKED)
    assert refusal(judge, asker.registration(ocsp=revoked))[0] == "cert_validation"
    unknown = asker.lab.ocsp(good, status=CertificateStatus.UNKNOWN)
    assert refusal(judge, asker.registration(ocsp=unknown))[0] == "cert_validation"


def test_the_owners_ocsp_response_must_be_fresh_authorised_and_about_it(
    asker: Asker, judge: Judge
) -> None:
    certificate = asker.owner.certificate
    stale = asker.lab.ocsp(certificate, at=NOW - timedelta(hours=2))
    other = asker.lab.ocsp(asker.auth.certificate)
    forged = asker.lab.ocsp(certificate, responder=asker.lab.tsa)
    for response in (stale, other, forged, b"\x30\x00"):
        assert refusal(judge, asker.registration(ocsp=response))[0] == "incorrect_validation_info"


def test_an_authority_for_authentication_only_signs_nothing(ecosystem: Ecosystem) -> None:
    restricted = replace(ecosystem, authentication_only=True).globalconf()
    asker = Asker(ecosystem.lab, SERVER, CLIENT)
    message = parse_message(*asker.registration().sent, plain=False)
    with pytest.raises(PostroadError) as refused:
        verify_registration(message, restricted, at=NOW)
    assert refused.value.fault_code == "cert_validation"


def test_nothing_is_judged_by_an_outdated_configuration(
    asker: Asker, globalconf: GlobalConfiguration
) -> None:
    expired = GlobalConfiguration(
        "TEST",
        [
            InstanceConfiguration(
                instance="TEST",
                index=globalconf._indexes["TEST"],
                shared_version=6,
                shared_expires_at=NOW - timedelta(seconds=1),
                private=globalconf.private,
            )
        ],
    )
    message = parse_message(*asker.registration().sent, plain=False)
    with pytest.raises(PostroadError) as refused:
        verify_registration(message, expired, at=NOW)
    assert refused.value.fault_code == "global_conf_outdated"


def test_the_registration_port_takes_nothing_else(asker: Asker, judge: Judge) -> None:
    code, text = refusal(judge, asker.signed(MaintenanceEnd(SERVER)))
    assert (code, text) == ("invalid_request", "Unknown service code 'maintenanceModeDisable'")
    code, text = refusal(judge, asker.registration(), direct=False)
    assert (code, text) == ("invalid_request", "Unknown service code 'authCertReg'")


# --- the requests that come through an exchange ---------------------------------------------------


@pytest.mark.parametrize("request_", SIGNED, ids=name_of)
def test_a_request_signed_by_whom_it_concerns_is_accepted(
    asker: Asker, judge: Judge, request_: ManagementRequest
) -> None:
    assert judge(asker.signed(request_), direct=False).request == request_


@pytest.mark.parametrize("request_", UNSIGNED, ids=name_of)
def test_deletions_need_no_signature_and_bear_none(
    asker: Asker, judge: Judge, request_: ManagementRequest
) -> None:
    letter = Letter(soap=asker.soap(request_))
    assert judge(letter, direct=False).request == request_
    assert refusal(judge, asker.signed(request_), direct=False)[0] == "invalid_request"


@pytest.mark.parametrize("request_", SIGNED, ids=name_of)
def test_nobody_else_can_sign_it(asker: Asker, judge: Judge, request_: ManagementRequest) -> None:
    for_whom_it_is_not = asker.signed(request_, signer=asker.lab.sign_certificate(STRANGER))
    assert refusal(judge, for_whom_it_is_not, direct=False)[0] == "invalid_request"


@pytest.mark.parametrize("request_", SIGNED, ids=name_of)
def test_without_its_signature_it_is_nothing(
    asker: Asker, judge: Judge, request_: ManagementRequest
) -> None:
    letter = asker.signed(request_)
    stripped = replace(letter, parts=())
    assert refusal(judge, stripped, direct=False)[0] == "invalid_request"
    forged = letter.with_part(0, signature(asker.owner, b"something else"))
    assert refusal(judge, forged, direct=False)[0] == "invalid_signature_value"


@pytest.mark.parametrize("request_", [*SIGNED, *UNSIGNED], ids=name_of)
def test_the_sender_must_own_the_server(
    asker: Asker, judge: Judge, request_: ManagementRequest
) -> None:
    if request_ in SIGNED:
        letter = asker.signed(request_, sender=STRANGER)
    else:
        letter = Letter(soap=asker.soap(request_, sender=STRANGER))
    assert refusal(judge, letter, direct=False) == (
        "invalid_request",
        "Sender does not match server owner.",
    )


def test_the_request_must_be_for_the_management_service(asker: Asker, judge: Judge) -> None:
    letter = asker.signed(MaintenanceEnd(SERVER), provider=SHOP)
    assert refusal(judge, letter, direct=False)[0] == "invalid_request"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (ClientRegistration(SERVER, SHOP_MEMBER, "x"), "Only a subsystem can be given a name"),
        (ClientRenaming(SERVER, SHOP_MEMBER, "x"), "Only name of subsystem can be changed"),
        (ClientRenaming(SERVER, SHOP, " "), "Invalid subsystem name"),
        (AddressChange(SERVER, "a b"), "Invalid server address"),
    ],
)
def test_refuses_what_the_request_itself_rules_out(
    asker: Asker, judge: Judge, request_: ManagementRequest, text: str
) -> None:
    assert refusal(judge, asker.signed(request_), direct=False) == ("invalid_request", text)


@pytest.mark.parametrize("make", [ClientRegistration, OwnerChange])
def test_refuses_a_client_that_no_registry_holds(
    asker: Asker, judge: Judge, make: Callable[..., ManagementRequest]
) -> None:
    letter = asker.signed(make(SERVER, MemberId("TEST", "COM", "a:b")))
    assert refusal(judge, letter, direct=False)[0] == "invalid_client_identifier"


@pytest.mark.parametrize("part", ["a:b", "a;b", "a%b", "a/b", "a\\b", "a\x07", "\ufeffa", "\u200b"])
def test_refuses_identifiers_that_no_registry_holds(part: str) -> None:
    with pytest.raises(PostroadError) as refused:
        check_identifier(("EE", part))
    assert refused.value.fault_code == "invalid_client_identifier"


def test_accepts_identifiers_of_any_script() -> None:
    check_identifier(("EE", "Ämet", "行政", "a b-c.(d)"))
