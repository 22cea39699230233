"""Which account at a certification service is a member's: external bindings, contacts, keys?

``acme.yml`` and ``mail.yml`` are the reference's files (AcmeProperties, acme.example.yml): members
are named ``INSTANCE:CLASS:CODE``, credentials are for all usages (``kid``) or for one of them
(``auth-kid``, ``sign-kid``), and then that usage has an account of its own.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from postroad.adapters.acme_client import ExternalAccount
from postroad.adapters.files import write_atomic
from postroad.adapters.private_files import read_private_file
from postroad.adapters.signer_protocol import KeyUsage
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.wire.yaml_document import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.identifiers import MemberId
    from postroad.securityserver.settings import Settings

ACCOUNT_KEY_BITS: Final = 2048
"""As long as the reference's (``signer.key-length``)."""


class _Kebab(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Unknown keys are left out: the files hold more than we need."""


class Credentials(_Kebab, frozen=True, kw_only=True):
    """The credentials of one member at one service."""

    kid: str = ""
    mac_key: str = ""
    auth_kid: str = ""
    auth_mac_key: str = ""
    sign_kid: str = ""
    sign_mac_key: str = ""

    def __repr__(self) -> str:
        return "Credentials([redacted])"


class _Service(_Kebab, frozen=True, kw_only=True):
    mac_key_base64_encoded: bool = False
    members: dict[str, Credentials] = {}


class _Services(_Kebab, frozen=True, kw_only=True):
    certificate_authorities: dict[str, _Service] = {}


class _AcmeFile(_Kebab, frozen=True, kw_only=True):
    eab_credentials: _Services | None = None
    contacts: dict[str, str] | None = None


class AcmeAccounts:
    """The accounts of one server's members."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bindings = _read(settings.acme_credentials_path, "file of ACME credentials")
        self._contacts = _read(settings.acme_contacts_path, "file of contacts")

    def contact(self, member: MemberId) -> str | None:
        """The address for a member; older files hold it beside the credentials."""
        for file in (self._contacts, self._bindings):
            found = (file.contacts or {}).get(file_name_of(member))
            if found:
                return found
        return None

    def external(self, ca_name: str, member: MemberId, usage: KeyUsage) -> ExternalAccount | None:
        """What binds a new account; None if nothing is known.

        Raises ``ConfigurationError`` for a key that isn't Base64 where it should be.
        """
        service, credentials = self._credentials(ca_name, member)
        kid, mac_key = _for_usage(credentials, usage)
        if not kid:
            return None
        if not service.mac_key_base64_encoded:
            return ExternalAccount(kid, mac_key.encode())
        try:
            padded = mac_key + "=" * (-len(mac_key) % 4)
            return ExternalAccount(kid, base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error):
            raise ConfigurationError(
                f"the MAC key of {file_name_of(member)} for {ca_name!r} is not Base64",
                code=FaultCode.ACME_FAILED,
            ) from None

    def key(
        self, ca_name: str, directory_url: str, member: MemberId, usage: KeyUsage
    ) -> rsa.RSAPrivateKey:
        """The account's key, made when it is needed first.

        The directory's address is part of its name: another server never sees the same account.
        """
        _service, credentials = self._credentials(ca_name, member)
        own = {
            KeyUsage.AUTHENTICATION: credentials.auth_kid,
            KeyUsage.SIGNING: credentials.sign_kid,
        }
        prefix = ("auth_" if usage is KeyUsage.AUTHENTICATION else "sign_") if own[usage] else ""
        name = "\n".join((ca_name, directory_url, prefix + file_name_of(member)))
        path = self._settings.acme_path / "accounts" / f"{sha256(name.encode()).hexdigest()}.pem"
        return _load_key(path) if path.exists() else _make_key(path)

    def _credentials(self, ca_name: str, member: MemberId) -> tuple[_Service, Credentials]:
        services = self._bindings.eab_credentials or _Services()
        service = services.certificate_authorities.get(ca_name, _Service())
        return service, service.members.get(file_name_of(member), Credentials())


def file_name_of(member: MemberId) -> str:
    """How the files name a member."""
    return f"{member.instance}:{member.member_class}:{member.member_code}"


def _for_usage(credentials: Credentials, usage: KeyUsage) -> tuple[str, str]:
    if usage is KeyUsage.AUTHENTICATION and credentials.auth_kid:
        return credentials.auth_kid, credentials.auth_mac_key
    if usage is KeyUsage.SIGNING and credentials.sign_kid:
        return credentials.sign_kid, credentials.sign_mac_key
    return credentials.kid, credentials.mac_key


def _read(path: Path, what: str) -> _AcmeFile:
    if not path.exists():
        return _AcmeFile()
    try:
        document = read_yaml(read_private_file(path, what).encode())
        return msgspec.convert(document or {}, _AcmeFile)
    except msgspec.ValidationError as error:  # it tells the place, and nothing of the value
        raise ConfigurationError(f"{path}: {error}", code=FaultCode.ACME_FAILED) from error
    except MalformedInput as error:
        raise ConfigurationError(
            f"{path} can't be read as YAML", code=FaultCode.ACME_FAILED
        ) from error


def _make_key(path: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(65537, ACCOUNT_KEY_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, pem, mode=0o600)
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be written: {error.strerror}", code=FaultCode.ACME_FAILED
        ) from error
    return key


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        pem = read_private_file(path, "ACME account key").encode()
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} is no key", code=FaultCode.ACME_FAILED) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"{path} is no RSA key", code=FaultCode.ACME_FAILED)
    return key
