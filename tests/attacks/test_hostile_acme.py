"""A certification service's ACME server that lies, and strangers at the challenge port."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from postroad.adapters.acme_client import (
    AcmeClient,
    AcmeRefusal,
    Challenge,
    ExternalAccount,
    OrderAnswer,
)
from postroad.adapters.signer_protocol import KeyUsage
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError
from postroad.identifiers import MemberId
from postroad.ports import FetchedResponse
from postroad.securityserver.acme.challenge_port import PATH, shown_challenge
from postroad.securityserver.acme.credentials import AcmeAccounts
from postroad.securityserver.acme.delivery import verify_delivery
from postroad.securityserver.acme.order_book import OrderRecord
from postroad.securityserver.settings import parse_settings
from postroad.securityserver.settings_sections import AcmeSection
from postroad.signer.requests import build_request
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import KeyKind
from postroad.trustlab.profiles import CertificateKind
from support.sockets import Wire, calling, run, scripted, wire
from support.trust import NOW, OWNER, SERVER, STRANGER, Ecosystem

KEY = rsa.generate_private_key(65537, 2048)
BASE = "https://ca.example"
DIRECTORY = {
    "newNonce": f"{BASE}/nonce",
    "newAccount": f"{BASE}/account",
    "newOrder": f"{BASE}/order",
}
TOKEN = "t" * 43


class Service:
    """Answers what it was told to, by path; everything that was asked is remembered."""

    def __init__(self, **answers: object) -> None:
        self.asked: list[str] = []
        self.answers = {"directory": DIRECTORY, "nonce": {}, "account": {}, **answers}

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 0,
    ) -> FetchedResponse:
        self.asked.append(url)
        answer = self.answers[url.rpartition("/")[2]]
        if isinstance(answer, FetchedResponse):
            return answer
        headers = (("Location", f"{BASE}/account/1"),)
        if not url.endswith("/directory"):
            headers += (("Replay-Nonce", "AAAA"),)
        return FetchedResponse(200, headers, json.dumps(answer).encode())


def client(service: Service) -> AcmeClient:
    return AcmeClient(service, f"{BASE}/directory", KEY, user_agent="x")


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data",
    "http://ca.example/order",
    "https://ca.example:8443/order",
    "https://ca.example@evil.example/order",
    "https://evil.example/order",
    "file:///etc/passwd",
    "//evil.example/order",
    "/order",
    "",
    "https://[broken/",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_address_that_the_service_gives_leads_elsewhere(url: str) -> None:
    for name in DIRECTORY:
        service = Service(directory={**DIRECTORY, name: url})
        with pytest.raises((MalformedInput, AcmeRefusal)) as caught:
            asyncio.run(opened_and_ordered(client(service)))
        assert caught.value.code is FaultCode.ACME_FAILED
        assert all(asked.startswith(f"{BASE}/") for asked in service.asked)
    service = Service()
    acme = client(service)
    order = OrderAnswer(status="valid", certificate=url, finalize=url)
    for step in (
        acme.certificate(order),
        acme.finalize(order, b"x"),
        acme.order(url),
        acme.authorization(url),
        acme.accept(Challenge(type="http-01", url=url)),
    ):
        with pytest.raises(MalformedInput):
            asyncio.run(step)
    assert all(asked.startswith(f"{BASE}/") for asked in service.asked)


async def opened_and_ordered(acme: AcmeClient) -> None:
    await acme.open_account(None, None)
    await acme.new_order(
        "host.example", not_after=NOW + timedelta(days=1), profile=None, replaces=None
    )


@pytest.mark.parametrize("location", ["file:///etc/passwd", "https://evil.example/"])
def test_redirects_are_not_followed(location: str) -> None:
    redirect = FetchedResponse(302, (("Location", location),), b"")
    service = Service(directory=redirect)
    with pytest.raises(AcmeRefusal, match="302"):
        asyncio.run(client(service).directory())
    assert service.asked == [f"{BASE}/directory"]


def test_endless_answer_is_cut_off() -> None:
    async def endless(connection: Wire) -> None:
        await connection.until(b"\r\n\r\n")
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in itertools.count():
            connection.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await connection.writer.drain()

    async def scenario() -> None:
        async with scripted(endless) as port, calling() as http:
            acme = AcmeClient(http, f"http://127.0.0.1:{port}/directory", KEY, user_agent="x")
            with pytest.raises(AcmeRefusal):
                await acme.directory()

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        FetchedResponse(200, (), b"[" * 200_000),
        FetchedResponse(200, (), b"\xff"),
        FetchedResponse(200, (), b'{"newNonce": 1}'),
        FetchedResponse(200, (("Replay-Nonce", "\u20ac"),), json.dumps(DIRECTORY).encode()),
        FetchedResponse(500, (), b"[" * 200_000),
        FetchedResponse(400, (), b'{"type": ["x"]}'),
    ],
)
def test_nonsense_is_refused_as_such(answer: FetchedResponse) -> None:
    with pytest.raises((MalformedInput, AcmeRefusal)) as caught:
        asyncio.run(client(Service(directory=answer)).directory())
    assert len(caught.value.message) < 1000


def test_long_texts_of_the_service_are_cut_to_one_line() -> None:
    document = {"type": "urn:x:y", "detail": "a\nWARNING forged line\n" + "b" * 100_000}
    answer = FetchedResponse(403, (), json.dumps(document).encode())
    with pytest.raises(AcmeRefusal) as caught:
        asyncio.run(client(Service(directory=answer)).directory())
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_service_cannot_make_us_wait_for_ever() -> None:
    headers = (("Retry-After", "9" * 9),)
    answer = FetchedResponse(429, headers, b"{}")
    with pytest.raises(AcmeRefusal) as caught:
        asyncio.run(client(Service(directory=answer)).directory())
    assert caught.value.retry_after == 86_400


def test_certificate_of_another_key_usage_member_or_service_is_refused() -> None:
    ecosystem = Ecosystem()
    lab, globalconf = ecosystem.lab, ecosystem.globalconf()
    key = KeyKind.EC_P256.generate()
    own = lab.sign_certificate(OWNER, key=key).certificate
    csr = build_request(key, KeyUsage.SIGNING, [("CN", "1")])
    verify_delivery(own, csr, wanted(KeyUsage.SIGNING), globalconf)
    foreign = TrustLab.create(at=NOW).sign_certificate(OWNER, key=key).certificate
    named = lab.auth_certificate(SERVER, key=key, dns_name="evil.example").certificate
    for certificate, usage, why in (
        (lab.sign_certificate(OWNER).certificate, KeyUsage.SIGNING, "another key"),
        (lab.sign_request(csr, CertificateKind.AUTH), KeyUsage.SIGNING, "not for signing"),
        (own, KeyUsage.AUTHENTICATION, "not for authentication"),
        (lab.sign_certificate(STRANGER, key=key).certificate, KeyUsage.SIGNING, "it is for"),
        (foreign, KeyUsage.SIGNING, "not of 'Lab CA'"),
        (named, KeyUsage.AUTHENTICATION, "for the host evil"),
    ):
        with pytest.raises(TrustError, match=why) as caught:
            verify_delivery(certificate, csr, wanted(usage), globalconf)
        assert caught.value.code is FaultCode.CERT_IMPORT_FAILED


def wanted(usage: KeyUsage) -> OrderRecord:
    return OrderRecord(
        id="1",
        ca_name="Lab CA",
        usage=usage,
        started=NOW,
        member=OWNER.encoded() if usage is KeyUsage.SIGNING else None,
        token="0",
        label="x",
        algorithm="EC-P256",
        subject=(("CN", "1"),),
        subject_alt_name=None,
        profile=Ecosystem().lab.profile,
        name="host.example",
    )


# ---- the challenge port

STRANGE = [
    b"GET / HTTP/1.1",
    b"GET /.well-known/acme-challenge/ HTTP/1.1",
    b"GET /.well-known/acme-challenge/../../etc/passwd HTTP/1.1",
    b"GET /.well-known/acme-challenge/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1",
    b"GET /.well-known/acme-challenge//etc/passwd HTTP/1.1",
    b"GET /.well-known/acme-challenge/x/../" + TOKEN.encode() + b" HTTP/1.1",
    b"GET /.well-known/acme-challenge/" + TOKEN.encode() + b"%00 HTTP/1.1",
    b"GET /.well-known/acme-challenge/" + TOKEN.encode() + b"?x HTTP/1.1",
    b"POST /.well-known/acme-challenge/" + TOKEN.encode() + b" HTTP/1.1",
    b"GET http://other/.well-known/acme-challenge/" + TOKEN.encode() + b" HTTP/1.1",
]


def test_challenge_port_shows_one_text_and_nothing_else() -> None:
    import socket

    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    section = AcmeSection(acme_challenge_host="127.0.0.1", acme_challenge_port=port)

    async def ask(line: bytes) -> tuple[bytes, bytes]:
        async with wire(port) as connection:
            connection.send(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await connection.answer()

    async def scenario() -> None:
        async with shown_challenge(section, TOKEN, "the text"):
            head, body = await ask(f"GET {PATH}{TOKEN} HTTP/1.1".encode())
            assert head.startswith(b"HTTP/1.1 200")
            assert body == b"the text"
            for line in STRANGE:
                head, body = await ask(line)
                assert not head.startswith(b"HTTP/1.1 200"), line
                assert b"the text" not in body
        with pytest.raises(OSError):
            async with wire(port):
                pass

    run(scenario())


@pytest.mark.parametrize(
    "token", ["", "../../etc/passwd", "a" * 15, "a" * 257, "a" * 20 + "\r\nX: y", "a" * 20 + "/"]
)
def test_tokens_that_are_none_open_no_port(token: str) -> None:
    async def scenario() -> None:
        with pytest.raises(MalformedInput):
            async with shown_challenge(AcmeSection(acme_challenge_port=1), token, "x"):
                pass

    run(scenario())


def test_challenge_port_stays_closed_when_it_is_switched_off() -> None:
    async def scenario() -> None:
        section = AcmeSection(acme_challenge_port_enabled=False)
        with pytest.raises(ConfigurationError, match="acme_challenge_port_enabled"):
            async with shown_challenge(section, TOKEN, "x"):
                pass

    run(scenario())


# ---- credentials


def test_credentials_that_others_may_read_are_refused_and_never_repeated(tmp_path: Path) -> None:
    settings = parse_settings('[server]\nidentifier = "TEST/GOV/1/SS1"\n', home=tmp_path)
    path = tmp_path / "acme.yml"
    secret = "canary-secret-4711"
    path.write_text(f"eab-credentials: {secret}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        AcmeAccounts(settings)
    path.chmod(0o600)
    for content in (f"eab-credentials: {secret}\n", f"eab-credentials: [{secret}\n"):
        path.write_text(content)
        with pytest.raises(ConfigurationError) as caught:
            AcmeAccounts(settings)
        assert secret not in caught.value.message
    assert secret not in repr(ExternalAccount("kid", secret.encode()))


def test_account_keys_are_apart_by_service_address_member_and_usage(tmp_path: Path) -> None:
    settings = parse_settings('[server]\nidentifier = "TEST/GOV/1/SS1"\n', home=tmp_path)
    path = tmp_path / "acme.yml"
    path.write_text(
        "eab-credentials: {certificate-authorities: {CA: {mac-key-base64-encoded: true, members: "
        "{'TEST:GOV:1': {auth-kid: a, auth-mac-key: YQ, kid: k, mac-key: '_-8='}}}}}\n"
        "contacts: {'TEST:GOV:1': a@example.org}\n"
    )
    path.chmod(0o600)
    accounts = AcmeAccounts(settings)
    other = MemberId("TEST", "GOV", "../../x")
    auth, sign = KeyUsage.AUTHENTICATION, KeyUsage.SIGNING
    keys = [
        accounts.key("CA", "https://a", OWNER, auth),
        accounts.key("CA", "https://a", OWNER, sign),
        accounts.key("CA", "https://b", OWNER, sign),
        accounts.key("CA", "https://a", other, sign),
    ]
    assert len({key.private_numbers().d for key in keys}) == 4
    again = accounts.key("CA", "https://a", OWNER, auth)
    assert again.private_numbers() == keys[0].private_numbers()
    assert len(list((settings.acme_path / "accounts").iterdir())) == 4
    assert (settings.acme_path / "accounts").stat().st_mode & 0o777 == 0o700
    assert accounts.external("CA", OWNER, auth) == ExternalAccount("a", b"a")
    assert accounts.external("CA", OWNER, sign) == ExternalAccount("k", b"\xff\xef")
    assert accounts.external("CA", other, sign) is None
    assert accounts.contact(OWNER) == "a@example.org"
