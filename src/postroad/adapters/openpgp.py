"""How are archives encrypted for their owners and signed by us, in OpenPGP?

A thin border around the library (RFC 4880 and 9580), whose errors and stack traces stay here. What
is encrypted for a key of GnuPG can be read by it; a key made here is for newer programs.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

import pysequoia

from postroad.adapters.files import write_atomic
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MAX_KEY_FILE_BYTES: Final = 4 * 1024 * 1024
SHORTEST_KEY_ID: Final = 16
"""Hexadecimal digits; anybody can make a key with a shorter id that is somebody else's."""
_FAILURES: Final = (RuntimeError, ValueError, OSError)


class OpenPgpCertificate:
    """A public key that may be encrypted for, and that verifies signatures."""

    def __init__(self, certificate: pysequoia.Cert) -> None:
        self.raw = certificate

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its primary key, in upper-case hex."""
        return self.raw.fingerprint.upper()

    def check_usable(self) -> None:
        """Raise ``ConfigurationError`` if nothing can be encrypted for this key now."""
        if self.raw.is_revoked:
            raise _key_problem(f"the OpenPGP key {self.fingerprint} is revoked")
        try:
            pysequoia.encrypt(b"", recipients=[self.raw], armor=False)
        except _FAILURES as error:
            raise _key_problem(
                f"nothing can be encrypted for the OpenPGP key {self.fingerprint}: {_first(error)}"
            ) from error

    def __str__(self) -> str:
        """The armored form, to hand out."""
        return str(self.raw)


class OpenPgpSecret:
    """A key of our own: signs, and opens what is encrypted for it."""

    def __init__(self, secret: pysequoia.Tsk) -> None:
        self._secret = secret

    @classmethod
    def generate(cls, user_id: str) -> OpenPgpSecret:
        """Make a new key."""
        return cls(pysequoia.Tsk.generate(user_id=user_id, profile=pysequoia.Profile.RFC4880))

    @classmethod
    def load(cls, path: Path) -> OpenPgpSecret:
        """Read a secret key without a password, from a file that nobody else may use."""
        data = _read(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(f"{path} may be used by others: chmod 600 {path}")
        try:
            secret = cls(pysequoia.Tsk.from_bytes(data))
            secret.seal(b"", [secret.certificate])
        except _FAILURES as error:
            raise _key_problem(f"{path} is no usable secret key: {_first(error)}") from error
        return secret

    def store(self, path: Path) -> None:
        """Write the key to a file of its own."""
        write_atomic(path, bytes(self._secret), mode=0o600)

    @property
    def certificate(self) -> OpenPgpCertificate:
        """The public part."""
        return OpenPgpCertificate(self._secret.extract_certificate())

    def seal(self, data: bytes, recipients: Sequence[OpenPgpCertificate]) -> bytes:
        """Sign data and encrypt it; raises ``ConfigurationError`` (``mlog.archiving_failed``)."""
        if not recipients:
            raise _key_problem("nobody to encrypt for")
        try:
            return pysequoia.encrypt(
                data,
                recipients=[recipient.raw for recipient in recipients],
                signer=self._secret.signer(),
                armor=False,
            )
        except _FAILURES as error:
            raise _key_problem(f"OpenPGP encryption failed: {_first(error)}") from error

    def open(self, sealed: bytes, signers: Iterable[OpenPgpCertificate]) -> bytes:
        """Decrypt, and verify that one of ``signers`` has signed.

        Raises ``ConfigurationError`` if it isn't for this key, isn't whole or isn't signed so.
        """
        known = [signer.raw for signer in signers]
        try:
            opened = pysequoia.decrypt(
                sealed, decryptor=self._secret.decryptor(), store=lambda _ids: known
            )
        except _FAILURES as error:
            raise _key_problem(f"it can't be decrypted and verified: {_first(error)}") from error
        if opened.bytes is None or not opened.valid_sigs:
            raise _key_problem("it is not signed by a known key")
        return opened.bytes

    def open_file(self, sealed: Path, output: Path, signers: Iterable[OpenPgpCertificate]) -> None:
        """As :meth:`open`, from a file into one that doesn't exist yet."""
        known = [signer.raw for signer in signers]
        try:
            opened = pysequoia.decrypt_file(
                str(sealed),
                str(output),
                decryptor=self._secret.decryptor(),
                store=lambda _ids: known,
            )
        except _FAILURES as error:
            raise _key_problem(f"it can't be decrypted and verified: {_first(error)}") from error
        if not opened.valid_sigs:
            raise _key_problem("it is not signed by a known key")


def is_encrypted_message(data: bytes) -> bool:
    """Whether data begin as a message encrypted for a public key does, armored or not.

    Only the first packet's tag is read (RFC 9580, 4.2 and 5.1); opening it is what proves more.
    """
    if data.startswith(b"-----BEGIN PGP MESSAGE-----"):
        return True
    return bool(data) and (data[0] == 0xC1 or 0x84 <= data[0] <= 0x87)


def load_certificates(path: Path) -> list[OpenPgpCertificate]:
    """Read all public keys in a file, armored or not."""
    try:
        return [OpenPgpCertificate(found) for found in pysequoia.Cert.split_bytes(_read(path))]
    except _FAILURES as error:
        raise _key_problem(f"{path} holds no OpenPGP keys: {_first(error)}") from error


def find_certificate(certificates: Iterable[OpenPgpCertificate], key_id: str) -> OpenPgpCertificate:
    """Return the key with a fingerprint, or with a long key id.

    Raises ``ConfigurationError`` (``key_not_found``) if there is none, or the id is too short.
    """
    wanted = key_id.upper().removeprefix("0X").replace(" ", "")
    if len(wanted) < SHORTEST_KEY_ID:
        raise _key_problem(
            f"the OpenPGP key id {key_id!r} is too short: write the fingerprint, "
            f"or at least {SHORTEST_KEY_ID} digits"
        )
    for certificate in certificates:
        if certificate.fingerprint.endswith(wanted):
            return certificate
    raise ConfigurationError(
        f"the OpenPGP key {key_id!r} isn't there", code=FaultCode.KEY_NOT_FOUND
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read: {error.strerror}", code=FaultCode.KEY_NOT_FOUND
        ) from error
    if len(data) > MAX_KEY_FILE_BYTES:
        raise ConfigurationError(f"{path} is larger than {MAX_KEY_FILE_BYTES} bytes")
    return data


def _key_problem(message: str) -> ConfigurationError:
    return ConfigurationError(message, code=FaultCode.MLOG_ARCHIVING_FAILED)


def _first(error: BaseException) -> str:
    return str(error).partition("\n")[0]
