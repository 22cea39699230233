"""How does the TLS certificate of the registration service change while it's in use?

The new pair is written beside, and the registry says whether it counts: clients learn of its
certificate with the next generation of the configuration, by which they pin it. Then the pair takes
its place and the open ports show it; whoever starts after a crash finishes that. Source: reference
``ManagementServiceTlsCertificateService``.
"""

from __future__ import annotations

import io
import re
import ssl
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from postroad.adapters.files import sync_directory, write_atomic
from postroad.adapters.tls import load_certificate_chain
from postroad.centralserver.registry.names import host_of
from postroad.centralserver.registry.provider import (
    find_management_certificate,
    set_management_certificate,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import node_address
from postroad.centralserver.tls_certificates import make_pair
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

    from postroad.centralserver.management_ports import CertificateSwitch
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.registry.change import Change
    from postroad.centralserver.settings import Settings
    from postroad.crypto.algorithms import PrivateKey

_T = TypeVar("_T")
_ATTRIBUTES = {
    "serialNumber": NameOID.SERIAL_NUMBER,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "E": NameOID.EMAIL_ADDRESS,
}
"""Names of attributes besides those of RFC 4514."""
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


class ManagementCertificate:
    """The key and certificate of the ports for management requests."""

    def __init__(self, settings: Settings, certificates: CertificateSwitch) -> None:
        self._node_name = settings.central.node_name
        self._certificate_path = settings.management_certificate_path
        self._key_path = settings.management_key_path
        self._next_path = settings.management_key_path.with_suffix(".next")
        self._certificates = certificates

    def read(self) -> bytes:
        """The certificate (PEM) that is shown."""
        return _answered(self._certificate_path.read_bytes)

    @contextmanager
    def switching(self, node: CentralServerNode) -> Iterator[None]:
        """Around a transaction that replaces the certificate: one at a time, as a whole or not."""
        with self._certificates.turn:
            try:
                yield
            finally:
                with node.reading() as session:
                    self.settle(session)

    def settle(self, session: Session) -> None:
        """Let the pair that was written beside take its place if the registry has it, or drop it.

        Each step can be done again, so this also finishes what a crash has interrupted.
        """
        if not self._next_path.exists():
            return
        key, begin, rest = _answered(self._next_path.read_bytes).partition(_CERTIFICATE)
        chain = begin + rest
        counting = find_management_certificate(session, self._node_name)
        if counting == Certificate.from_pem_or_der(chain).der:
            _answered(lambda: write_atomic(self._key_path, key))
            _answered(lambda: write_atomic(self._certificate_path, chain, 0o644))
            self._certificates.show(key, chain)
        _answered(self._next_path.unlink)
        _answered(lambda: sync_directory(self._next_path.parent))

    def replace(self, change: Change) -> None:
        """Make a new key and a certificate of its own signature, to be shown from now on."""
        host = host_of(node_address(change.session, self._node_name))
        key, certificate = make_pair(host, change.at)
        self._stage(change, key, certificate)

    def request(self, distinguished_name: str) -> bytes:
        """A certificate request (DER) of the key that is in use, for a name like ``CN=x, C=FI``."""
        try:
            plain = re.sub(r"(?<!\\)([,+])\s+", r"\1", distinguished_name.strip())
            subject = x509.Name.from_rfc4514_string(plain, _ATTRIBUTES)
            builder = x509.CertificateSigningRequestBuilder(subject)
            return builder.sign(self._key(), hashes.SHA256()).public_bytes(Encoding.DER)
        except ValueError as error:
            raise RegistryRefusal(
                Problem.INVALID_DISTINGUISHED_NAME, f"not a distinguished name: {error}"
            ) from error

    def take_in(self, change: Change, data: bytes) -> None:
        """Take a certificate (PEM or DER) that an authority has issued for the key in use."""
        try:
            certificate = Certificate.from_pem_or_der(data)
            is_ours = certificate.public_key.public_numbers() == (
                self._key().public_key().public_numbers()
            )
        except MalformedInput as error:
            raise RegistryRefusal(
                Problem.INVALID_CERTIFICATE, f"not a TLS certificate: {error.message}"
            ) from error
        if not is_ours:
            raise RegistryRefusal(
                Problem.CERTIFICATE_OF_OTHER_KEY,
                "the certificate is not for the key of the management service",
            )
        if certificate == Certificate.from_pem_or_der(self.read()):
            raise RegistryRefusal(Problem.CERTIFICATE_IN_USE, "this is the certificate in use")
        # What comes after the certificate is its chain, which clients of the port are shown too.
        chain = data if data.lstrip().startswith(b"-----BEGIN") else certificate.pem
        self._stage(change, _answered(self._key_path.read_bytes), chain)

    def archive(self) -> bytes:
        """The certificate as PEM and as DER in a ``tar.gz``."""
        certificate = Certificate.from_pem_or_der(self.read())
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w:gz") as archive:
            for name, data in (("cert.pem", certificate.pem), ("cert.cer", certificate.der)):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return written.getvalue()

    def _stage(self, change: Change, key: bytes, chain: bytes) -> None:
        load_certificate_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), key, chain)
        _answered(lambda: write_atomic(self._next_path, key.rstrip() + b"\n" + chain))
        set_management_certificate(change, chain, self._node_name)

    def _key(self) -> PrivateKey:
        key = load_pem_private_key(_answered(self._key_path.read_bytes), None)
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise ConfigurationError("the key of the management service is neither RSA nor EC")
        return key


def _answered(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except OSError as error:
        raise ConfigurationError(
            f"the certificate of the management service can't be kept: {error}"
        ) from error
