"""Rules of the extensions in the lab's certificates: exactly those of the reference's test CA."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509

from postroad.crypto.certificates import Certificate
from postroad.identifiers import MemberId, SecurityServerId
from postroad.trustlab.authority import TrustLab

LAB = TrustLab.create(at=datetime(2026, 3, 1, tzinfo=UTC))
SIGN = LAB.sign_certificate(MemberId("DEV", "GOV", "1")).certificate
AUTH = LAB.auth_certificate(SecurityServerId("DEV", "GOV", "1", "ss1")).certificate


def shape(certificate: Certificate) -> dict[str, object]:
    found: dict[str, object] = {}
    for extension in certificate.x509.extensions:
        value, mark = extension.value, "!" if extension.critical else ""
        if isinstance(value, x509.KeyUsage):
            bits = {name.strip("_") for name, on in vars_of(value).items() if on}
            found["usage" + mark] = bits
        elif isinstance(value, x509.ExtendedKeyUsage):
            found["extended" + mark] = {usage._name for usage in value}
        elif isinstance(value, x509.BasicConstraints):
            found["ca" + mark] = (value.ca, value.path_length)
        elif isinstance(value, x509.SubjectAlternativeName):
            found["names" + mark] = value.get_values_for_type(x509.DNSName)
    return found


def vars_of(usage: x509.KeyUsage) -> dict[str, bool]:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    return {name: getattr(usage, name) for name in names}


CA_USAGE = {"digital_signature", "key_cert_sign", "crl_sign"}


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (LAB.root.certificate, {"ca!": (True, None), "usage!": CA_USAGE}),
        (LAB.ca_certificate, {"ca!": (True, 0), "usage!": CA_USAGE}),
        (SIGN, {"ca": (False, None), "usage!": {"content_commitment"}}),
        (
            AUTH,
            {
                "ca": (False, None),
                "usage!": {
                    "digital_signature",
                    "key_encipherment",
                    "data_encipherment",
                    "key_agreement",
                },
                "extended": {"clientAuth", "serverAuth"},
                "names": ["localhost"],
            },
        ),
        (
            LAB.ocsp_certificate,
            {
                "ca": (False, None),
                "usage!": {"digital_signature"},
                "extended!": {"OCSPSigning"},
            },
        ),
        (
            LAB.tsa_certificate,
            {"usage!": {"content_commitment"}, "extended!": {"timeStamping"}},
        ),
    ],
    ids=["root", "issuing", "sign", "auth", "ocsp", "tsa"],
)
def test_certificate_has_exactly_these_extensions(
    certificate: Certificate, expected: dict[str, object]
) -> None:
    assert shape(certificate) == expected
