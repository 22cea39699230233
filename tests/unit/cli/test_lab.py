"""Rules of ``postroad lab``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.cli.lab import command
from postroad.crypto.certificates import Certificate
from postroad.crypto.names import build_name
from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import ConfigurationError
from postroad.trustlab.faults import ServiceFaults
from postroad.trustlab.home import LabHome
from postroad.trustlab.issuing import KeyKind


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def home(tmp_path: Path) -> LabHome:
    path = tmp_path / "lab"
    assert run("init", "--home", path, "--keys", "ec", "--name", "Trial").exit_code == 0
    return LabHome(path)


def request_file(directory: Path, name: str) -> Path:
    builder = x509.CertificateSigningRequestBuilder().subject_name(build_name([("CN", "x")]))
    signed = builder.sign(KeyKind.EC_P256.generate(), hashes.SHA256())
    path = directory / name
    path.write_bytes(signed.public_bytes(Encoding.PEM))
    return path


def test_init_makes_a_lab_and_says_where_its_certificates_are(tmp_path: Path) -> None:
    path = tmp_path / "lab"
    result = run("init", "--home", path, "--keys", "ec", "--root-only", "--profile", "ejbca")
    lab = LabHome(path).load()
    assert lab.profile.endswith("EjbcaCertificateProfileInfoProvider")
    assert lab.ca_certificates == (lab.root.certificate,)
    for name in ("root-ca", "ca", "ocsp", "tsa"):
        assert str(path / "certs" / f"{name}.pem") in result.output
    with pytest.raises(ConfigurationError, match="already"):
        run("init", "--home", path)


def test_name_stands_in_the_certificates(home: LabHome) -> None:
    assert home.load().root.certificate.subject_rfc2253 == "CN=Trial Root CA,O=Trial"


@pytest.mark.parametrize(
    ("name", "usage", "signing"),
    [
        ("sign_csr.pem", "auto", True),
        ("other.pem", "auto", False),
        ("other.pem", "sign", True),
        ("sign.pem", "auth", False),
    ],
)
def test_sign_prints_a_certificate_of_the_usage(
    home: LabHome, tmp_path: Path, name: str, usage: str, *, signing: bool
) -> None:
    result = run("sign", request_file(tmp_path, name), "--home", home.path, "--type", usage)
    certificate = Certificate.from_pem_or_der(result.output.encode())
    assert certificate.is_signing() is signing
    assert home.load().status_of(certificate.serial) is CertificateStatus.GOOD


def test_sign_writes_to_a_file_and_revoke_ends_it(home: LabHome, tmp_path: Path) -> None:
    out = tmp_path / "out.pem"
    run("sign", request_file(tmp_path, "a.csr"), "--home", home.path, "--out", out)
    serial = Certificate.from_pem_or_der(out.read_bytes()).serial
    assert run("revoke", f"{serial:x}", "--home", home.path).output == f"Revoked {serial:x}\n"
    assert home.load().status_of(serial) is CertificateStatus.REVOKED
    listed = run("list", "--home", home.path).output
    assert f"revoked  {serial:x}  CN=x" in listed
    assert "good" in listed


def test_faults_are_shown_set_and_ended(home: LabHome) -> None:
    run("faults", "--home", home.path, "--service", "tsa", "--stop", "--time-shift", "-60")
    run("faults", "--home", home.path, "--service", "ocsp", "--status", "unknown", "--delay", "2")
    plan = home.load_faults()
    assert plan.tsa == ServiceFaults(stopped=True, time_shift=-60)
    assert plan.ocsp == ServiceFaults(status="unknown", delay=2.0)
    assert '"stopped": true' in run("faults", "--home", home.path).output
    run("faults", "--home", home.path, "--service", "tsa", "--broken")
    assert home.load_faults().tsa == ServiceFaults(broken=True)
    run("faults", "--home", home.path, "--reset")
    assert home.load_faults().tsa == home.load_faults().ocsp == ServiceFaults()


def test_faults_of_no_lab_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no trust lab"):
        run("faults", "--home", tmp_path, "--reset")


def test_run_refuses_an_address_it_cannot_listen_on(home: LabHome) -> None:
    with pytest.raises(ConfigurationError, match="cannot listen"):
        run("run", "--home", home.path, "--host", "192.0.2.1", "--port", "1")
