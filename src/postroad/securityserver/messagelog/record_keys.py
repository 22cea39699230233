"""Which keys encrypt the messages in the log's database, and where do they lie?

In a file of our own, which only the server's user may read::

    [keys]
    "2026" = "base64 of 32 random bytes"

New records are encrypted with the key that the settings name; a record names its key, so the
others must stay for as long as records need them. To change the key, add one, name it in the
settings and start the server again. The reference keeps its keys in a PKCS#12 file by the same
settings (UG-SS 11.1.3); a database of one can't be read by the other anyway.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import stat
import tomllib
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import write_atomic
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroad.securityserver.settings import Settings

KEY_BYTES: Final = 32
MAX_FILE_BYTES: Final = 64 * 1024
_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER: Final = (
    "# Keys of the message log. Whoever reads this file can read the messages in the database;\n"
    "# without it nobody can. Keep a copy apart from the database's.\n\n[keys]\n"
)


class LogKeys:
    """The keys of a message log, by their ids."""

    def __init__(self, keys: Mapping[str, bytes], source: str = "the key file") -> None:
        self._keys = dict(keys)
        self._source = source

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys."""
        return tuple(self._keys)

    def key(self, key_id: str) -> bytes:
        """Return a key; raises ``ConfigurationError`` (``key_not_found``)."""
        try:
            return self._keys[key_id]
        except KeyError:
            raise ConfigurationError(
                f"the message log's key {key_id!r} is not in {self._source}",
                code=FaultCode.KEY_NOT_FOUND,
            ) from None

    def with_new(self, key_id: str) -> LogKeys:
        """Return these keys and a new random one."""
        if not _KEY_ID.fullmatch(key_id):
            raise ConfigurationError(
                f"{key_id!r} can't be the id of a key: up to 64 letters, digits, '.', '_' and '-'"
            )
        if key_id in self._keys:
            raise ConfigurationError(f"there is a key {key_id!r} already")
        return LogKeys({**self._keys, key_id: secrets.token_bytes(KEY_BYTES)}, self._source)

    def encode(self) -> bytes:
        """Write the form of the key file."""
        lines = [
            f'"{key_id}" = "{base64.b64encode(key).decode()}"\n'
            for key_id, key in self._keys.items()
        ]
        return (_HEADER + "".join(lines)).encode()

    @classmethod
    def parse(cls, data: bytes, source: str = "the key file") -> LogKeys:
        """Read a key file; raises ``ConfigurationError`` that never quotes a key."""
        try:
            table = tomllib.loads(data.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise ConfigurationError(f"{source} is not a key file") from None
        found = table.get("keys")
        if set(table) != {"keys"} or not isinstance(found, dict):
            raise ConfigurationError(f"{source} must hold a table [keys], and nothing else")
        return cls({key_id: _key(key_id, text, source) for key_id, text in found.items()}, source)


def load_log_keys(path: Path) -> LogKeys:
    """Read a key file, which nobody but its owner may be able to read.

    Raises ``ConfigurationError`` (``key_not_found`` if there is no such file).
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; `postroad server log-key add ID` makes it",
            code=FaultCode.KEY_NOT_FOUND,
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} may be used by others: chmod 600 {path}")
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return LogKeys.parse(data, str(path))


def add_log_key(path: Path, key_id: str) -> None:
    """Add a new random key to a key file, which is made if there is none."""
    known = load_log_keys(path) if path.exists() else LogKeys({}, str(path))
    try:
        write_atomic(path, known.with_new(key_id).encode(), mode=0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error


def log_keys_of(settings: Settings) -> LogKeys | None:
    """Return the keys that a server's records may be encrypted with; None if it has none.

    They are wanted also after encryption was switched off, for what was logged before.
    """
    path = settings.log_keys_path
    if not settings.message_log.messagelog_encryption_enabled and not path.exists():
        return None
    return load_log_keys(path)


def _key(key_id: str, text: object, source: str) -> bytes:
    key = b""
    if isinstance(text, str) and _KEY_ID.fullmatch(key_id):
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{source}: {key_id!r} is not a key of {KEY_BYTES} bytes")
    return key
