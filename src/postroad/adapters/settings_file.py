"""How does a program read its settings: the TOML file in its home directory, as one frozen type?"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_Settings = TypeVar("_Settings", bound=msgspec.Struct)


def read_settings_text(path: Path, *, missing: str | ConfigurationError) -> str:
    """The text of the file; where there is none, ``missing``, which may be the error to raise.

    Raises ``ConfigurationError`` when it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if isinstance(missing, ConfigurationError):
            raise missing from None
        return missing
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{path} can't be read: {reason}") from error


def convert_settings(text: str, kind: type[_Settings], *, home: Path, source: str) -> _Settings:
    """Settings out of TOML text; the type's field ``home`` is where the file lies.

    Raises ``ConfigurationError`` naming the key and what is wrong with it.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is not TOML: {error}") from error
    if "home" in data:
        raise ConfigurationError(f"{source}: `home` is where the file lies; remove the key")
    try:
        return msgspec.convert({**data, "home": str(home.absolute())}, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{source}: {error}") from error
