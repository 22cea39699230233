from __future__ import annotations

from pathlib import Path

import pytest

from postroad.adapters.openpgp import OpenPgpSecret, find_certificate, load_certificates
from postroad.errors import ConfigurationError, FaultCode


@pytest.fixture(scope="module")
def ours() -> OpenPgpSecret:
    return OpenPgpSecret.generate("ours")


@pytest.fixture(scope="module")
def theirs() -> OpenPgpSecret:
    return OpenPgpSecret.generate("theirs")


def test_the_recipient_reads_it_and_knows_who_signed(
    ours: OpenPgpSecret, theirs: OpenPgpSecret
) -> None:
    sealed = ours.seal(b"archive", [theirs.certificate])
    assert b"archive" not in sealed
    assert theirs.open(sealed, [ours.certificate]) == b"archive"


def test_nobody_else_reads_it(ours: OpenPgpSecret, theirs: OpenPgpSecret) -> None:
    sealed = ours.seal(b"archive", [theirs.certificate])
    with pytest.raises(ConfigurationError, match="can't be decrypted"):
        ours.open(sealed, [ours.certificate])


def test_another_signer_is_not_believed(ours: OpenPgpSecret, theirs: OpenPgpSecret) -> None:
    sealed = theirs.seal(b"archive", [theirs.certificate])
    with pytest.raises(ConfigurationError):
        theirs.open(sealed, [ours.certificate])


def test_a_changed_or_cut_message_is_refused(ours: OpenPgpSecret) -> None:
    sealed = ours.seal(bytes(50_000), [ours.certificate])
    for broken in (sealed[:-1], sealed[:-40] + b"x" + sealed[-39:], b"", b"rubbish"):
        with pytest.raises(ConfigurationError) as caught:
            ours.open(broken, [ours.certificate])
        assert "\n" not in caught.value.message  # no stack traces of the library


def test_somebody_must_be_able_to_read_it(ours: OpenPgpSecret) -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        ours.seal(b"x", [])


def test_a_secret_key_is_private(ours: OpenPgpSecret, tmp_path: Path) -> None:
    path = tmp_path / "own.key"
    ours.store(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert OpenPgpSecret.load(path).certificate.fingerprint == ours.certificate.fingerprint
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        OpenPgpSecret.load(path)


def test_a_file_without_a_secret_key_is_refused(ours: OpenPgpSecret, tmp_path: Path) -> None:
    path = tmp_path / "own.key"
    path.write_text(str(ours.certificate))
    path.chmod(0o600)
    with pytest.raises(ConfigurationError):
        OpenPgpSecret.load(path)
    with pytest.raises(ConfigurationError) as caught:
        OpenPgpSecret.load(tmp_path / "none")
    assert caught.value.code is FaultCode.KEY_NOT_FOUND


def test_keys_are_found_by_fingerprint_or_long_id(ours: OpenPgpSecret, tmp_path: Path) -> None:
    (tmp_path / "ring.asc").write_text(str(ours.certificate))
    ring = load_certificates(tmp_path / "ring.asc")
    fingerprint = ours.certificate.fingerprint
    for key_id in (fingerprint, fingerprint.lower(), fingerprint[-16:], "0x" + fingerprint[-16:]):
        assert find_certificate(ring, key_id).fingerprint == fingerprint
    with pytest.raises(ConfigurationError, match="too short"):
        find_certificate(ring, fingerprint[-8:])
    with pytest.raises(ConfigurationError) as caught:
        find_certificate(ring, "0" * 16)
    assert caught.value.code is FaultCode.KEY_NOT_FOUND


def test_rubbish_is_no_ring(tmp_path: Path) -> None:
    (tmp_path / "ring.asc").write_text("rubbish")
    with pytest.raises(ConfigurationError):
        load_certificates(tmp_path / "ring.asc")
