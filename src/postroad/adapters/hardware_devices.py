"""Which hardware tokens does a server use, and how are they treated?

One section a PKCS#11 library, ``[devices.NAME]`` in a server's settings. Keys and defaults follow
the reference's ``devices.ini``; each library runs in a process of its own, by one thread, so its
questions about threads and locking (``os_locking_ok``, ``library_cant_create_os_threads``) have no
counterpart here. Two sections may name one library with different slots: two processes then.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec

from postroad.errors import ConfigurationError

DEFAULT_TOKEN_ID: Final = "{moduleType}{slotIndex}{serialNumber}{label}"  # noqa: S105 - a format
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class PublicKeyAttributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attributes of public keys made on the token; None leaves one to the device."""

    encrypt: bool | None = True
    verify: bool | None = True
    verify_recover: bool | None = None
    wrap: bool | None = None
    trusted: bool | None = None


class PrivateKeyAttributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attributes of private keys made on the token; None leaves one to the device."""

    sensitive: bool | None = True
    decrypt: bool | None = True
    sign: bool | None = True
    sign_recover: bool | None = None
    unwrap: bool | None = None
    extractable: bool | None = False
    """Never left to the device: a key that can be copied is no hardware key."""
    wrap_with_trusted: bool | None = None


class DeviceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One PKCS#11 library."""

    module_path: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="library")
    """Path of the vendor's shared library."""
    enabled: bool = True
    slot_ids: tuple[int, ...] = ()
    """Slots to use; empty for every slot that holds a token."""
    token_id_format: str = DEFAULT_TOKEN_ID
    rsa_sign_mechanism: Literal["CKM_RSA_PKCS", "CKM_RSA_PKCS_PSS"] = "CKM_RSA_PKCS"
    ec_sign_mechanism: Literal["CKM_ECDSA"] = "CKM_ECDSA"
    sign_verify_pin: bool = False
    """Log in for every single signature, as some devices for qualified seals demand."""
    batch_signing_enabled: bool = True
    """Whether messages that wait at the same time may share a signature of these keys."""
    read_only: bool = False
    """Make and delete nothing on the token."""
    pub_key_attributes: PublicKeyAttributes = PublicKeyAttributes()
    priv_key_attributes: PrivateKeyAttributes = PrivateKeyAttributes()

    def token_id(self, name: str, *, slot_index: int, serial_number: str, label: str) -> str:
        """The id of a token in this device, unique within the server."""
        values = {
            "{moduleType}": name,
            "{slotIndex}": str(slot_index),
            "{serialNumber}": serial_number,
            "{label}": label,
        }
        text = re.sub(
            r"\{\w+\}", lambda found: values.get(found[0], found[0]), self.token_id_format
        )
        shown = "".join(letter if letter.isprintable() else "?" for letter in text)
        return shown or f"{name}{slot_index}"


def directory_name(token_id: str) -> str:
    """The name of the directory of a token's record; labels are the device's, and may be hostile.

    ``urllib.parse.unquote`` gives the id back.
    """
    name = quote(token_id, safe="")
    return name.replace(".", "%2E") if not name.strip(".") else name


def is_device_name(name: str) -> bool:
    """Whether a section ``[devices.NAME]`` may have that name, which is a file's name, too."""
    return _NAME.fullmatch(name) is not None


def key_id_of(object_id: bytes, public_key_der: bytes) -> str:
    """The id of a key on a token: CKA_ID as hex, as in the reference.

    Ids of a few bytes (vendors' tools number keys) would meet those of other tokens, so keys that
    have one are named by the SHA-1 of their SubjectPublicKeyInfo.
    """
    if 8 <= len(object_id) <= 32:
        return object_id.hex().upper()
    return hashlib.sha1(public_key_der, usedforsecurity=False).hexdigest().upper()


def check_device_names(devices: dict[str, DeviceSettings], *, source: str) -> None:
    """Raise ``ConfigurationError`` for a section whose name can't be a file's name, too."""
    for name in devices:
        if not is_device_name(name):
            raise ConfigurationError(
                f"{source}: [devices.{name}]: a device's name has letters, digits, '-' and '_'"
            )
