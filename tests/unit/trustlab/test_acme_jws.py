"""Rules of signed requests to the lab's ACME endpoint."""

from __future__ import annotations

import json

import pytest
from acme.jws import JWS
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.b64 import b64encode
from josepy.jwa import ES256, HS256, RS256, RS512
from josepy.jwk import JWKEC, JWKRSA, JWKOct

from postroad.trustlab.acme_jws import AcmeProblem, SignedRequest, read_signed, verify_binding
from postroad.trustlab.acme_orders import AcmeRegister

KEY = JWKRSA(key=rsa.generate_private_key(65537, 2048))
OTHER = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
URL = "http://lab/acme/new-order"
KID = "http://lab/acme/account/1"


class Desk:
    """An endpoint's side, with one account."""

    def __init__(self) -> None:
        self.register = AcmeRegister()

    def signed(self, *, key=KEY, alg=RS256, url=URL, kid=KID, nonce=None, payload=b"{}") -> bytes:
        given = self.register.new_nonce() if nonce is None else nonce
        jws = JWS.sign(payload, key=key, alg=alg, nonce=given.encode(), url=url, kid=kid)
        # The library encodes nonces once more; this one is sent as it was given.
        document = jws.to_partial_json()
        if nonce is None or nonce:
            return resigned(document, key, alg, {"nonce": given})
        return resigned(document, key, alg, {})

    def read(self, body: bytes) -> SignedRequest:
        return read_signed(
            body,
            url=URL,
            use_nonce=self.register.use_nonce,
            key_of=lambda kid: KEY.public_key() if kid == KID else None,
        )


def resigned(document: dict, key, alg, changes: dict[str, object]) -> bytes:
    from josepy.b64 import b64decode

    header = json.loads(b64decode(document["protected"])) | changes
    protected = b64encode(json.dumps(header).encode()).decode()
    signature = alg.sign(key.key, f"{protected}.{document['payload']}".encode())
    return json.dumps(
        {
            "protected": protected,
            "payload": document["payload"],
            "signature": b64encode(signature).decode(),
        }
    ).encode()


def test_signed_request_is_read_with_account_or_key() -> None:
    desk = Desk()
    request = desk.read(desk.signed(payload=b'{"a": 1}'))
    assert (request.kid, request.document()) == (KID, {"a": 1})
    by_key = desk.read(desk.signed(key=OTHER, alg=ES256, kid=None))
    assert by_key.kid is None
    assert by_key.jwk.thumbprint() == OTHER.thumbprint()


def test_nonce_is_good_once() -> None:
    desk = Desk()
    body = desk.signed()
    desk.read(body)
    for replayed in (body, desk.signed(nonce="made-up"), desk.signed(nonce="")):
        with pytest.raises(AcmeProblem) as refusal:
            desk.read(replayed)
        assert refusal.value.kind == "badNonce"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"alg": RS512}, "badSignatureAlgorithm"),
        ({"alg": HS256, "key": JWKOct(key=b"k" * 32)}, "badSignatureAlgorithm"),
        ({"url": "http://lab/acme/other"}, "unauthorized"),
        ({"kid": "http://lab/acme/account/2"}, "accountDoesNotExist"),
        ({"key": OTHER, "alg": ES256}, "malformed"),
        ({"kid": None, "key": JWKRSA(key=rsa.generate_private_key(65537, 1024))}, "badPublicKey"),
    ],
)
def test_request_is_refused_for(changes: dict[str, object], kind: str) -> None:
    desk = Desk()
    with pytest.raises(AcmeProblem) as refusal:
        desk.read(desk.signed(**changes))
    assert refusal.value.kind == kind
    assert refusal.value.document()["type"] == f"urn:ietf:params:acme:error:{kind}"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"protected": 1, "payload": "", "signature": ""}', b"[" * 100_000],
)
def test_what_is_no_jws_is_refused(body: bytes) -> None:
    with pytest.raises(AcmeProblem, match="body"):
        Desk().read(body)


def test_signature_by_another_kind_of_key_than_the_algorithm_names_is_refused() -> None:
    desk = Desk()
    document = json.loads(desk.signed(kid=None))
    for alg, jwk in (("ES256", KEY), ("RS256", OTHER)):
        changes = {
            "alg": alg,
            "jwk": jwk.public_key().to_json(),
            "nonce": desk.register.new_nonce(),
        }
        with pytest.raises(AcmeProblem, match="does not verify"):
            desk.read(resigned(document, KEY, RS256, changes))


def test_key_and_account_together_are_refused() -> None:
    desk = Desk()
    document = json.loads(desk.signed())
    changes = {"jwk": KEY.public_key().to_json(), "nonce": desk.register.new_nonce()}
    with pytest.raises(AcmeProblem, match="either jwk or kid"):
        desk.read(resigned(document, KEY, RS256, changes))


def test_binding_holds_for_its_key_and_address_only() -> None:
    mac = JWKOct(key=b"m" * 32)

    def bind(key=KEY, url=URL, kid="kid-1", mac=mac) -> dict:
        payload = json.dumps(key.public_key().to_json()).encode()
        jws = JWS.sign(payload, key=mac, alg=HS256, nonce=None, url=url, kid=kid)
        return json.loads(jws.json_dumps())

    def verify(binding: object) -> str:
        return verify_binding(binding, jwk=KEY.public_key(), url=URL, keys={"kid-1": b"m" * 32})

    assert verify(bind()) == "kid-1"
    for forged in (
        bind(key=OTHER),
        bind(url="http://lab/other"),
        bind(kid="kid-2"),
        bind(mac=JWKOct(key=b"x" * 32)),
        {},
        None,
    ):
        with pytest.raises(AcmeProblem):
            verify(forged)


def test_register_keeps_a_bounded_number_of_nonces() -> None:
    register = AcmeRegister()
    first = register.new_nonce()
    for _ in range(10_000):
        last = register.new_nonce()
    assert not register.use_nonce(first)
    assert register.use_nonce(last)
