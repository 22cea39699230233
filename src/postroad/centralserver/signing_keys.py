"""How are the keys that sign the configuration made, kept and used?

The private keys lie in a software token of the node, opened by its PIN, or in a hardware token
(``[token.device]``). Their certificates are mere containers for the public key: self-signed, serial
1, never judged. Source: PR-GCONF 2.2; reference: ``SigningKeysServiceImpl``, ``TokensServiceImpl``.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from postroad.adapters.database import snapshot
from postroad.adapters.signer_protocol import KeyAlgorithm as TokenKeyAlgorithm
from postroad.adapters.tokens import SoftwareToken, TokenSecret, new_key_id
from postroad.centralserver.registry.change import changing
from postroad.centralserver.registry.sources import (
    NewKey,
    SourceType,
    add_signing_key,
    delete_signing_key,
    require_room_for_key,
)
from postroad.crypto.algorithms import SignatureAlgorithm, sign_data
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.engine import Engine

    from postroad.adapters.hardware_devices import DeviceSettings
    from postroad.adapters.pkcs11_tokens import Pkcs11Token
    from postroad.crypto.algorithms import DigestAlgorithm, PrivateKey

_NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(2038, 1, 1, tzinfo=UTC)


class KeyAlgorithm(StrEnum):
    """What a signing key may be; clients before 7.6 can't verify EC keys."""

    RSA = "RSA"
    """2048 bits."""
    EC = "EC"
    """Curve P-256."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who works with a node's keys, when, and on which node of the cluster."""

    actor: str
    at: datetime
    node_name: str = ""


class SigningToken:
    """The node's token once its PIN has opened it: makes, deletes and uses signing keys."""

    def __init__(self, directory: Path, pin: str) -> None:
        self._token = SoftwareToken(directory)
        if not self._token.is_initialised:
            raise ConfigurationError(
                "the token has no PIN yet: run `postroad central init`",
                code=FaultCode.TOKEN_NOT_INITIALIZED,
            )
        self._secret: TokenSecret = self._token.unlock(pin)
        self._keys: dict[str, PrivateKey] = {}

    def generate(self, algorithm: KeyAlgorithm) -> tuple[str, PrivateKey]:
        """Make and store a private key: its id, and the key to make a certificate with."""
        key: PrivateKey
        match algorithm:
            case KeyAlgorithm.RSA:
                key = rsa.generate_private_key(65537, 2048)
            case KeyAlgorithm.EC:
                key = ec.generate_private_key(ec.SECP256R1())
        key_id = new_key_id()
        self._token.store_key(self._secret, key_id, key)
        return key_id, key

    def certificate(self, key: PrivateKey, common_name: str) -> bytes:
        """The container certificate (DER) of a key that this token has just made."""
        return key_certificate(key, common_name)

    def delete(self, key_id: str) -> None:
        """Remove a private key for good."""
        self._keys.pop(key_id, None)
        self._token.delete_key(key_id)

    def signer(
        self, key_id: str, digest: DigestAlgorithm
    ) -> tuple[SignatureAlgorithm, Callable[[bytes], bytes]]:
        """How a key signs with that digest: the algorithm, and a function from data to value.

        EC values are DER, as directories want them. Raises ``ConfigurationError``
        (``key_not_found``) when this token doesn't hold the key.
        """
        key = self._keys.get(key_id)
        if key is None:
            key = self._keys[key_id] = self._token.load_key(self._secret, key_id)
        algorithm = SignatureAlgorithm.for_key(key.public_key(), digest)
        return algorithm, lambda data: sign_data(key, algorithm, data, ecdsa_raw=False)

    def close(self) -> None:
        """Forget the private keys; whoever still holds this token must open it again."""
        self._keys = {}


class HardwareSigningToken(SigningToken):
    """A hardware token for new keys, beside the node's own for those that were there before.

    So a source moves to hardware as it rotates any key: make the new one, let clients learn of it,
    activate it, delete the old one.
    """

    def __init__(self, software: SigningToken, store: Pkcs11Token, pin: str) -> None:
        self._software = software
        self._store = store
        self._pin = pin
        self._lock = threading.Lock()  # the library is used by one thread at a time
        self._keys = store.open(pin)

    def generate(self, algorithm: KeyAlgorithm) -> tuple[str, PrivateKey]:
        """Make a private key in the hardware token."""
        kind = {
            KeyAlgorithm.RSA: TokenKeyAlgorithm.RSA_2048,
            KeyAlgorithm.EC: TokenKeyAlgorithm.EC_P256,
        }[algorithm]
        with self._lock:
            return self._store.generate("configuration signing key", kind)

    def certificate(self, key: PrivateKey, common_name: str) -> bytes:
        """The container certificate of a new key, which signs it in the token."""
        with self._lock:
            return super().certificate(key, common_name)

    def delete(self, key_id: str) -> None:
        """Remove a private key for good, wherever it is."""
        with self._lock:
            self._keys = self._store.open(self._pin)
            if key_id in self._keys:
                self._store.delete(key_id)
                del self._keys[key_id]
                return
        self._software.delete(key_id)

    def signer(
        self, key_id: str, digest: DigestAlgorithm
    ) -> tuple[SignatureAlgorithm, Callable[[bytes], bytes]]:
        """How a key signs, in the hardware token or in the software token."""
        with self._lock:
            if key_id not in self._keys:  # a command may have made it since
                self._keys = self._store.open(self._pin)
            key = self._keys.get(key_id)
        if key is None:
            return self._software.signer(key_id, digest)
        algorithm = SignatureAlgorithm.for_key(key.public_key(), digest)

        def sign(data: bytes) -> bytes:
            with self._lock:
                return sign_data(key, algorithm, data, ecdsa_raw=False)

        return algorithm, sign

    def close(self) -> None:
        """Log out of the hardware token, and forget the keys of the other."""
        with self._lock:
            self._keys = {}
            self._store.close()
        self._software.close()


def open_hardware_token(
    software: SigningToken, settings: DeviceSettings, pin: str
) -> HardwareSigningToken:
    """Open the one hardware token that the settings describe; slots choose among several.

    Raises ``ConfigurationError``: ``pin_incorrect``, ``token_not_found``, ``hsm_non_operational``.
    """
    from postroad.adapters.pkcs11_library import Pkcs11Library  # noqa: PLC0415 - few have one
    from postroad.adapters.pkcs11_tokens import Pkcs11Token  # noqa: PLC0415 - only with hardware tokens

    if settings.rsa_sign_mechanism != "CKM_RSA_PKCS":
        raise ConfigurationError("configuration is signed with CKM_RSA_PKCS or CKM_ECDSA only")
    library = Pkcs11Library("central", settings)
    found = list(library.tokens())
    if len(found) != 1:
        raise ConfigurationError(
            f"the device holds {len(found)} tokens where one is wanted: name its slot in slot_ids",
            code=FaultCode.TOKEN_NOT_FOUND,
        )
    return HardwareSigningToken(software, Pkcs11Token(library, found[0]), pin)


def initialize_token(directory: Path, pin: str) -> bool:
    """Give a node's new token its PIN; False when it has this PIN already.

    Raises ``ConfigurationError`` (``pin_incorrect``) when it has another one.
    """
    token = SoftwareToken(directory)
    if token.is_initialised:
        token.unlock(pin)
        return False
    token.initialise(pin)
    return True


def generate_signing_key(
    engine: Engine,
    token: SigningToken,
    source_type: SourceType,
    *,
    algorithm: KeyAlgorithm,
    by: Operator,
    label: str = "",
) -> str:
    """Make a signing key and announce it; returns its id. The source's first key is active."""
    with snapshot(engine) as session:
        require_room_for_key(session, source_type, by.node_name)
    key_id, key = token.generate(algorithm)
    with ExitStack() as cleanup:
        cleanup.callback(token.delete, key_id)  # if it isn't announced, nobody will ever ask for it
        certificate = token.certificate(key, source_type.key_name)
        new = NewKey(key_id, algorithm.value, certificate, label)
        with changing(engine, actor=by.actor, at=by.at) as change:
            add_signing_key(change, source_type, new, by.node_name)
        cleanup.pop_all()
    return key_id


def remove_signing_key(engine: Engine, token: SigningToken, key_id: str, *, by: Operator) -> None:
    """Delete a key that doesn't sign: from the registry first, then from the token."""
    with changing(engine, actor=by.actor, at=by.at) as change:
        delete_signing_key(change, key_id)
    token.delete(key_id)


def key_certificate(key: PrivateKey, common_name: str) -> bytes:
    """The container certificate (DER) of a signing key, as the reference makes it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=_NOT_BEFORE,
        not_valid_after=_NOT_AFTER,
    )
    return builder.sign(key, hashes.SHA512()).public_bytes(Encoding.DER)
