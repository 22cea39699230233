"""Keys in a hardware token: made there, used there, and back after the token was away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from postroad.adapters.hardware_devices import DeviceSettings, PrivateKeyAttributes
from postroad.adapters.pkcs11_library import Pkcs11Library
from postroad.adapters.pkcs11_tokens import Pkcs11Token
from postroad.adapters.signer_protocol import KeyAlgorithm, KeyUsage, TokenStatus
from postroad.crypto.algorithms import (
    DigestAlgorithm,
    PrivateKey,
    SignatureAlgorithm,
    sign_digest,
    verify_signature,
)
from postroad.errors import ConfigurationError, FaultCode
from postroad.signer.requests import build_request
from support.softhsm import LIBRARY, PIN, SoftHsm

DATA = b"what is signed"
DIGESTS = (DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512)

Opener = Callable[..., Pkcs11Token]


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.add_token("one")
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.configuration))
    with suppress(pkcs11.PKCS11Error):
        pkcs11.lib(LIBRARY).reinitialize()  # another test's tokens are forgotten
    yield hsm
    with suppress(pkcs11.PKCS11Error):
        pkcs11.lib(LIBRARY).finalize()


def token_of(label: str, **settings: object) -> Pkcs11Token:
    device = DeviceSettings(
        module_path=LIBRARY, token_id_format="{label}", **settings
    )  # one setting at a time
    return Pkcs11Token(Pkcs11Library("hsm", device), label)


def sign(key: PrivateKey, digest: DigestAlgorithm = DigestAlgorithm.SHA512) -> bytes:
    algorithm = SignatureAlgorithm.for_key(key.public_key(), digest)
    return sign_digest(key, algorithm, digest.digest(DATA), ecdsa_raw=True)


def refusal(work: Callable[[], object]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_every_kind_of_key_signs_every_digest_and_a_request(
    hsm: SoftHsm, algorithm: KeyAlgorithm
) -> None:
    token = token_of("one")
    token.open(PIN)
    key_id, key = token.generate("k", algorithm)
    public = key.public_key()
    for digest in DIGESTS:
        value = sign(key, digest)
        signature = SignatureAlgorithm.for_key(public, digest)
        verify_signature(public, signature, value, DATA, ecdsa_raw=True)
        if isinstance(public, ec.EllipticCurvePublicKey):
            assert len(value) == 2 * ((public.key_size + 7) // 8)
    request = x509.load_der_x509_csr(build_request(key, KeyUsage.SIGNING, [("CN", "x")]))
    assert request.is_signature_valid
    assert [*token_of("one").open(PIN)] == [key_id]


def test_pss_signs_messages_and_requests(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    _, key = token.generate("k", KeyAlgorithm.RSA_2048)
    assert isinstance(key, rsa.RSAPrivateKey)
    for digest in DIGESTS:
        algorithm = SignatureAlgorithm.with_digest("RSA-PSS", digest)
        value = sign_digest(key, algorithm, digest.digest(DATA), ecdsa_raw=True)
        verify_signature(key.public_key(), algorithm, value, DATA, ecdsa_raw=True)
    der = build_request(key, KeyUsage.SIGNING, [("CN", "x")], rsa_pss=True)
    request = x509.load_der_x509_csr(der)
    assert request.is_signature_valid
    assert request.signature_algorithm_oid.dotted_string == "1.2.840.113549.1.1.10"


def test_private_key_never_leaves_the_token(hsm: SoftHsm) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    token = token_of("one")
    token.open(PIN)
    for algorithm in (KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256):
        _, key = token.generate("k", algorithm)
        error = refusal(
            lambda key=key: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        )
        assert error.code is FaultCode.KEY_NOT_AVAILABLE
    session = pkcs11.lib(LIBRARY).get_token(token_label="one").open()
    for private in session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}):
        assert private[pkcs11.Attribute.SENSITIVE]
        assert private[pkcs11.Attribute.NEVER_EXTRACTABLE]
        secret = pkcs11.Attribute.VALUE
        if private.key_type is pkcs11.KeyType.RSA:
            secret = pkcs11.Attribute.PRIVATE_EXPONENT
        with pytest.raises(pkcs11.AttributeSensitive):
            private[secret]


def test_device_that_makes_keys_which_can_be_copied_is_refused(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the device ignored the template that it is given."""
    from postroad.adapters import pkcs11_tokens

    def careless(_wanted: object) -> dict[pkcs11.Attribute, object]:
        return {pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False}

    token = token_of("one")
    token.open(PIN)
    monkeypatch.setattr(
        pkcs11_tokens,
        "_attributes",
        lambda wanted: careless(wanted) if isinstance(wanted, PrivateKeyAttributes) else {},
    )
    error = refusal(lambda: token.generate("k", KeyAlgorithm.EC_P256))
    assert error.code is FaultCode.HSM_NON_OPERATIONAL
    assert "can be copied" in error.message
    assert token.open(PIN) == {}  # and nothing of it is left


def test_attributes_are_those_of_the_settings(hsm: SoftHsm) -> None:
    attributes = PrivateKeyAttributes(decrypt=False, sign_recover=True)
    token = token_of("one", priv_key_attributes=attributes)
    token.open(PIN)
    token.generate("k", KeyAlgorithm.RSA_2048)
    session = pkcs11.lib(LIBRARY).get_token(token_label="one").open()
    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    (private,) = session.get_objects(wanted)
    assert not private[pkcs11.Attribute.DECRYPT]
    assert private[pkcs11.Attribute.SIGN_RECOVER]
    assert private[pkcs11.Attribute.LABEL] == "k"


def test_wrong_pin_is_told_with_the_tries_that_are_left(hsm: SoftHsm) -> None:
    token = token_of("one")
    error = refusal(lambda: token.open("wrong"))
    assert error.code is FaultCode.PIN_INCORRECT
    assert token.status is TokenStatus.USER_PIN_COUNT_LOW
    assert "few tries" in error.message
    assert not token.is_open
    token.open(PIN)
    assert token.status is TokenStatus.OK


def test_changed_pin_logs_out_and_only_the_new_one_opens(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    key_id, _ = token.generate("k", KeyAlgorithm.EC_P256)
    token.change_pin(PIN, "another-pin")
    assert not token.is_open
    assert refusal(lambda: token.open(PIN)).code is FaultCode.PIN_INCORRECT
    assert [*token.open("another-pin")] == [key_id]


def test_token_that_was_away_signs_again_without_a_new_login(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    _, key = token.generate("k", KeyAlgorithm.EC_P256)
    hsm.take_away()
    token._library.restart()
    for _ in range(2):
        assert refusal(lambda: sign(key)).code is FaultCode.TOKEN_NOT_AVAILABLE
    hsm.put_back()
    assert len(sign(key)) == 64


def test_pin_that_was_changed_elsewhere_is_tried_once_only(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    _, key = token.generate("k", KeyAlgorithm.EC_P256)
    token_of("one").change_pin(PIN, "another-pin")
    token._library.restart()
    assert refusal(lambda: sign(key)).code is FaultCode.PIN_INCORRECT
    assert not token.is_open
    assert refusal(lambda: sign(key)).code is FaultCode.TOKEN_NOT_ACTIVE


def test_with_pin_per_signature_nothing_stays_logged_in_between(hsm: SoftHsm) -> None:
    token = token_of("one", sign_verify_pin=True)
    token.open(PIN)
    assert token._session is None
    key_id, key = token.generate("k", KeyAlgorithm.EC_P256)
    for _ in range(2):
        assert len(sign(key)) == 64
        assert token._session is None
        look = pkcs11.lib(LIBRARY).get_token(token_label="one").open()
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
        assert list(look.get_objects(wanted)) == []  # private objects show after a login only
    token.delete(key_id)


def test_read_only_device_makes_and_deletes_nothing(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    key_id, _ = token.generate("k", KeyAlgorithm.EC_P256)
    token.close()
    reader = token_of("one", read_only=True)
    keys = reader.open(PIN)
    assert len(sign(keys[key_id])) == 64
    for work in (
        lambda: reader.generate("k", KeyAlgorithm.EC_P256),
        lambda: reader.delete(key_id),
    ):
        assert refusal(work).code is FaultCode.TOKEN_READONLY


def test_deleted_key_leaves_nothing_on_the_token(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    key_id, _ = token.generate("k", KeyAlgorithm.EC_P256)
    token.delete(key_id)
    session = pkcs11.lib(LIBRARY).get_token(token_label="one").open()
    assert list(session.get_objects()) == []
    assert token.open(PIN) == {}


def test_keys_of_others_are_found_and_short_ids_do_not_meet(hsm: SoftHsm) -> None:
    """Vendors' tools number keys: 01 on every token."""
    hsm.add_token("two")
    pkcs11.lib(LIBRARY).reinitialize()
    ids = set()
    for label in ("one", "two"):
        session = pkcs11.lib(LIBRARY).get_token(token_label=label).open(rw=True, user_pin=PIN)
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, id=b"\1", store=True)
        session.close()
        (key_id,) = token_of(label).open(PIN)
        ids.add(key_id)
    assert len(ids) == 2
    assert all(len(key_id) == 40 for key_id in ids)


def test_missing_library_is_told_as_a_device_that_does_not_work(tmp_path: Path) -> None:
    library = Pkcs11Library("hsm", DeviceSettings(module_path=str(tmp_path / "none.so")))
    assert refusal(library.tokens).code is FaultCode.HSM_NON_OPERATIONAL


def test_only_the_slots_of_the_settings_are_used(hsm: SoftHsm) -> None:
    hsm.add_token("two")
    pkcs11.lib(LIBRARY).reinitialize()
    slot = pkcs11.lib(LIBRARY).get_token(token_label="two").slot.slot_id
    settings = DeviceSettings(module_path=LIBRARY, slot_ids=(slot,), token_id_format="{label}")
    assert [*Pkcs11Library("hsm", settings).tokens()] == ["two"]


def test_lying_token_does_not_get_a_signature_past_us(hsm: SoftHsm) -> None:
    token = token_of("one")
    token.open(PIN)
    for algorithm in (KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256):
        _, honest = token.generate("k", algorithm)
        _, other = token.generate("k", algorithm)
        honest._by_token = other._by_token  # keys of a token
        assert refusal(lambda key=honest: sign(key)).code is FaultCode.HSM_NON_OPERATIONAL
