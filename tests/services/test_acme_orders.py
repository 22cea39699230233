"""Orders by ACME with a real signer and the lab's real endpoint, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator

import msgspec
import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from postroad.adapters.acme_client import AcmeRefusal
from postroad.adapters.signer_protocol import CertificateStatus, KeyUsage
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError
from postroad.securityserver.acme.order_book import OrderRecord
from postroad.trustlab.profiles import CertificateKind
from support.acme import Bench, acme_bench
from support.trust import OWNER

MAC_KEY = "goodlongsecretwordthatisnotshort"


class Middle:
    """Stands before the lab's endpoint; what it is told to answer, it answers once."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.asked: list[str] = []
        self.instead: dict[str, list[ASGIApp]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/acme/").partition("/")[0]
        self.asked.append(path)
        planned = self.instead.get(path)
        await (planned.pop(0) if planned else self.app)(scope, receive, send)


def problem(kind: str, status: int, **headers: str) -> JSONResponse:
    document = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": "no"}
    return JSONResponse(document, status, headers=headers, media_type="application/problem+json")


class Desk:
    """A bench with somebody in the middle."""

    def __init__(self, bench: Bench, middle: Middle) -> None:
        self.bench = bench
        self.middle = middle

    def __getattr__(self, name: str):
        return getattr(self.bench, name)

    def keys(self) -> int:
        return len(self.run(lambda signer, _http: signer.info()).token.keys)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    found: list[Middle] = []

    def wrap(app: ASGIApp) -> ASGIApp:
        found.append(Middle(app))
        return found[0]

    with acme_bench(tmp_path_factory.mktemp("acme"), wrap=wrap) as bench:
        yield Desk(bench, found[0])


@pytest.fixture
def desk(whole: Desk) -> Iterator[Desk]:
    whole.middle.asked.clear()
    whole.middle.instead.clear()
    for record in whole.book.unfinished():
        whole.book.close(record)
    section = whole.settings.acme
    whole.lab.set(challenge_port=section.acme_challenge_port)
    yield whole
    (whole.home / "acme.yml").unlink(missing_ok=True)


def certificate(record) -> Certificate:
    return Certificate.from_der(record.der)


def test_order_brings_a_certificate_of_each_usage_into_the_token(desk: Desk) -> None:
    authentication = desk.fulfil(desk.wanted())
    assert certificate(authentication).is_authentication()
    assert (authentication.status, authentication.active) == (CertificateStatus.SAVED, False)
    accounts = list((desk.settings.acme_path / "accounts").iterdir())
    signing = desk.fulfil(desk.wanted(signing=True))
    assert certificate(signing).is_signing()
    assert signing.member == OWNER.encoded()
    assert desk.book.unfinished() == []
    # one account of the member for both usages
    assert set((desk.settings.acme_path / "accounts").iterdir()) == set(accounts)
    assert {path.stat().st_mode & 0o777 for path in accounts} == {0o600}
    assert desk.settings.acme_path.stat().st_mode & 0o077 == 0


def test_external_account_is_bound_by_usage(desk: Desk) -> None:
    desk.lab.set(
        challenge_port=desk.settings.acme.acme_challenge_port,
        external_accounts={"kid-sign": {"mac_key": MAC_KEY, "profile": "sign"}},
    )
    desk.bench.directory = desk.lab.directory.replace("127.0.0.1", "localhost")
    try:
        record = desk.wanted(signing=True)
        with pytest.raises(AcmeRefusal, match=r"acme\.yml"):
            desk.fulfil(record)
        path = desk.home / "acme.yml"
        path.write_text(
            "eab-credentials:\n  certificate-authorities:\n    'Lab CA':\n      members:\n"
            "        'TEST:GOV:1':\n          kid: other\n          mac-key: other\n"
            f"          sign-kid: kid-sign\n          sign-mac-key: {MAC_KEY}\n"
        )
        path.chmod(0o644)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            desk.fulfil(record)
        path.chmod(0o600)
        assert certificate(desk.fulfil(record)).is_signing()
    finally:
        desk.bench.directory = ""


def test_refusals_leave_the_order_to_be_continued_with_the_same_key(desk: Desk) -> None:
    record = desk.wanted()
    before = desk.keys()
    desk.middle.instead = {
        "new-order": [problem("rateLimited", 429, **{"Retry-After": "120"})],
        "finalize": [problem("serverInternal", 500)],
    }
    with pytest.raises(AcmeRefusal) as refusal:
        desk.fulfil(record)
    assert (refusal.value.kind, refusal.value.retry_after) == ("rateLimited", 120.0)
    (record,) = desk.book.unfinished()
    with pytest.raises(AcmeRefusal, match="serverInternal"):
        desk.fulfil(record)
    (record,) = desk.book.unfinished()
    assert record.url
    desk.middle.asked.clear()
    assert certificate(desk.fulfil(record)).is_authentication()
    assert "new-order" not in desk.middle.asked
    assert desk.keys() == before + 1


def test_used_nonce_is_replaced_and_endless_refusals_end(desk: Desk) -> None:
    desk.middle.instead = {"new-order": [problem("badNonce", 400, **{"Replay-Nonce": "AAAA"})]}
    assert certificate(desk.fulfil(desk.wanted())).is_authentication()
    desk.middle.instead = {
        "new-order": [problem("badNonce", 400, **{"Replay-Nonce": "AAAA"}) for _ in range(9)]
    }
    with pytest.raises(AcmeRefusal, match="badNonce"):
        desk.fulfil(desk.wanted())
    assert len(desk.middle.instead["new-order"]) == 6


def test_wrong_challenge_fails_the_order_and_the_next_one_is_new(desk: Desk) -> None:
    port = desk.settings.acme.acme_challenge_port
    desk.lab.set(challenge_port=1)
    record = desk.wanted()
    with pytest.raises(AcmeRefusal, match="challenge"):
        desk.fulfil(record)
    (record,) = desk.book.unfinished()
    desk.lab.set(challenge_port=port)
    first = record.url
    assert certificate(desk.fulfil(record)).is_authentication()
    assert first
    assert desk.middle.asked.count("new-order") == 2


@pytest.mark.parametrize("cut_at", ["new-order", "authorization", "challenge", "certificate"])
def test_order_cut_off_anywhere_is_continued(desk: Desk, cut_at: str) -> None:
    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await desk.middle.app(scope, receive, _swallowing(send))
        reached.set()

    reached = __import__("threading").Event()
    desk.middle.instead = {cut_at: [hang]}
    record, before = desk.wanted(), desk.keys()

    async def killed(signer, http) -> None:
        task = asyncio.ensure_future(
            desk.ordering(signer, http).fulfil(
                record, globalconf=desk.globalconf(), local_members=frozenset({OWNER})
            )
        )
        await asyncio.to_thread(reached.wait, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    desk.run(killed)
    (noted,) = desk.book.unfinished()
    assert noted.key_id
    if cut_at == "challenge":
        with contextlib.suppress(AcmeRefusal):  # the service may have met a closed port
            desk.fulfil(noted)
    assert certificate(desk.fulfil(noted)).is_authentication()
    assert desk.keys() == before + 1
    assert desk.book.unfinished() == []


def _swallowing(_send: Send) -> Send:
    """The answer gets lost, as when the process that waits for it dies."""

    async def swallow(_message) -> None:
        await asyncio.sleep(0)

    return swallow


def test_order_cut_off_after_the_key_was_made_finds_it_by_its_label(desk: Desk) -> None:
    record = desk.wanted()
    made = desk.run(
        lambda signer, _http: signer.generate_key(record.label, usage=KeyUsage.AUTHENTICATION)
    )
    assert certificate(desk.fulfil(record)).public_key.key_size == 2048
    keys = desk.run(lambda signer, _http: signer.info()).token.keys
    assert [len(key.certificates) for key in keys if key.id == made.id] == [1]


def test_order_whose_key_was_deleted_is_given_up(desk: Desk) -> None:
    record = msgspec.structs.replace(desk.wanted(), key_id="A" * 40)
    with pytest.raises(ConfigurationError) as caught:
        desk.fulfil(record)
    assert caught.value.code is FaultCode.KEY_NOT_FOUND
    assert desk.book.unfinished() == []


def test_certificate_for_another_key_usage_or_member_is_not_imported(desk: Desk) -> None:
    lab = desk.lab.lab
    for record, forged in (
        (desk.wanted(), lab.auth_certificate(desk.settings.server_id).certificate),
        (desk.wanted(signing=True), lab.sign_certificate(OWNER).certificate),
    ):
        refused_delivery(desk, record, forged, "another key")
    other_usage = desk.wanted()
    refused_delivery(
        desk, other_usage, _swapped(desk, other_usage, CertificateKind.SIGN), "not for"
    )


def _swapped(desk: Desk, record: OrderRecord, kind: CertificateKind) -> Certificate:
    """A certificate for the right key, of another kind than ordered."""

    async def request(signer, http) -> bytes:
        ordering = desk.ordering(signer, http)
        return (await ordering._request(record, await ordering._key(record)))[1]

    return desk.lab.lab.sign_request(desk.run(request), kind)


def refused_delivery(desk: Desk, record: OrderRecord, forged: Certificate, why: str) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import Response

        headers = {"Replay-Nonce": "AAAA"}
        await Response(forged.pem, headers=headers)(scope, receive, send)

    desk.middle.instead = {"certificate": [answer]}
    with pytest.raises(TrustError, match=why):
        desk.fulfil(record)
    noted = next(each for each in desk.book.unfinished() if each.id == record.id)
    assert noted.url == ""


def test_service_that_is_no_acme_service_is_told(desk: Desk) -> None:
    desk.middle.instead = {"directory": [JSONResponse({"a": 1})]}
    with pytest.raises(MalformedInput, match="not ACME"):
        desk.fulfil(desk.wanted())
    assert json.dumps(desk.middle.asked) == '["directory"]'
