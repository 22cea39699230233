"""How signing keys are kept, and that what they sign can be verified."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from postroad.adapters.pkcs11_keys import TokenEcKey
from postroad.centralserver.registry import sources
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.centralserver.registry.sources import SourceType
from postroad.centralserver.signing_keys import (
    HardwareSigningToken,
    KeyAlgorithm,
    Operator,
    SigningToken,
    generate_signing_key,
    initialize_token,
    remove_signing_key,
)
from postroad.crypto.algorithms import DigestAlgorithm, ecdsa_der_to_raw, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode
from support.central_server import NOW, PIN, Registry, copied_token

if TYPE_CHECKING:
    from pathlib import Path

BY = Operator("tester", NOW)


@pytest.fixture(scope="module")
def empty_token(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SigningToken]:
    directory = tmp_path_factory.mktemp("token")
    initialize_token(directory, PIN)
    return directory, SigningToken(directory, PIN)


@pytest.fixture
def token(tmp_path: Path, empty_token: tuple[Path, SigningToken]) -> SigningToken:
    directory, unlocked = empty_token
    shutil.copytree(directory, tmp_path / "keys")
    return copied_token(unlocked, tmp_path / "keys")


def key_files(tmp_path: Path) -> list[str]:
    return sorted(path.stem for path in (tmp_path / "keys").rglob("*.pem"))


def test_a_token_is_initialised_once(tmp_path: Path) -> None:
    assert initialize_token(tmp_path / "keys", PIN)
    assert not initialize_token(tmp_path / "keys", PIN)
    with pytest.raises(ConfigurationError) as refused:
        initialize_token(tmp_path / "keys", "another")
    assert refused.value.code is FaultCode.PIN_INCORRECT


def test_a_token_opens_with_its_pin_only(
    empty_token: tuple[Path, SigningToken], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SigningToken(empty_token[0], "another")
    assert refused.value.code is FaultCode.PIN_INCORRECT
    with pytest.raises(ConfigurationError) as refused:
        SigningToken(tmp_path / "nothing", PIN)
    assert refused.value.code is FaultCode.TOKEN_NOT_INITIALIZED


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
@pytest.mark.parametrize("digest", [DigestAlgorithm.SHA256, DigestAlgorithm.SHA512])
def test_what_a_key_signs_verifies_with_its_certificate(
    registry: Registry,
    token: SigningToken,
    tmp_path: Path,
    algorithm: KeyAlgorithm,
    digest: DigestAlgorithm,
) -> None:
    key_id = generate_signing_key(
        registry.engine, token, SourceType.INTERNAL, algorithm=algorithm, by=BY
    )
    with registry.reading() as session:
        certificate = Certificate.from_der(sources.load_signing_key(session, key_id).certificate)
    reopened = copied_token(token, tmp_path / "keys")
    used, sign = reopened.signer(key_id, digest)
    assert used.digest is digest
    verify_signature(certificate.public_key, used, sign(b"data"), b"data", ecdsa_raw=False)


def test_the_certificate_is_a_container_as_the_reference_makes_it(
    registry: Registry, token: SigningToken
) -> None:
    key_id = generate_signing_key(
        registry.engine, token, SourceType.EXTERNAL, algorithm=KeyAlgorithm.RSA, by=BY
    )
    with registry.reading() as session:
        der = sources.load_signing_key(session, key_id).certificate
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.subject.rfc4514_string() == "CN=externalSigningKey"
    assert certificate.subject == certificate.issuer
    assert certificate.serial_number == 1
    assert certificate.not_valid_before_utc.isoformat() == "1970-01-01T00:00:00+00:00"
    assert certificate.not_valid_after_utc.isoformat() == "2038-01-01T00:00:00+00:00"
    assert certificate.signature_algorithm_oid._name == "sha512WithRSAEncryption"
    certificate.verify_directly_issued_by(certificate)


def test_a_third_key_is_refused_and_leaves_no_file(
    registry: Registry, token: SigningToken, tmp_path: Path
) -> None:
    for _ in range(2):
        generate_signing_key(
            registry.engine, token, SourceType.INTERNAL, algorithm=KeyAlgorithm.EC, by=BY
        )
    before = key_files(tmp_path)
    with pytest.raises(RegistryRefusal):
        generate_signing_key(
            registry.engine, token, SourceType.INTERNAL, algorithm=KeyAlgorithm.EC, by=BY
        )
    assert key_files(tmp_path) == before


def test_a_key_that_could_not_be_announced_leaves_no_file(
    registry: Registry, token: SigningToken, tmp_path: Path
) -> None:
    nowhere = Operator("tester", NOW, "node_9")
    with pytest.raises(RegistryRefusal, match="no address"):
        generate_signing_key(
            registry.engine, token, SourceType.INTERNAL, algorithm=KeyAlgorithm.EC, by=nowhere
        )
    assert key_files(tmp_path) == []


def test_a_deleted_key_is_gone_from_the_token(
    registry: Registry, token: SigningToken, tmp_path: Path
) -> None:
    first, second = (
        generate_signing_key(
            registry.engine, token, SourceType.INTERNAL, algorithm=KeyAlgorithm.EC, by=BY
        )
        for _ in range(2)
    )
    remove_signing_key(registry.engine, token, second, by=BY)
    assert key_files(tmp_path) == [first]
    with pytest.raises(RegistryRefusal):
        remove_signing_key(registry.engine, token, first, by=BY)
    assert key_files(tmp_path) == [first]
    with pytest.raises(ConfigurationError) as refused:
        token.signer(second, DigestAlgorithm.SHA512)
    assert refused.value.code is FaultCode.KEY_NOT_FOUND


def test_private_keys_are_encrypted_and_private(
    registry: Registry, token: SigningToken, tmp_path: Path
) -> None:
    generate_signing_key(
        registry.engine, token, SourceType.INTERNAL, algorithm=KeyAlgorithm.EC, by=BY
    )
    (path,) = (tmp_path / "keys").rglob("*.pem")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


class OneThreadStore:
    """A hardware token whose library must not be called by two threads at a time."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.entered, self.leave = threading.Event(), threading.Event()
        self.inside = self.most_inside = 0

    def open(self, _pin: str) -> dict[str, TokenEcKey]:
        return {"KEY": self._token_key()}

    def generate(self, _label: str, _algorithm: object) -> tuple[str, TokenEcKey]:
        return "NEW", self._token_key()

    def _token_key(self) -> TokenEcKey:
        return TokenEcKey(self.key.public_key(), self._sign)

    def _sign(self, _mechanism: str, _digest: str, data: bytes) -> bytes:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        self.leave.wait(5)
        self.inside -= 1
        value = self.key.sign(
            data, ec.ECDSA(Prehashed(hashes.SHA256()))
        )  # what the curve takes of it
        return ecdsa_der_to_raw(value, 32)


def test_a_new_hardware_key_is_announced_while_another_signs_but_never_at_the_same_time(
    tmp_path: Path,
) -> None:
    initialize_token(tmp_path, PIN)
    store = OneThreadStore()
    token = HardwareSigningToken(SigningToken(tmp_path, PIN), store, PIN)
    _key_id, key = token.generate(KeyAlgorithm.EC)
    _algorithm, sign = token.signer("KEY", DigestAlgorithm.SHA512)
    with ThreadPoolExecutor(2) as threads:
        generation = threads.submit(sign, b"configuration")
        assert store.entered.wait(5)
        announcing = threads.submit(token.certificate, key, "internal")
        wait([announcing], timeout=0.1)
        store.leave.set()
        assert generation.result()
        assert announcing.result()
    assert store.most_inside == 1
