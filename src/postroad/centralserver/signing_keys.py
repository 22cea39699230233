"""How are the keys that sign the configuration made, kept and used?

The private keys lie in a software token of the node, opened by its PIN. Their certificates are
mere containers for the public key: self-signed, serial 1, never judged. Source: PR-GCONF 2.2;
reference: ``SigningKeysServiceImpl``, ``TokensServiceImpl``.
"""

from __future__ import annotations

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


def generate_signing_key(  # noqa: PLR0913 - which key, where, and by whom
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
        certificate = key_certificate(key, source_type.key_name)
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
