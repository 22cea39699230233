"""How do the keys of a Security Server of the reference move to Postroad?

From its directory `/etc/xroad/signer`: `keyconf.xml`, and the software token's key stores in
`softtoken` (or beside it), each a PKCS#12 file under the token's PIN. Keys of hardware tokens stay
in their tokens; their records move, and are found again by device name and token id. What can't be
taken over is told line by line, and nothing is half done: records are written last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from postroad.adapters.files import read_bounded
from postroad.adapters.hardware_devices import directory_name, is_device_name, key_id_of
from postroad.adapters.signer_protocol import (
    SOFTWARE_ID,
    CertificateRecord,
    KeyRecord,
    RequestRecord,
    TokenRecord,
)
from postroad.adapters.tokens import SoftwareToken, is_key_id, new_key_id
from postroad.crypto.algorithms import check_key_strength
from postroad.crypto.certificates import Certificate
from postroad.crypto.names import build_name
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.signer.keyconf import SOFTWARE_DEVICE, parse_keyconf
from postroad.signer.keyring import algorithm_name, save_record
from postroad.signer.tokens import public_key_der, usage_of

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.crypto.algorithms import PrivateKey, PublicKey
    from postroad.signer.keyconf import ConfiguredCertificate, ConfiguredDevice, ConfiguredKey

MAX_FILE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class ImportReport:
    """What was taken over, and what was left and why."""

    keys: int = 0
    certificates: int = 0
    requests: int = 0
    left: list[str] = field(default_factory=list)


def import_keyconf(source: Path, target: Path, pin: str) -> ImportReport:
    """Take over a reference signer's directory into the signer directory `target`.

    The new software token has the same PIN. Raises `ConfigurationError`: `pin_incorrect`, or that
    `target` holds keys already; `MalformedInput` for a broken `keyconf.xml`.
    """
    if (target / "token.json").exists():
        raise ConfigurationError("this server has keys already; import into a new one")
    devices = parse_keyconf(read_bounded(source / "keyconf.xml", MAX_FILE_BYTES))
    stores = _key_stores(source, pin)
    report = ImportReport()
    software = [device for device in devices if device.kind == SOFTWARE_DEVICE]
    if len(software) > 1:
        raise ConfigurationError("keyconf.xml has several software tokens")
    token = SoftwareToken(target)
    if not token.is_initialised:
        token.initialise(pin)
    secret = token.unlock(pin)
    records: list[tuple[Path, TokenRecord]] = []
    for device in devices:
        if device.kind == SOFTWARE_DEVICE:
            records.append((target, _record(device, report, stores)))
        elif not is_device_name(device.kind):
            report.left.append(f"token {device.id!r}: no section can be called {device.kind!r}")
        else:
            directory = target / "devices" / device.kind / directory_name(device.id)
            records.append((directory, _record(device, report, None)))
    known = {key.id for _, record in records for key in record.keys}
    for key_id, key in stores.items():
        if key_id not in known:
            report.left.append(f"key store {key_id}.p12: not in keyconf.xml; found at first login")
        token.store_key(secret, key_id, key)
    for directory, record in records:
        save_record(directory / "token.json", record)
    return report


def _record(
    device: ConfiguredDevice, report: ImportReport, stores: dict[str, PrivateKey] | None
) -> TokenRecord:
    keys: dict[bytes, KeyRecord] = {}
    for configured in device.keys:
        try:
            key = _key_record(configured, report, stores)
        except PostroadError as error:
            report.left.append(f"key {configured.friendly_name!r}: {error.message}")
            continue
        if key.public_key in keys:
            other = keys[key.public_key].friendly_name
            report.left.append(f"key {key.friendly_name!r}: the same key pair as {other!r}")
            continue
        keys[key.public_key] = key
        report.keys += 1
        report.certificates += len(key.certificates)
        report.requests += len(key.requests)
        if stores is not None and configured.id not in stores:
            report.left.append(f"private key of {key.friendly_name!r}: no {configured.id}.p12")
    token_id = SOFTWARE_ID if stores is not None else device.id
    return TokenRecord(id=token_id, friendly_name=device.friendly_name, keys=tuple(keys.values()))


def _key_record(
    configured: ConfiguredKey, report: ImportReport, stores: dict[str, PrivateKey] | None
) -> KeyRecord:
    public = _public_key(configured, stores or {})
    check_key_strength(public)
    spki = public_key_der(public)
    certificates = []
    for certificate in configured.certificates:
        try:
            certificates.append(_certificate_record(certificate, configured, spki))
        except PostroadError as error:
            report.left.append(f"certificate of key {configured.friendly_name!r}: {error.message}")
    return KeyRecord(
        id=configured.id if stores is not None else _id_on_token(configured.id, spki),
        label=configured.label,
        friendly_name=configured.friendly_name,
        algorithm=algorithm_name(public),
        public_key=spki,
        usage=configured.usage,
        certificates=tuple(certificates),
        requests=tuple(_requests(configured, report)),
    )


def _id_on_token(key_id: str, spki: bytes) -> str:
    try:
        return key_id_of(bytes.fromhex(key_id), spki)
    except ValueError:
        raise ConfigurationError(
            f"its id {key_id[:40]!r} is no CKA_ID", code=FaultCode.KEY_NOT_FOUND
        ) from None


def _public_key(configured: ConfiguredKey, stores: dict[str, PrivateKey]) -> PublicKey:
    """The public half: that of the private key, else what the file says, else a certificate's."""
    private = stores.get(configured.id)
    if private is not None:
        return private.public_key()
    if configured.public_key is not None:
        return _load_public(configured.public_key)
    for certificate in configured.certificates:
        return Certificate.from_der(certificate.der).public_key
    raise ConfigurationError("its public key is unknown", code=FaultCode.KEY_NOT_FOUND)


def _load_public(der: bytes) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415 - needed once in a server's life

    try:
        public = load_der_public_key(der)
    except ValueError as error:
        raise ConfigurationError(
            "its public key can't be read", code=FaultCode.KEY_NOT_FOUND
        ) from error
    if not isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ConfigurationError("it is neither RSA nor EC", code=FaultCode.KEY_NOT_FOUND)
    return public


def _certificate_record(
    configured: ConfiguredCertificate, key: ConfiguredKey, spki: bytes
) -> CertificateRecord:
    certificate = Certificate.from_der(configured.der)
    if public_key_der(certificate.public_key) != spki:
        raise ConfigurationError("it is for another key", code=FaultCode.KEY_NOT_FOUND)
    if usage_of(certificate) is not key.usage:
        raise ConfigurationError(
            f"it is not for {key.usage}, as the key is", code=FaultCode.WRONG_CERT_USAGE
        )
    member = configured.member
    return CertificateRecord(
        der=certificate.der,
        status=configured.status,
        active=configured.active,
        member=None if member is None else member.member.encoded(),
        renewed_by=configured.renewed_by,
        renewal_error=configured.renewal_error,
        next_renewal=configured.next_renewal,
    )


def _requests(configured: ConfiguredKey, report: ImportReport) -> list[RequestRecord]:
    found: list[RequestRecord] = []
    for request in configured.requests:
        try:
            if request.subject is None:
                raise ConfigurationError("its subject can't be understood")
            build_name(request.subject)
        except PostroadError as error:
            report.left.append(f"request of key {configured.friendly_name!r}: {error.message}")
            continue
        member = request.member
        found.append(
            RequestRecord(
                id=new_key_id(),
                subject=request.subject,
                member=None if member is None else member.member.encoded(),
                subject_alt_name=request.subject_alt_name,
                profile=request.profile,
            )
        )
    return found


def _key_stores(source: Path, pin: str) -> dict[str, PrivateKey]:
    """The private keys by id; every store must open with the PIN."""
    directory = source / "softtoken" if (source / "softtoken").is_dir() else source
    pin_store = directory / ".softtoken.p12"
    paths = [path for path in sorted(directory.glob("*.p12")) if path != pin_store]
    if pin_store.exists():
        _open_store(pin_store, pin)
    found: dict[str, PrivateKey] = {}
    for path in paths:
        if not is_key_id(path.stem.upper()):
            raise ConfigurationError(f"{path.name} is not named by a key's id")
        key = _open_store(path, pin)
        if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            found[path.stem.upper()] = key
    return found


def _open_store(path: Path, pin: str) -> object:
    try:
        return pkcs12.load_key_and_certificates(
            read_bounded(path, MAX_FILE_BYTES), pin.encode("utf-8")
        )[0]
    except ValueError:
        raise ConfigurationError(
            f"{path.name} doesn't open with this PIN", code=FaultCode.PIN_INCORRECT
        ) from None
