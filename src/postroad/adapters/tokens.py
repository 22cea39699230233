"""How does the software token keep private keys on disk, so that only its PIN opens them?

A token is a directory (mode 0700)::

    pin.json         how the PIN opens the token: scrypt parameters and the wrapped token secret
    keys/<id>.pem    one private key each: encrypted PKCS#8, its passphrase is the token secret

The PIN is stretched once (scrypt, 32 MiB) to unwrap a random token secret (AES key wrap, RFC 3394,
which also proves that the PIN was right). Changing the PIN rewrites one small file, never the keys.
The reference keeps one PKCS#12 per key under the PIN itself (`SoftwareTokenWorker`); both give the
authentication key to the proxy and keep the signing keys.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from postroad.adapters.files import write_atomic
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.crypto.algorithms import PrivateKey

MAX_PIN_BYTES: Final = 1024
MAX_KEYS: Final = 10_000
SCRYPT_N: Final = 2**15
"""Cost of one PIN attempt: 32 MiB and about a third of a second."""
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 3
_SCRYPT_MEMORY: Final = 128 * 1024 * 1024
_KEY_ID = re.compile(r"[0-9A-F]{8,64}")


class _PinFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `pin.json`; bytes are base64."""

    salt: bytes
    wrapped_secret: bytes
    n: int = SCRYPT_N
    r: int = _SCRYPT_R
    p: int = _SCRYPT_P
    version: int = 1


class TokenSecret:
    """What opens the key files of one token; it exists in memory only, and never prints itself."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def passphrase(self) -> bytes:
        """The passphrase of every key file."""
        return self._secret.hex().encode("ascii")

    def __repr__(self) -> str:
        return "TokenSecret([redacted])"

    def __reduce__(self) -> str:
        raise TypeError("a token secret is not to be copied anywhere")


class SoftwareToken:
    """The key files of one software token; `scrypt_n` is the cost of a PIN that is set anew."""

    def __init__(self, directory: Path, *, scrypt_n: int = SCRYPT_N) -> None:
        self._scrypt_n = scrypt_n
        self._directory = directory
        self._keys = directory / "keys"
        self._pin_path = directory / "pin.json"

    @property
    def is_initialised(self) -> bool:
        """Whether the token has a PIN."""
        return self._pin_path.exists()

    def initialise(self, pin: str) -> None:
        """Give a new token its PIN.

        Raises `ConfigurationError` when it has one already or `pin` is empty or too long.
        """
        if self.is_initialised:
            raise ConfigurationError("the token is initialised already; change its PIN instead")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            self._keys.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._directory, error) from error
        self._write_pin(pin, os.urandom(32))

    def unlock(self, pin: str) -> TokenSecret:
        """Open the token with its PIN; this takes about a third of a second, on purpose.

        Raises `ConfigurationError`: `token_not_initialized`, or `pin_incorrect`.
        """
        return TokenSecret(self._unwrap(pin))

    def change_pin(self, old: str, new: str) -> None:
        """Replace the PIN; the key files stay as they are. Errors as in `unlock`."""
        self._write_pin(new, self._unwrap(old))

    def _write_pin(self, pin: str, secret: bytes) -> None:
        salt = os.urandom(16)
        stretched = _stretch(pin, salt, n=self._scrypt_n, r=_SCRYPT_R, p=_SCRYPT_P)
        wrapped = aes_key_wrap(stretched, secret)
        stored = _PinFile(salt=salt, wrapped_secret=wrapped, n=self._scrypt_n)
        _write(self._pin_path, msgspec.json.encode(stored))

    def _unwrap(self, pin: str) -> bytes:
        try:
            stored = msgspec.json.decode(self._pin_path.read_bytes(), type=_PinFile)
        except FileNotFoundError:
            raise ConfigurationError(
                "the token has no PIN yet: run `postroad server token init`",
                code=FaultCode.TOKEN_NOT_INITIALIZED,
            ) from None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{self._pin_path} can't be read: {error}", code=FaultCode.TOKEN_NOT_AVAILABLE
            ) from None
        stretched = _stretch(pin, stored.salt, n=stored.n, r=stored.r, p=stored.p)
        try:
            return aes_key_unwrap(stretched, stored.wrapped_secret)
        except (InvalidUnwrap, ValueError):
            raise ConfigurationError("the PIN is wrong", code=FaultCode.PIN_INCORRECT) from None

    def key_ids(self) -> frozenset[str]:
        """The ids of the keys that have a file."""
        if not self._keys.is_dir():
            return frozenset()
        found = (path.stem for path in self._keys.glob("*.pem"))
        return frozenset(name for name in found if _KEY_ID.fullmatch(name))

    def store_key(self, secret: TokenSecret, key_id: str, key: PrivateKey) -> None:
        """Write a private key to its own encrypted file, durably."""
        if len(self.key_ids()) >= MAX_KEYS:
            raise ConfigurationError(f"the token holds {MAX_KEYS} keys; delete some first")
        data = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret.passphrase())
        )
        _write(self._key_path(key_id), data)

    def load_key(self, secret: TokenSecret, key_id: str) -> PrivateKey:
        """Read and decrypt a private key.

        Raises `ConfigurationError`: `key_not_found` when there is no such file, or one that the
        token's secret doesn't open. The message never holds anything of the file.
        """
        try:
            data = self._key_path(key_id).read_bytes()
            key = load_pem_private_key(data, secret.passphrase())
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(
                f"the key {key_id} can't be opened ({type(error).__name__})",
                code=FaultCode.KEY_NOT_FOUND,
            ) from None
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise ConfigurationError(
                f"the key {key_id} is neither RSA nor EC", code=FaultCode.KEY_NOT_FOUND
            )
        return key

    def delete_key(self, key_id: str) -> None:
        """Remove a key's file for good; one that is gone already is no error."""
        self._key_path(key_id).unlink(missing_ok=True)

    def _key_path(self, key_id: str) -> Path:
        if not _KEY_ID.fullmatch(key_id):
            raise ConfigurationError("no such key", code=FaultCode.KEY_NOT_FOUND)
        return self._keys / f"{key_id}.pem"


def is_key_id(text: str) -> bool:
    """Whether a text can be the id of a key: 8 to 64 upper-case hex digits."""
    return _KEY_ID.fullmatch(text) is not None


def new_key_id() -> str:
    """A random key id in the reference's form: 20 bytes as upper-case hex digits."""
    return os.urandom(20).hex().upper()


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data, mode=0o600)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} can't be written: {error.strerror}", code=FaultCode.TOKEN_NOT_AVAILABLE
    )


def _stretch(pin: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    data = pin.encode("utf-8", "surrogatepass")
    if not 0 < len(data) <= MAX_PIN_BYTES:
        raise ConfigurationError(
            f"a PIN has 1 to {MAX_PIN_BYTES} bytes", code=FaultCode.PIN_INCORRECT
        )
    try:
        return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY, dklen=32)
    except ValueError:
        raise ConfigurationError(
            "pin.json names unusable scrypt parameters", code=FaultCode.TOKEN_NOT_AVAILABLE
        ) from None
