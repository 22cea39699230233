from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from postroad.cli import verify
from postroad.evidence.asic import encode_container
from support.signing import NOW, REFERENCE, Bench

if TYPE_CHECKING:
    from pathlib import Path

ASIC = REFERENCE / "asic"
CONF = REFERENCE / "globalconf" / "stored" / "globalconf_good2_v3"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(verify.command, [str(argument) for argument in arguments])


def test_reports_who_signed_what_and_when() -> None:
    result = run(ASIC / "valid-signed-message.asice", "--conf", CONF)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith("✔ VALID ")
    for line in (
        "Message SOAP request dd19fe68-7d37-41bd-b79c-8948ccdb36da",
        "Client DEV/COM/4321/TestClient",
        "Service DEV/COM/1234/TestService/getRandom/v1",
        "Signed by DEV/COM/4321, for DEV/COM/4321/TestClient",
        "Issued by CN=Test CA,O=Test",
        "Signature SHA512withRSA, digest SHA-512, signature of this message",
        "Signed at 2024-12-05 13:16:11 UTC (the signer's claim)",
        "OCSP good, produced 2024-12-05 13:13:26 UTC by CN=Test OCSP,O=Test",
        "Time-stamp 2024-12-05 13:16:35 UTC by CN=Test TSA,O=Test, for this signature",
        "Gap from OCSP to time-stamp: 3.1 min; from signing: 23.3 s",
    ):
        assert line in lines


def test_reports_warnings_beside_the_verdict() -> None:
    result = run(ASIC / "invalid-not-signed-hashchain.asice", "--conf", CONF)
    assert result.exit_code == 0
    assert "✔ VALID, with warnings" in result.stdout
    assert "a hash chain that is not signed" in result.stdout


def test_reports_why_a_container_is_invalid() -> None:
    result = run(ASIC / "wrong-message.asice", "--conf", CONF)
    assert result.exit_code == 1
    assert "✘ INVALID" in result.stdout
    assert "invalid_signature_value" in result.stdout
    assert "without proof" in result.stdout


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("structure-not-asic", "asic_mime_type_not_found"),
        ("structure-no-mimetype", "asic_mime_type_not_found"),
        ("structure-no-message", "asic_message_not_found"),
        ("structure-no-signature", "asic_signature_not_found"),
    ],
)
def test_broken_containers_are_invalid_and_named_by_code(name: str, code: str) -> None:
    result = run(ASIC / f"{name}.asice", "--conf", CONF)
    assert result.exit_code == 1
    assert code in result.stdout


def test_says_nothing_of_a_message_that_cannot_be_read(tmp_path: Path) -> None:
    bench = Bench.create()
    file = tmp_path / "x.asice"
    file.write_bytes(encode_container(bench.container(message=b"<x/>"), NOW))
    verdict = verify.judge(file, bench.globalconf)
    assert verdict.word == "invalid"
    assert verdict.claimed is None


def test_counts_many_files_and_any_invalid_one_decides() -> None:
    files = [ASIC / "valid-batch-ts.asice", ASIC / "invalid-digest.asice", ASIC / "absent.asice"]
    result = run(*files, "--conf", CONF)
    assert result.exit_code == 1
    assert "3 files: 1 valid, 1 invalid, 1 not judged" in result.stdout


def test_missing_file_cannot_be_judged() -> None:
    result = run(ASIC / "absent.asice", ASIC / "valid-batch-ts.asice", "--conf", CONF)
    assert result.exit_code == 2
    assert "? NOT JUDGED" in result.stdout


def test_file_that_is_too_large_cannot_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_CONTAINER_BYTES", 100)
    result = run(ASIC / "valid-batch-ts.asice", "--conf", CONF)
    assert result.exit_code == 2
    assert "larger than" in result.stdout


@pytest.mark.parametrize("conf", ["absent", "globalconf_empty", "globalconf_missing_identifier"])
def test_unreadable_configuration_cannot_judge(conf: str) -> None:
    result = run(ASIC / "valid-batch-ts.asice", "--conf", CONF.parent / conf)
    assert result.exit_code == 2
    assert "cannot read the global configuration" in result.stderr
    assert result.stdout == ""


def test_configuration_may_be_wrapped(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "verificationconf")
    assert run(ASIC / "valid-batch-ts.asice", "--conf", tmp_path).exit_code == 0


def test_tells_of_broken_parts_of_the_configuration(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf" / "BAD").mkdir()
    (tmp_path / "conf" / "BAD" / "shared-params.xml").write_text("<broken")
    result = run(ASIC / "valid-batch-ts.asice", "--conf", tmp_path / "conf")
    assert result.exit_code == 0
    assert "BAD/shared-params.xml" in result.stderr


def test_json_holds_the_whole_report() -> None:
    files = [ASIC / "valid-non-batch-rest.asice", ASIC / "wrong-message.asice", ASIC / "absent"]
    result = run(*files, "--conf", CONF, "--json")
    assert result.exit_code == 1
    valid, invalid, unknown = json.loads(result.stdout)["results"]
    assert [entry["verdict"] for entry in (valid, invalid, unknown)] == [
        "valid",
        "invalid",
        "unknown",
    ]
    assert valid["message"]["direction"] == "response"
    assert valid["message"]["query_id"] == "DEV-d75ea6fd-d24b-48ec-a320-53675c40fb86"
    assert valid["signature"]["member"] == "DEV/COM/1234"
    assert valid["signature"]["certificate"]["serial"] == "2"
    assert valid["ocsp"]["produced_at"] == "2024-07-11T12:48:18Z"
    assert valid["timestamp"]["time"] == "2024-07-11T12:51:12Z"
    assert valid["gaps"]["ocsp_to_timestamp_seconds"] == 174.0
    assert valid["attachments"][0]["verified"] is True
    assert valid["warnings"] == []
    assert invalid["error"]["code"] == "invalid_signature_value"
    assert invalid["claimed_message"]["client"] == "DEV/COM/4321/TestClient"
    assert "cannot read the file" in unknown["problem"]


def test_extracts_valid_containers_only(tmp_path: Path) -> None:
    files = [ASIC / "valid-non-batch-rest.asice", ASIC / "wrong-message.asice"]
    result = run(*files, "--conf", CONF, "--extract", tmp_path / "out")
    assert result.exit_code == 1
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == "valid-non-batch-rest"
    assert sorted(path.name for path in folder.iterdir()) == [
        "attachment1",
        "message.xml",
        "signatures.xml",
        "timestamp.tst",
        "timestamped-data",
    ]
    assert (folder / "message.xml").read_bytes().startswith(b"200\r\nOK\r\n")
    assert (folder / "message.xml").stat().st_mode & 0o777 == 0o600


def test_extraction_overwrites_nothing(tmp_path: Path) -> None:
    arguments = (ASIC / "valid-batch-ts.asice", "--conf", CONF, "--extract", tmp_path)
    assert run(*arguments).exit_code == 0
    (tmp_path / "valid-batch-ts" / "message.xml").write_text("mine")
    result = run(*arguments)
    assert result.exit_code == 2
    assert "cannot be extracted" in result.stdout
    assert (tmp_path / "valid-batch-ts" / "message.xml").read_text() == "mine"


@pytest.mark.parametrize("name", ["...asice", "..", ".asice"])
def test_extraction_stays_below_its_directory(tmp_path: Path, name: str) -> None:
    below = tmp_path / "below"
    source = ASIC / "valid-batch-ts.asice"
    file = tmp_path / "in" / (name if name != ".." else "x")
    file.parent.mkdir()
    shutil.copy(source, file)
    configuration = verify.load_configuration(CONF)
    assert verify.judge(file, configuration, below).word == "valid"
    (folder,) = below.iterdir()
    assert folder.parent == below
    assert (folder / "message.xml").is_file()


def test_shows_progress_to_a_person_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    files = [Path("a"), Path("b")]
    assert verify._shown(files) is files
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(verify._shown(files)) == files


def test_needs_a_configuration_and_a_file() -> None:
    assert run(ASIC / "valid-batch-ts.asice").exit_code == 2
    assert run("--conf", CONF).exit_code == 2
