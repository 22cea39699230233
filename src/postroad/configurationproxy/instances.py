"""What is one proxy instance: which source it passes on, with which keys, for how long?

A folder each, as the reference has it (``ConfProxyProperties``)::

    <name>/anchor.xml            the source's anchor, internal or external
    <name>/instance.toml         validity, federations, key ids
    <name>/cert_<key id>.pem     the certificate that carries the public key
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec

from postroad.adapters.files import remove_directory, write_atomic
from postroad.centralserver.signing_keys import KeyAlgorithm, key_certificate
from postroad.configurationproxy.publishing import announced_keys
from postroad.configurationproxy.settings import DIRECTORY
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf.anchor import MAX_ANCHOR_BYTES, Anchor, build_anchor
from postroad.globalconf.republishing import PublishingProxy

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from postroad.centralserver.signing_keys import SigningToken
    from postroad.configurationproxy.settings import Settings

MAX_KEYS = 10
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_KEY_ID = re.compile(r"[0-9A-F]{8,64}", re.ASCII)
_FILE = """\
# How long what is passed on counts, at most; never longer than its source says.
validity_interval_seconds = {validity}
# Other instances that are passed on with it: none, all, or names with commas.
allowed_federations = "{federations}"
active_signing_key_id = "{active}"
signing_key_ids = [{keys}]
"""


class _InstanceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    validity_interval_seconds: Annotated[int, msgspec.Meta(ge=60, le=7 * 86400)] = 600
    allowed_federations: str = "none"
    active_signing_key_id: str = ""
    signing_key_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxyInstance:
    """One proxy instance as it stands on disk."""

    name: str
    folder: Path
    validity: timedelta
    allowed_federations: str
    active_key: str | None
    keys: tuple[str, ...]
    """Ids of all its signing keys, in the order in which they were added."""

    @property
    def anchor_path(self) -> Path:
        """The anchor of the source."""
        return self.folder / "anchor.xml"

    def load_anchor(self) -> bytes:
        """The source's anchor file; ``ConfigurationError`` (``anchor_file_not_found``) if none."""
        try:
            with self.anchor_path.open("rb") as file:
                return file.read(MAX_ANCHOR_BYTES + 1)
        except OSError as error:
            raise ConfigurationError(
                f"the source's anchor {self.anchor_path} can't be read: {error.strerror}",
                code=FaultCode.ANCHOR_FILE_NOT_FOUND,
            ) from error

    def anchor_instance(self) -> str:
        """The instance that the source is of."""
        return Anchor.parse(self.load_anchor()).instance

    def certificate_path(self, key_id: str) -> Path:
        """Where the certificate of a key lies."""
        return self.folder / f"cert_{key_id}.pem"

    def certificate(self, key_id: str) -> bytes:
        """The certificate (DER) of a key; ``ConfigurationError`` when it can't be read."""
        path = self.certificate_path(key_id)
        try:
            return Certificate.from_pem_or_der(path.read_bytes()).der
        except (OSError, MalformedInput) as error:
            raise ConfigurationError(f"the certificate {path} can't be read: {error}") from error

    def certificates(self) -> tuple[bytes, ...]:
        """The certificates of all keys, the active one first."""
        active = () if self.active_key is None else (self.active_key,)
        return tuple(self.certificate(key) for key in dict.fromkeys((*active, *self.keys)))

    def addresses(self, settings: Settings) -> tuple[str, ...]:
        """Where clients download the signed directory; empty while the proxy has no address."""
        address = settings.proxy.address
        schemes = ("http", "https") if address else ()
        return tuple(f"{scheme}://{address}/{self.name}/{DIRECTORY}" for scheme in schemes)

    def as_published(self, settings: Settings) -> PublishingProxy:
        """The proxy as its clients see it; ``ConfigurationError`` without address or key."""
        if not settings.proxy.address:
            raise ConfigurationError("the proxy has no address: set `address` in confproxy.toml")
        if self.active_key is None:
            raise ConfigurationError(
                f"{self.name} has no signing key: run `postroad confproxy add-signing-key`",
                code=FaultCode.KEY_NOT_FOUND,
            )
        return PublishingProxy(
            name=self.name,
            address=settings.proxy.address,
            certificates=self.certificates(),
            validity=self.validity,
        )

    def build_anchor(self, settings: Settings, *, at: datetime) -> Anchor:
        """The anchor for clients of the proxy: its addresses and keys, the source's instance."""
        proxy = self.as_published(settings)
        return build_anchor(
            self.anchor_instance(),
            [(proxy.address, proxy.certificates)],
            directory=f"{self.name}/{DIRECTORY}",
            at=at,
        )


def list_instances(settings: Settings) -> list[ProxyInstance]:
    """All proxy instances, by name."""
    if not settings.instances_path.is_dir():
        return []
    names = sorted(path.name for path in settings.instances_path.iterdir() if path.is_dir())
    return [load_instance(settings, name) for name in names if _NAME.fullmatch(name)]


def load_instance(settings: Settings, name: str) -> ProxyInstance:
    """One proxy instance; ``ConfigurationError`` when there is none, or its file is broken."""
    folder = _folder(settings, name)
    path = folder / "instance.toml"
    try:
        read = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _InstanceFile)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no proxy instance {name}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    keys = (*read.signing_key_ids, *filter(None, [read.active_signing_key_id]))
    if not all(_KEY_ID.fullmatch(key) for key in keys):
        raise ConfigurationError(f"{path}: a key id consists of hexadecimal digits")
    return ProxyInstance(
        name,
        folder,
        timedelta(seconds=read.validity_interval_seconds),
        read.allowed_federations,
        read.active_signing_key_id or None,
        read.signing_key_ids,
    )


def create_instance(
    settings: Settings, name: str, anchor: bytes, *, validity: int = 600, federations: str = "none"
) -> ProxyInstance:
    """Make a proxy instance for the source of an anchor.

    Raises ``ConfigurationError`` when it exists, ``MalformedInput`` for what is no anchor.
    """
    folder = _folder(settings, name)
    Anchor.parse(anchor)
    if folder.exists():
        raise ConfigurationError(f"there is a proxy instance {name} already")
    _check_federations(federations)
    try:
        folder.mkdir(mode=0o750, parents=True)
        write_atomic(folder / "anchor.xml", anchor, mode=0o640)
        made = ProxyInstance(name, folder, timedelta(seconds=validity), federations, None, ())
        _store(made)
        return load_instance(settings, name)
    except (OSError, ConfigurationError) as error:
        remove_directory(folder)
        raise ConfigurationError(f"{folder} can't be made: {error}") from error


def add_signing_key(
    settings: Settings, name: str, token: SigningToken, algorithm: KeyAlgorithm
) -> str:
    """Make a signing key and announce it: its id. The first one is active. The anchor changes."""
    instance = load_instance(settings, name)
    if len(instance.keys) >= MAX_KEYS:
        raise ConfigurationError(f"{name} has {MAX_KEYS} signing keys; delete one first")
    key_id, key = token.generate(algorithm)
    pem = Certificate.from_der(key_certificate(key, "N/A")).pem
    write_atomic(instance.certificate_path(key_id), pem, mode=0o640)
    _store(instance, active=instance.active_key or key_id, keys=(*instance.keys, key_id))
    return key_id


def activate_signing_key(
    settings: Settings, name: str, key_id: str, *, force: bool = False
) -> None:
    """Let one of the announced keys sign from now on.

    Refused for a key that was never published, unless ``force``: no client could verify what it
    signs without a new anchor.
    """
    instance = load_instance(settings, name)
    certificate = instance.certificate(_known(instance, key_id))
    announced = announced_keys(settings.public_path / name, instance.anchor_instance())
    if announced is not None and certificate not in announced and not force:
        raise ConfigurationError(
            f"the key {key_id} was not published yet: run `postroad confproxy update {name}` and "
            "give clients the time of two updates to learn of it"
        )
    _store(instance, active=key_id, keys=instance.keys)


def delete_signing_key(settings: Settings, name: str, token: SigningToken, key_id: str) -> None:
    """Delete a key that doesn't sign, from the instance first. The anchor changes."""
    instance = load_instance(settings, name)
    if _known(instance, key_id) == instance.active_key:
        raise ConfigurationError(f"the key {key_id} signs; activate another one first")
    left = tuple(key for key in instance.keys if key != key_id)
    _store(instance, active=instance.active_key, keys=left)
    instance.certificate_path(key_id).unlink(missing_ok=True)
    token.delete(key_id)


def _known(instance: ProxyInstance, key_id: str) -> str:
    if key_id not in instance.keys:
        raise ConfigurationError(
            f"{instance.name} has no signing key {key_id[:80]}", code=FaultCode.KEY_NOT_FOUND
        )
    return key_id


def _folder(settings: Settings, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name[:80]!r} can't name a proxy instance: letters, digits and ._- only"
        )
    return settings.instances_path / name


def _check_federations(text: str) -> None:
    if not text.isprintable() or '"' in text or "\\" in text:
        raise ConfigurationError(f"{text[:80]!r} is no list of instances")


def _store(
    instance: ProxyInstance, *, active: str | None = None, keys: tuple[str, ...] = ()
) -> None:
    text = _FILE.format(
        validity=int(instance.validity.total_seconds()),
        federations=instance.allowed_federations,
        active=active or "",
        keys=", ".join(f'"{key}"' for key in keys),
    )
    write_atomic(instance.folder / "instance.toml", text.encode(), mode=0o640)
