from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from postroad.centralserver.tls_certificates import ensure_tls_certificate
from postroad.errors import ConfigurationError
from support.central_server import NOW

if TYPE_CHECKING:
    from pathlib import Path


def make(tmp_path: Path, address: str = "cs.example:8080") -> x509.Certificate:
    pem = ensure_tls_certificate(
        tmp_path / "tls" / "x.crt", tmp_path / "tls" / "x.key", address=address, at=NOW
    )
    return x509.load_pem_x509_certificate(pem)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("cs.example:8080", "DNSName(value='cs.example')"),
        ("jõgeva.ee", "DNSName(value='xn--jgeva-dua.ee')"),
        ("192.0.2.1", "IPAddress"),
        ("[::1]:8080", "IPAddress"),
    ],
)
def test_the_certificate_names_the_host(tmp_path: Path, address: str, name: str) -> None:
    certificate = make(tmp_path, address)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in str(names)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc


def test_the_files_fit_together_and_the_key_is_private(tmp_path: Path) -> None:
    make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls" / "x.crt", tmp_path / "tls" / "x.key")
    assert (tmp_path / "tls" / "x.key").stat().st_mode & 0o777 == 0o600


def test_an_existing_certificate_is_kept(tmp_path: Path) -> None:
    assert make(tmp_path) == make(tmp_path, "other.example")


@pytest.mark.parametrize("missing", ["x.crt", "x.key"])
def test_half_of_it_is_refused(tmp_path: Path, missing: str) -> None:
    make(tmp_path)
    (tmp_path / "tls" / missing).unlink()
    with pytest.raises(ConfigurationError, match="one of them is missing"):
        make(tmp_path)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").touch()
    with pytest.raises(ConfigurationError, match="can't be kept"):
        make(tmp_path)
