"""How is a certificate request (PKCS#10) made for a key?

The subject comes from the certificate profile of the CA (`crypto.profiles`); this module only puts
it into the request with the key usages that a CA expects. (Reference: GenerateCertRequest, which
also asks for keyCertSign in signing requests; a signing certificate needs no such bit.)
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.adapters.signer_protocol import KeyUsage
from postroad.crypto.names import build_name
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.algorithms import PrivateKey


def build_request(
    key: PrivateKey,
    usage: KeyUsage,
    subject: Sequence[tuple[str, str]],
    *,
    subject_alt_name: str | None = None,
    rsa_pss: bool = False,
) -> bytes:
    """Build and sign a certificate request; the result is DER.

    `subject` lists attribute types (short names or dotted OIDs) with their values. Raises
    `ConfigurationError` (`csr_failed`) for an unknown type, a blank value or an empty subject.
    """
    try:
        builder = x509.CertificateSigningRequestBuilder().subject_name(build_name(subject))
        builder = builder.add_extension(_key_usage(usage), critical=False)
        if subject_alt_name:
            name = _general_name(subject_alt_name)
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        digest = hashes.SHA256()
        scheme = None
        if rsa_pss and isinstance(key, rsa.RSAPrivateKey):
            scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return builder.sign(key, digest, rsa_padding=scheme).public_bytes(Encoding.DER)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"the certificate request can't be made: {error}", code=FaultCode.CSR_FAILED
        ) from error


def _key_usage(usage: KeyUsage) -> x509.KeyUsage:
    signing = usage is KeyUsage.SIGNING
    return x509.KeyUsage(
        digital_signature=not signing,
        content_commitment=signing,
        key_encipherment=not signing,
        data_encipherment=not signing,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
