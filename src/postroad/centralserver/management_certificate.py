"""How does the TLS certificate of the registration service change while it's in use?

The new pair is written, the open ports show it, and clients learn of it with the next generation of
the configuration, by which they pin it. Source: reference
``ManagementServiceTlsCertificateService``.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from postroad.adapters.files import write_atomic
from postroad.centralserver.registry.names import host_of
from postroad.centralserver.registry.provider import set_management_certificate
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import node_address
from postroad.centralserver.tls_certificates import make_pair
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.management_ports import CertificateSwitch
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


class ManagementCertificate:
    """The key and certificate of the ports for management requests."""

    def __init__(self, settings: Settings, certificates: CertificateSwitch) -> None:
        self._node_name = settings.central.node_name
        self._certificate_path = settings.management_certificate_path
        self._key_path = settings.management_key_path
        self._certificates = certificates

    def read(self) -> bytes:
        """The certificate (PEM) that is shown."""
        return _answered(self._certificate_path.read_bytes)

    def replace(self, change: Change) -> None:
        """Make a new key and a certificate of its own signature, and show it from now on."""
        host = host_of(node_address(change.session, self._node_name))
        key, certificate = make_pair(host, change.at)
        set_management_certificate(change, certificate)
        _answered(lambda: write_atomic(self._key_path, key))
        self._show(key, certificate)

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
        """Show a certificate (PEM or DER) that an authority has issued for the key in use."""
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
        set_management_certificate(change, certificate.der)
        # What comes after the certificate is its chain, which clients of the port are shown too.
        chain = data if data.lstrip().startswith(b"-----BEGIN") else certificate.pem
        self._show(_answered(self._key_path.read_bytes), chain)

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

    def _show(self, key: bytes, chain: bytes) -> None:
        self._certificates.show(key, chain)
        _answered(lambda: write_atomic(self._certificate_path, chain, 0o644))

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
