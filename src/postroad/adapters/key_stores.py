"""What does the signer need of a place where private keys live?

A store is opened by its PIN and then hands out keys that sign: those of the software token are in
memory, those of a hardware token only look that way (``pkcs11_keys``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from postroad.adapters.signer_protocol import KeyAlgorithm, TokenStatus
from postroad.adapters.tokens import MAX_KEYS, SCRYPT_N, SoftwareToken, TokenSecret, new_key_id
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.crypto.algorithms import PrivateKey

_RSA_BITS: Final = {
    KeyAlgorithm.RSA_2048: 2048,
    KeyAlgorithm.RSA_3072: 3072,
    KeyAlgorithm.RSA_4096: 4096,
}
_CURVES: Final[dict[KeyAlgorithm, ec.EllipticCurve]] = {
    KeyAlgorithm.EC_P256: ec.SECP256R1(),
    KeyAlgorithm.EC_P384: ec.SECP384R1(),
    KeyAlgorithm.EC_P521: ec.SECP521R1(),
}


class KeyStore(Protocol):
    """The private keys of one token. Blocking, and called by one thread at a time."""

    @property
    def lends_keys(self) -> bool:
        """Whether a private key may leave it, as TLS needs."""
        ...

    @property
    def is_initialised(self) -> bool:
        """Whether it has a PIN."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it is logged in."""
        ...

    @property
    def status(self) -> TokenStatus:
        """The state of its PIN."""
        ...

    def initialise(self, pin: str) -> None:
        """Give it its first PIN; it stays closed."""
        ...

    def open(self, pin: str) -> dict[str, PrivateKey]:
        """Log in: every key that can be used, by its id. Raises ``pin_incorrect`` and others."""
        ...

    def close(self) -> None:
        """Forget the PIN and what it opened."""
        ...

    def change_pin(self, old: str, new: str) -> None:
        """Replace the PIN; the store is closed afterwards."""
        ...

    def generate(self, label: str, algorithm: KeyAlgorithm) -> tuple[str, PrivateKey]:
        """Make a key durably: its id, and the key."""
        ...

    def delete(self, key_id: str) -> None:
        """Delete a key for good; one that is gone already is no error."""
        ...

    def certificates(self) -> tuple[bytes, ...]:
        """Certificates (DER) that lie beside the keys, for whoever wants to import them."""
        ...


class SoftwareKeyStore:
    """The software token as a key store."""

    lends_keys = True

    def __init__(self, directory: Path, *, scrypt_n: int = SCRYPT_N) -> None:
        self._files = SoftwareToken(directory, scrypt_n=scrypt_n)
        self._secret: TokenSecret | None = None
        self._pin_was_wrong = False

    @property
    def is_initialised(self) -> bool:
        """Whether the token has a PIN."""
        return self._files.is_initialised

    @property
    def is_open(self) -> bool:
        """Whether the token is logged in."""
        return self._secret is not None

    @property
    def status(self) -> TokenStatus:
        """The state of the PIN."""
        if not self.is_initialised:
            return TokenStatus.NOT_INITIALIZED
        return TokenStatus.USER_PIN_INCORRECT if self._pin_was_wrong else TokenStatus.OK

    def initialise(self, pin: str) -> None:
        """Give the token its PIN."""
        self._files.initialise(pin)

    def open(self, pin: str) -> dict[str, PrivateKey]:
        """Open every key file that the PIN opens; damaged ones are left out."""
        try:
            secret = self._files.unlock(pin)
        except ConfigurationError as error:
            self._pin_was_wrong = error.code is FaultCode.PIN_INCORRECT
            raise
        self._pin_was_wrong = False
        keys: dict[str, PrivateKey] = {}
        for key_id in sorted(self._files.key_ids())[:MAX_KEYS]:
            try:
                keys[key_id] = self._files.load_key(secret, key_id)
            except ConfigurationError:
                continue  # shown as not available
        self._secret = secret
        return keys

    def close(self) -> None:
        """Forget what opens the key files."""
        self._secret = None

    def change_pin(self, old: str, new: str) -> None:
        """Replace the PIN."""
        self._files.change_pin(old, new)
        self.close()

    def generate(self, _label: str, algorithm: KeyAlgorithm) -> tuple[str, PrivateKey]:
        """Make a key; its file is durable when this returns."""
        key_id = new_key_id()
        bits = _RSA_BITS.get(algorithm)
        key: PrivateKey
        if bits is not None:
            key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        else:
            key = ec.generate_private_key(_CURVES[algorithm])
        self._files.store_key(self._require_open(), key_id, key)
        return key_id, key

    def delete(self, key_id: str) -> None:
        """Remove a key's file."""
        self._files.delete_key(key_id)

    def certificates(self) -> tuple[bytes, ...]:
        """None: the software token keeps keys only."""
        return ()

    def _require_open(self) -> TokenSecret:
        if self._secret is None:
            raise ConfigurationError("the token is logged out", code=FaultCode.TOKEN_NOT_ACTIVE)
        return self._secret
