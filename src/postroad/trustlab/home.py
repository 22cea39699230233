"""How does a lab keep its keys and its register between runs?

In one directory: ``lab.json`` (name and profile), ``private/*.key`` (PKCS#8, mode 0600),
``certs/*.pem``, ``register.jsonl`` (one line per certificate issued or revoked, only ever
appended, so that the command line may add to it while the service runs) and ``faults.json``.
"""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from postroad.adapters.files import write_atomic
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, PostroadError
from postroad.trustlab.authority import Authority, TrustLab
from postroad.trustlab.faults import FaultPlan
from postroad.trustlab.issuing import Identity, KeyKind

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.crypto.algorithms import PrivateKey

_IDENTITIES: Final = ("root-ca", "root-ocsp", "ca", "ocsp", "tsa")
_FORMAT: Final = 1


class LabHome:
    """The directory of one lab."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a lab was made here."""
        return (self.path / "lab.json").is_file()

    def certificate_path(self, name: str) -> Path:
        """Where the certificate of ``root-ca``, ``ca``, ``ocsp``, ``root-ocsp`` or ``tsa`` is."""
        return self.path / "certs" / f"{name}.pem"

    def store(self, lab: TrustLab) -> None:
        """Write a new lab; ``ConfigurationError`` if there is one already."""
        if self.exists:
            raise ConfigurationError(f"there is a trust lab in {self.path} already")
        for directory in (self.path, self.path / "private", self.path / "certs"):
            directory.mkdir(parents=True, exist_ok=True)
        (self.path / "private").chmod(0o700)
        for name, identity in zip(_IDENTITIES, _identities(lab), strict=True):
            write_atomic(self.path / "private" / f"{name}.key", _key_bytes(identity.private_key))
            write_atomic(self.certificate_path(name), identity.certificate.pem, 0o644)
        for certificate in lab.issued.values():
            self.record_issued(certificate, at=lab.at)
        about = {
            "format": _FORMAT,
            "profile": lab.profile,
            "keys": lab.keys.value,
            "created": lab.at.isoformat(),
        }
        # Written last: a lab that was left half made doesn't count as one.
        write_atomic(self.path / "lab.json", json.dumps(about, indent=2).encode(), 0o644)

    def load(self) -> TrustLab:
        """Read the lab with its register; ``ConfigurationError`` if it can't be read."""
        try:
            about = json.loads((self.path / "lab.json").read_bytes())
            root, root_ocsp, ca, ocsp, tsa = (self._identity(name) for name in _IDENTITIES)
            lab = TrustLab(
                root=Authority(root, root_ocsp),
                issuing=Authority(ca, ocsp),
                tsa=tsa,
                at=datetime.fromisoformat(about["created"]),
                profile=about["profile"],
                keys=KeyKind(about["keys"]),
            )
            self.load_register(lab)
        except (OSError, ValueError, KeyError, TypeError, PostroadError) as error:
            raise ConfigurationError(f"no trust lab can be read in {self.path}: {error}") from error
        return lab

    def load_register(self, lab: TrustLab) -> None:
        """Read the register into ``lab``, whose own entries are replaced."""
        issued: dict[int, Certificate] = {}
        revoked: dict[int, datetime] = {}
        for line in (self.path / "register.jsonl").read_text("ascii").splitlines():
            entry = json.loads(line)
            if entry["event"] == "issued":
                certificate = Certificate.from_der(base64.b64decode(entry["certificate"]))
                issued[certificate.serial] = certificate
            else:
                revoked[int(entry["serial"], 16)] = datetime.fromisoformat(entry["at"])
        lab.issued, lab.revoked = issued, revoked

    def register_size(self) -> int:
        """Bytes in the register: it only grows, so a new size means new entries."""
        return (self.path / "register.jsonl").stat().st_size

    def record_issued(self, certificate: Certificate, *, at: datetime) -> None:
        """Add a line about a certificate that was issued."""
        self._append(
            {
                "event": "issued",
                "at": at.isoformat(),
                "serial": f"{certificate.serial:x}",
                "subject": certificate.subject_rfc2253,
                "certificate": base64.b64encode(certificate.der).decode(),
            }
        )

    def record_revoked(self, serial: int, *, at: datetime) -> None:
        """Add a line about a certificate that was revoked."""
        self._append({"event": "revoked", "at": at.isoformat(), "serial": f"{serial:x}"})

    def load_faults(self) -> FaultPlan:
        """Read the fault plan; without a file the lab behaves."""
        try:
            return FaultPlan.parse((self.path / "faults.json").read_bytes())
        except FileNotFoundError:
            return FaultPlan()

    def store_faults(self, plan: FaultPlan) -> None:
        """Write the fault plan; a running service follows it from the next request on."""
        write_atomic(self.path / "faults.json", plan.encode(), 0o644)

    def _append(self, entry: dict[str, str]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path / "register.jsonl", flags, 0o644)
        try:
            os.write(descriptor, line)  # one write: lines of two processes don't mix
        finally:
            os.close(descriptor)

    def _identity(self, name: str) -> Identity:
        data = (self.path / "private" / f"{name}.key").read_bytes()
        key = serialization.load_pem_private_key(data, password=None)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"the key {name} is neither RSA nor EC")
        return Identity(Certificate.from_pem_or_der(self.certificate_path(name).read_bytes()), key)


def parse_serial(text: str) -> int:
    """Read a serial number as people write it: hexadecimal, with or without colons."""
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a hexadecimal serial number") from None


def _identities(lab: TrustLab) -> tuple[Identity, ...]:
    return (
        lab.root.identity,
        lab.root.ocsp_responder,
        lab.issuing.identity,
        lab.issuing.ocsp_responder,
        lab.tsa,
    )


def _key_bytes(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
