"""Moving from the reference: its key configuration and its software token's key stores."""

from __future__ import annotations

import base64
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from postroad.adapters.signer_protocol import CertificateStatus, KeyUsage
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.identifiers import MemberId, SecurityServerId
from postroad.signer.keyconf import ConfiguredDevice, parse_keyconf
from postroad.signer.keyconf_import import import_keyconf
from postroad.signer.keyring import Keyring
from postroad.signer.tokens import public_key_der
from postroad.trustlab.authority import Identity, KeyKind, TrustLab

REFERENCE = Path(__file__).parents[2] / "data/reference/keyconf/signer"
MERGING = REFERENCE / "mergetesting"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MEMBER = MemberId("TEST", "GOV", "1")
SERVER = SecurityServerId("TEST", "GOV", "1", "SS1")
PIN = "canary-pin-4711"
LAB = TrustLab.create(at=NOW)
SIGN_ID, AUTH_ID = "0A" * 20, "0B" * 20


def vector(name: str) -> tuple[ConfiguredDevice, ...]:
    return parse_keyconf((MERGING / f"keyconf_{name}.xml").read_bytes())


def certificates(devices: tuple[ConfiguredDevice, ...]) -> int:
    return sum(len(key.certificates) for device in devices for key in device.keys)


def test_reads_what_the_references_tests_read() -> None:
    """TokenManagerMergeTest: the added key, and the added certificate, are one more each."""
    base, added_key, added_cert = vector("base_no_duplicate_keyIds"), *map(vector, ADDED)
    assert [(device.kind, device.id) for device in base] == [
        ("softToken", "1"),
        ("hsm_ncipher", "2"),
    ]
    assert certificates(added_key) == certificates(base) + 1
    assert len(added_key[0].keys) == len(base[0].keys) + 1
    assert certificates(added_cert) == certificates(base) + 1
    by_id = {key.id: key for key in added_cert[0].keys}
    assert len(by_id["70726F6475636572"].certificates) == 2


ADDED = ("added_key", "added_cert")


def test_defaults_are_those_of_the_schema() -> None:
    base = vector("base_no_duplicate_keyIds")
    first = base[0].keys[0].certificates[0]
    assert first.active  # absent means true
    assert first.status is CertificateStatus.REGISTERED
    assert str(first.member) == "EE/BUSINESS/producer"
    without_status = base[0].keys[2].certificates[0]
    assert without_status.status is CertificateStatus.SAVED  # not used before somebody looks


def test_refuses_the_form_that_the_reference_reads_no_more() -> None:
    with pytest.raises(MalformedInput, match="deviceConf"):
        parse_keyconf((REFERENCE / "deviceconf.xml").read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        (b"<status>registered</status>", b"<status>trusted</status>"),
        (b'usage="SIGNING"', b'usage="BOTH"'),
        (b"<contents>", b"<contents>*"),
        (b"<id:memberCode>", b"<id:memberCodes>"),
    ],
)
def test_refuses_a_damaged_file(damage: tuple[bytes, bytes]) -> None:
    data = (MERGING / "keyconf_base_no_duplicate_keyIds.xml").read_bytes()
    with pytest.raises(MalformedInput):
        parse_keyconf(data.replace(*damage))


def test_the_references_key_stores_open_with_their_pin_and_no_other(tmp_path: Path) -> None:
    source = tmp_path / "etc"
    source.mkdir()
    for path in REFERENCE.glob("*.p12"):
        shutil.copy(path, source)
    shutil.copy(MERGING / "keyconf_base_no_duplicate_keyIds.xml", source / "keyconf.xml")
    with pytest.raises(ConfigurationError) as caught:
        import_keyconf(source, tmp_path / "signer", "wrong")
    assert caught.value.code is FaultCode.PIN_INCORRECT
    assert not (tmp_path / "signer").exists()
    report = import_keyconf(source, tmp_path / "signer", "test")
    keyring = Keyring(tmp_path / "signer", tmp_path)
    keyring.login("test")
    stores = {path.stem for path in REFERENCE.glob("*.p12")}
    assert keyring.info().available_keys == stores
    for key_id in stores:
        assert len(keyring.sign(key_id, "SHA-256", bytes(32))) == 256
    assert any("hsm" not in line and "no 70726F6475636572.p12" in line for line in report.left)
    assert (tmp_path / "signer/devices/hsm_ncipher/2/token.json").exists()


def key_element(identity: Identity, key_id: str, usage: str, member: str) -> str:
    der = base64.b64encode(identity.certificate.der).decode()
    public = base64.b64encode(public_key_der(identity.private_key.public_key())).decode()
    return f"""<key usage="{usage}"><friendlyName>{usage}</friendlyName><label>l</label>
      <keyId>{key_id}</keyId><publicKey>{public}</publicKey>
      <certRequest id="r">{member}<subjectName>C=TEST, O=GOV, CN=1</subjectName>
        <subjectAlternativeName>ss1</subjectAlternativeName>
        <certificateProfile>x.EjbcaCertificateProfileInfoProvider</certificateProfile>
      </certRequest>
      <cert id="c" active="true">{member}<contents>{der}</contents><status>registered</status>
        <nextRenewalTime>2026-05-01T00:00:00Z</nextRenewalTime>
        <renewedCertHash>ABCD</renewedCertHash></cert></key>"""


MEMBER_XML = """<memberId xmlns:id="http://x-road.eu/xsd/identifiers" id:objectType="MEMBER">
  <id:xRoadInstance>TEST</id:xRoadInstance><id:memberClass>GOV</id:memberClass>
  <id:memberCode>1</id:memberCode></memberId>"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A signer's directory as the reference writes it."""
    sign = LAB.sign_certificate(MEMBER, keys=KeyKind.RSA_2048)
    auth = LAB.auth_certificate(SERVER)
    source = tmp_path / "etc"
    (source / "softtoken").mkdir(parents=True)
    for name, key in (
        (SIGN_ID, sign.private_key),
        (AUTH_ID, auth.private_key),
        (".softtoken", sign.private_key),
    ):
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        encryption = BestAvailableEncryption(PIN.encode())
        data = pkcs12.serialize_key_and_certificates(b"k", key, None, None, encryption)
        (source / "softtoken" / f"{name}.p12").write_bytes(data)
    (source / "keyconf.xml").write_text(
        '<ns:keyConf xmlns:ns="http://x-road.eu/xsd/xroad.xsd"><device>'
        "<deviceType>softToken</deviceType><friendlyName>our box</friendlyName><id>0</id>"
        + key_element(sign, SIGN_ID, "SIGNING", MEMBER_XML)
        + key_element(auth, AUTH_ID, "AUTHENTICATION", "")
        + "</device></ns:keyConf>"
    )
    return source


def test_a_whole_server_moves_with_keys_certificates_and_requests(
    source: Path, tmp_path: Path
) -> None:
    report = import_keyconf(source, tmp_path / "signer", PIN)
    assert (report.keys, report.certificates, report.requests, report.left) == (2, 2, 2, [])
    keyring = Keyring(tmp_path / "signer", tmp_path)
    assert keyring.record.friendly_name == "our box"
    keyring.login(PIN)
    assert keyring.info().available_keys == {SIGN_ID, AUTH_ID}
    sign, auth = keyring.record.keys
    assert (sign.usage, auth.usage) == (KeyUsage.SIGNING, KeyUsage.AUTHENTICATION)
    assert sign.certificates[0].member == "TEST/GOV/1"
    assert sign.certificates[0].renewed_by == "ABCD"
    assert sign.certificates[0].next_renewal == "2026-05-01T00:00:00Z"
    assert sign.requests[0].subject == (("C", "TEST"), ("O", "GOV"), ("CN", "1"))
    assert keyring.remake_request(auth.id, auth.requests[0].id)
    assert keyring.sign(SIGN_ID, "SHA-512", DigestAlgorithm.SHA512.digest(b"x"))
    lent = keyring.lend_authentication_key(NOW + timedelta(hours=1))
    assert lent.certificate_der == auth.certificates[0].der


def test_nothing_of_the_new_token_can_be_read_without_the_pin(source: Path, tmp_path: Path) -> None:
    import_keyconf(source, tmp_path / "signer", PIN)
    for path in (tmp_path / "signer").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        if path.is_file():
            assert PIN.encode() not in path.read_bytes()


def test_a_server_with_keys_takes_no_others_over(source: Path, tmp_path: Path) -> None:
    import_keyconf(source, tmp_path / "signer", PIN)
    with pytest.raises(ConfigurationError, match="has keys already"):
        import_keyconf(source, tmp_path / "signer", PIN)


def test_certificate_of_another_key_is_left_behind(source: Path, tmp_path: Path) -> None:
    path = source / "keyconf.xml"
    stranger = base64.b64encode(LAB.sign_certificate(MEMBER).certificate.der).decode()
    text = path.read_text()
    start = text.index("<contents>") + len("<contents>")
    path.write_text(text[:start] + stranger + text[text.index("</contents>") :])
    report = import_keyconf(source, tmp_path / "signer", PIN)
    assert report.certificates == 1
    assert any("for another key" in line for line in report.left)


def test_key_store_with_an_odd_name_stops_before_anything_is_written(
    source: Path, tmp_path: Path
) -> None:
    store = source / "softtoken" / f"{SIGN_ID}.p12"
    store.rename(store.with_name("..evil.p12"))
    with pytest.raises(ConfigurationError, match="not named by a key"):
        import_keyconf(source, tmp_path / "signer", PIN)
    assert not (tmp_path / "signer").exists()
