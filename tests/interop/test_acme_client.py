"""The lab's ACME endpoint, judged by the client library of certbot over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import josepy
import pytest
from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.crypto.certificates import Certificate
from postroad.crypto.names import build_name
from postroad.crypto.ocsp import CertificateStatus
from postroad.trustlab.issuing import KeyKind
from support.acme import ChallengeHost, RunningLab, challenge_host, running_lab

ACCOUNT = josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))


@pytest.fixture
def host() -> Iterator[ChallengeHost]:
    with challenge_host() as host:
        yield host


@pytest.fixture
def lab(tmp_path: Path, host: ChallengeHost) -> Iterator[RunningLab]:
    with running_lab(tmp_path / "lab", challenge_port=host.port) as lab:
        yield lab


def client(lab: RunningLab, *, user_agent: str = "judge", **binding: str) -> ClientV2:
    net = ClientNetwork(ACCOUNT, user_agent=user_agent)
    found = ClientV2(ClientV2.get_directory(lab.directory, net), net)
    external = None
    if binding:
        external = messages.ExternalAccountBinding.from_data(
            ACCOUNT.public_key(), binding["kid"], binding["mac_key"], found.directory
        )
    found.new_account(
        messages.NewRegistration.from_data(
            email="a@example.org",
            terms_of_service_agreed=True,
            external_account_binding=external,
        )
    )
    return found


def request_pem(*, signing: bool = False, name: str = "localhost") -> bytes:
    usage = [signing == (position == 1) and position < 2 for position in range(9)]
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(build_name([("C", "EE"), ("O", "member")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.KeyUsage(*usage), critical=True)
        .sign(KeyKind.EC_P256.generate(), hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def order(acme: ClientV2, host: ChallengeHost, csr: bytes, **more: str) -> Certificate:
    wanted = acme.new_order(csr, **more)
    for authorization in wanted.authorizations:
        (body,) = authorization.body.challenges
        assert isinstance(body.chall, challenges.HTTP01)
        response, shown = body.response_and_validation(ACCOUNT)
        host.shown.setdefault(body.chall.encode("token"), shown)
        acme.answer_challenge(body, response)
    deadline = datetime.now() + timedelta(seconds=20)  # noqa: DTZ005, TID251 - as the library wants
    done = acme.poll_and_finalize(wanted, deadline)
    leaf, issuer = x509.load_pem_x509_certificates(done.fullchain_pem.encode())
    leaf.verify_directly_issued_by(issuer)
    return Certificate.from_pem_or_der(leaf.public_bytes(Encoding.DER))


def test_order_gives_a_certificate_of_the_requested_usage(
    lab: RunningLab, host: ChallengeHost
) -> None:
    acme = client(lab)
    authentication = order(acme, host, request_pem())
    assert authentication.is_authentication()
    assert not authentication.is_signing()
    assert order(acme, host, request_pem(signing=True)).is_signing()
    assert len(host.asked) == 2
    registered = lab.home.load()
    assert registered.status_of(authentication.serial) is CertificateStatus.GOOD
    acme.revoke(authentication.x509, 0)
    assert lab.home.load().status_of(authentication.serial) is CertificateStatus.REVOKED


def test_profile_of_the_order_or_of_the_user_agent_decides(
    lab: RunningLab, host: ChallengeHost
) -> None:
    assert order(client(lab), host, request_pem(), profile="sign").is_signing()
    acme = client_again(lab, "profile_id=sign judge")
    assert order(acme, host, request_pem()).is_signing()
    with pytest.raises(messages.Error, match="invalidProfile"):
        acme.new_order(request_pem(), profile="other")


def client_again(lab: RunningLab, user_agent: str) -> ClientV2:
    """The account exists: its address is found by its key."""
    net = ClientNetwork(ACCOUNT, user_agent=user_agent)
    found = ClientV2(ClientV2.get_directory(lab.directory, net), net)
    with pytest.raises(errors.ConflictError):
        found.new_account(messages.NewRegistration.from_data())
    known = messages.RegistrationResource(body=messages.Registration())
    found.query_registration(known)
    return found


def test_external_account_must_be_proven_and_gives_its_profile(
    lab: RunningLab, host: ChallengeHost
) -> None:
    key = "goodlongsecretwordthatisnotshort"
    lab.set(
        challenge_port=host.port,
        external_accounts={"kid-1": {"mac_key": key, "profile": "sign"}},
    )
    with pytest.raises(messages.Error, match="externalAccountRequired"):
        client(lab)
    with pytest.raises(messages.Error, match="does not verify"):
        client(lab, kid="kid-1", mac_key=josepy.encode_b64jose(b"another key"))
    with pytest.raises(messages.Error, match="does not verify"):
        client(lab, kid="kid-2", mac_key=josepy.encode_b64jose(key.encode()))
    acme = client(lab, kid="kid-1", mac_key=josepy.encode_b64jose(key.encode()))
    assert order(acme, host, request_pem()).is_signing()


def test_wrong_challenge_and_another_name_get_nothing(lab: RunningLab, host: ChallengeHost) -> None:
    acme = client(lab)
    wanted = acme.new_order(request_pem())
    with pytest.raises(messages.Error, match="orderNotReady"):
        acme.begin_finalization(wanted)
    (body,) = wanted.authorizations[0].body.challenges
    host.shown[body.chall.encode("token")] = "something else"
    acme.answer_challenge(body, body.response(ACCOUNT))
    deadline = datetime.now() + timedelta(seconds=20)  # noqa: DTZ005, TID251 - as the library wants
    with pytest.raises(errors.ValidationError):
        acme.poll_authorizations(wanted, deadline)
    with pytest.raises(messages.Error, match="badCSR"):
        named = acme.new_order(request_pem())
        named = named.update(csr_pem=request_pem(name="other.example"))
        (body,) = named.authorizations[0].body.challenges
        host.shown[body.chall.encode("token")] = body.validation(ACCOUNT)
        acme.answer_challenge(body, body.response(ACCOUNT))
        acme.poll_and_finalize(named, deadline)


def test_renewal_information_is_that_of_the_certificate(
    lab: RunningLab, host: ChallengeHost
) -> None:
    acme = client(lab)
    certificate = order(acme, host, request_pem())
    assert acme.renewal_time(certificate.pem)[0] is None
    lab.set(renew_before_days=100)
    acme = client_again(lab, "judge")
    moment, _again = acme.renewal_time(certificate.pem)
    assert moment is not None
    start = certificate.not_after - timedelta(days=100)
    assert start <= moment.astimezone(UTC) <= start + timedelta(days=1)


def test_faults_of_the_lab_reach_the_endpoint(lab: RunningLab) -> None:
    acme = client(lab)
    plan = lab.home.load_faults().updated(b'{"acme": {"stopped": true}}')
    lab.home.store_faults(plan)
    with pytest.raises(errors.ClientError):
        acme.new_order(request_pem())
