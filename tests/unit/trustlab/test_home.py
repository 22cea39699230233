"""Rules of a lab's directory."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from postroad.crypto.ocsp import CertificateStatus
from postroad.crypto.profiles import CertificateProfile
from postroad.errors import ConfigurationError
from postroad.identifiers import MemberId
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.faults import FaultPlan, ServiceFaults
from postroad.trustlab.home import LabHome, parse_serial
from postroad.trustlab.issuing import KeyKind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def made(path: Path, **how: object) -> tuple[LabHome, TrustLab]:
    lab = TrustLab.create(at=NOW, **how)  # passed on
    home = LabHome(path / "lab")
    home.store(lab)
    return home, lab


@pytest.mark.parametrize("keys", [KeyKind.EC_P256, KeyKind.RSA_2048])
@pytest.mark.parametrize("intermediate", [True, False])
def test_a_stored_lab_comes_back(tmp_path: Path, keys: KeyKind, *, intermediate: bool) -> None:
    home, lab = made(
        tmp_path, keys=keys, intermediate=intermediate, profile=CertificateProfile.EJBCA
    )
    loaded = home.load()
    assert loaded.service_certificates == lab.service_certificates
    assert loaded.ca_certificates == lab.ca_certificates
    assert (loaded.profile, loaded.keys, loaded.at) == (lab.profile, keys, NOW)
    assert loaded.issued == lab.issued
    issued = loaded.sign_certificate(MemberId("DEV", "GOV", "1"))
    assert issued.certificate.issuer_key == lab.ca_certificate.subject_key


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    home, _ = made(tmp_path)
    keys = list((home.path / "private").iterdir())
    assert len(keys) == 5
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE((home.path / "private").stat().st_mode) == 0o700


def test_a_lab_is_never_overwritten(tmp_path: Path) -> None:
    home, lab = made(tmp_path)
    with pytest.raises(ConfigurationError, match="already"):
        home.store(lab)


def test_register_follows_from_line_to_line(tmp_path: Path) -> None:
    home, lab = made(tmp_path)
    size = home.register_size()
    certificate = lab.sign_certificate(MemberId("DEV", "GOV", "1")).certificate
    home.record_issued(certificate, at=NOW)
    assert home.register_size() > size
    assert home.load().status_of(certificate.serial) is CertificateStatus.GOOD
    home.record_revoked(certificate.serial, at=NOW)
    loaded = home.load()
    assert loaded.status_of(certificate.serial) is CertificateStatus.REVOKED
    assert loaded.revoked == {certificate.serial: NOW}


def test_fault_plan_is_kept(tmp_path: Path) -> None:
    home, _ = made(tmp_path)
    assert home.load_faults() == FaultPlan()
    plan = FaultPlan(tsa=ServiceFaults(stopped=True))
    home.store_faults(plan)
    assert home.load_faults() == plan


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lab.json", b"{}"),
        ("lab.json", b"{"),
        ("register.jsonl", b"junk\n"),
        ("private/ca.key", b"junk"),
        ("certs/tsa.pem", b"junk"),
    ],
)
def test_a_damaged_lab_is_a_fault_of_the_configuration(
    tmp_path: Path, name: str, content: bytes
) -> None:
    home, _ = made(tmp_path)
    (home.path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match="no trust lab can be read"):
        home.load()


def test_a_key_of_another_kind_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    home, _ = made(tmp_path)
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (home.path / "private" / "tsa.key").write_bytes(pem)
    with pytest.raises(ConfigurationError, match="neither RSA nor EC"):
        home.load()


def test_no_lab_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    home = LabHome(tmp_path)
    assert not home.exists
    with pytest.raises(ConfigurationError):
        home.load()


def test_serials_are_hexadecimal_with_or_without_colons() -> None:
    assert parse_serial("0A:ff") == parse_serial("aff") == 0xAFF
    with pytest.raises(ConfigurationError):
        parse_serial("xyz")
