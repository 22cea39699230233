"""Judges that aren't us: signxml, xmlsec and openssl on our signatures, containers, time-stamps."""

from __future__ import annotations

import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
import xmlsec
from lxml import etree
from signxml.exceptions import InvalidDigest
from signxml.verifier import SignatureConfiguration, XMLVerifier
from signxml.xades.xades import XAdESSignatureConfiguration, XAdESVerifier

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.evidence.asic import encode_container, parse_container
from postroad.evidence.container_verification import stamped_data, verify_container
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, MESSAGE_PART
from postroad.evidence.xades_parsing import parse_signature
from postroad.trustlab.authority import KeyKind
from support.signing import NOW, REFERENCE, Bench, message_parts, reference_configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroad.evidence.asic import AsicContainer
    from postroad.globalconf.view import GlobalConfiguration

MESSAGE = b"<message>the octets that are signed</message>"
DIGESTS = [DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512]
EXPECTED = SignatureConfiguration(location=".//", expect_references=2)


@pytest.fixture(scope="module", params=[KeyKind.RSA_2048, KeyKind.EC_P256], ids=["RSA", "EC"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench.create(request.param)


# --- signxml -------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.label)
@pytest.mark.parametrize("batch", [False, True], ids=["plain", "batch"])
def test_signxml_accepts_our_signatures(
    bench: Bench, digest: DigestAlgorithm, *, batch: bool
) -> None:
    document = bench.sign(message_parts(MESSAGE, [b"body"] if batch else []), digest=digest)
    parts = {MESSAGE_PART: MESSAGE, HASH_CHAIN_RESULT_PART: document.hash_chain_result}
    results = XMLVerifier().verify(
        etree.fromstring(document.signature),
        x509_cert=bench.identity.certificate.pem.decode(),
        uri_resolver=parts.__getitem__,
        validate_schema=True,
        expect_config=EXPECTED,
    )
    assert isinstance(results, list)
    assert len(results) == 2


def test_signxml_accepts_our_properties_and_their_schema(bench: Bench) -> None:
    document = bench.sign(message_parts(MESSAGE)).signature
    results = XAdESVerifier().verify(
        etree.fromstring(document),
        x509_cert=bench.identity.certificate.pem.decode(),
        uri_resolver=lambda _uri: MESSAGE,
        expect_config=XAdESSignatureConfiguration(location=".//", expect_references=2),
        expect_signature_policy=None,
    )
    assert isinstance(results, list)
    assert len(results) == 2


def test_signxml_refuses_our_signature_over_another_message(bench: Bench) -> None:
    document = bench.sign(message_parts(MESSAGE)).signature
    with pytest.raises(InvalidDigest):
        XMLVerifier().verify(
            etree.fromstring(document),
            x509_cert=bench.identity.certificate.pem.decode(),
            uri_resolver=lambda _uri: b"other",
            expect_config=EXPECTED,
        )


# --- xmlsec --------------------------------------------------------------------------------------


@pytest.fixture
def published() -> Iterator[dict[str, bytes]]:
    """Let xmlsec find external references in a dictionary instead of on the disk."""
    parts: dict[str, bytes] = {}
    xmlsec.cleanup_callbacks()
    xmlsec.register_callbacks(
        lambda uri: uri.decode() in parts,
        lambda uri: [parts[uri.decode()]],
        _read,
        lambda _handle: None,
    )
    yield parts
    xmlsec.cleanup_callbacks()
    xmlsec.register_default_callbacks()


def _read(handle: list[bytes], buffer: memoryview) -> int:
    size = min(len(buffer), len(handle[0]))
    buffer[:size] = handle[0][:size]
    handle[0] = handle[0][size:]
    return size


def verify_with_xmlsec(document: bytes, certificate_pem: bytes) -> None:
    root = etree.fromstring(document)
    signature = root if root.tag.endswith("}Signature") else root[0]
    for element in root.iter():
        if element.get("Id"):
            xmlsec.tree.add_ids(element, ["Id"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(certificate_pem, xmlsec.constants.KeyDataFormatCertPem)
    context.verify(signature)


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.label)
def test_xmlsec_accepts_our_signatures_and_refuses_another_message(
    bench: Bench, digest: DigestAlgorithm, published: dict[str, bytes]
) -> None:
    document = bench.sign(message_parts(MESSAGE), digest=digest).signature
    published[MESSAGE_PART] = MESSAGE
    verify_with_xmlsec(document, bench.identity.certificate.pem)
    published[MESSAGE_PART] = MESSAGE + b" "
    with pytest.raises(xmlsec.Error):
        verify_with_xmlsec(document, bench.identity.certificate.pem)


@pytest.mark.parametrize(
    "name", ["valid-batch-ts", "valid-non-batch-rest", "valid-signed-hashchain"]
)
def test_xmlsec_and_we_agree_on_the_signatures_of_the_reference(
    name: str, published: dict[str, bytes]
) -> None:
    container = parse_container((REFERENCE / "asic" / f"{name}.asice").read_bytes())
    published[MESSAGE_PART] = container.message
    published[HASH_CHAIN_RESULT_PART] = container.hash_chain_result or b""
    for attachment in container.attachments:
        published[f"/{attachment.name}"] = attachment.data
    verify_container(container, reference_configuration("globalconf_good2_v3"))
    certificate = parse_signature(container.signatures).certificate
    verify_with_xmlsec(container.signatures, certificate.pem)


# --- openssl and unzip ---------------------------------------------------------------------------


def openssl_ts(folder: Path, token: bytes, data: bytes, *certificates: bytes) -> str:
    (folder / "token").write_bytes(token)
    (folder / "data").write_bytes(data)
    (folder / "trusted.pem").write_bytes(b"".join(certificates))
    command = [
        "openssl",
        "ts",
        "-verify",
        "-token_in",
        "-in",
        "token",
        "-data",
        "data",
        "-CAfile",
        "trusted.pem",
    ]
    command += ["-untrusted", "trusted.pem", "-partial_chain"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def stamped_by_us() -> tuple[AsicContainer, GlobalConfiguration, tuple[bytes, ...]]:
    bench = Bench.create(KeyKind.RSA_2048)
    trusted = (*bench.lab.ca_certificates, bench.lab.tsa_certificate)
    container = bench.container(attachments=[b"body"], batch_timestamp=True)
    return container, bench.globalconf, tuple(certificate.pem for certificate in trusted)


def stamped_by_the_reference() -> tuple[AsicContainer, GlobalConfiguration, tuple[bytes, ...]]:
    globalconf = reference_configuration("globalconf_good2_v3")
    container = parse_container((REFERENCE / "asic" / "valid-batch-ts.asice").read_bytes())
    trusted = (*globalconf.ca_certificates(), *globalconf.tsa_certificates())
    return container, globalconf, tuple(certificate.pem for certificate in trusted)


@pytest.mark.parametrize("source", [stamped_by_us, stamped_by_the_reference])
def test_openssl_and_we_agree_on_time_stamps(
    source: Callable[[], tuple[AsicContainer, GlobalConfiguration, tuple[bytes, ...]]],
    tmp_path: Path,
) -> None:
    container, globalconf, trusted = source()
    token = verify_container(container, globalconf).timestamp_token
    data = stamped_data(container, parse_signature(container.signatures))
    assert "Verification: OK" in openssl_ts(tmp_path, token, data, *trusted)
    assert "Verification: FAILED" in openssl_ts(tmp_path, token, data + b" ", *trusted)


def test_unzip_finds_nothing_wrong_with_our_containers(bench: Bench, tmp_path: Path) -> None:
    container = bench.container(attachments=[b"body"], batch=True, batch_timestamp=True)
    path = tmp_path / "x.asice"
    path.write_bytes(encode_container(container, NOW))
    assert subprocess.run(["unzip", "-tq", path], check=True, capture_output=True).stdout
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
