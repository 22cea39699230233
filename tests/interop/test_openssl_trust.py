"""OpenSSL as the judge of our certificates, OCSP responses and time-stamps, and we as judge of its.

Each case has its counterpart: one changed byte, and the judge must refuse.
"""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.adapters.system_clock import SystemClock
from postroad.crypto import ocsp, timestamps
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.crypto.ocsp import CertificateStatus, OcspPolicy, OcspResponse, verify_ocsp
from postroad.identifiers import MemberId, SecurityServerId
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import Identity, KeyKind

CLOCK = SystemClock()  # OpenSSL judges by it
NOW = CLOCK.now()
MEMBER = MemberId("DEV", "GOV", "1")
SERVER = SecurityServerId("DEV", "GOV", "1", "ss1")
KEYS = [KeyKind.EC_P256, KeyKind.RSA_2048]
SHA512 = DigestAlgorithm.SHA512
DATA = b"what existed"


def openssl(*arguments: str | Path, expect: int = 0) -> str:
    result = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, timeout=60, check=False
    )
    text = (result.stdout + result.stderr).decode(errors="replace")
    assert result.returncode == expect, text
    return text


class Bench:
    """A lab and its certificates as files."""

    def __init__(self, path: Path, keys: KeyKind) -> None:
        self.path = path
        self.lab = TrustLab.create(at=NOW, keys=keys)
        self.root = self.file("root.pem", self.lab.root.certificate.pem)
        self.ca = self.file("ca.pem", self.lab.ca_certificate.pem)
        self.tsa = self.file("tsa.pem", self.lab.tsa_certificate.pem)

    def file(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.write_bytes(data)
        return path

    def key_file(self, name: str, identity: Identity) -> Path:
        from cryptography.hazmat.primitives import serialization

        data = identity.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self.file(name, data)


@pytest.fixture(params=KEYS, ids=lambda keys: keys.value)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, request.param)


def changed(data: bytes, at: int = -1) -> bytes:
    spoiled = bytearray(data)
    spoiled[at] ^= 1
    return bytes(spoiled)


# -- certificates


def test_openssl_verifies_the_certificates_of_a_lab(bench: Bench) -> None:
    issued = (bench.lab.sign_certificate(MEMBER), bench.lab.auth_certificate(SERVER), bench.lab.tsa)
    for identity in issued:
        leaf = bench.file("leaf.pem", identity.certificate.pem)
        chain = ("-x509_strict", "-CAfile", bench.root, "-untrusted", bench.ca)
        assert "OK" in openssl("verify", *chain, leaf)
        spoiled = Certificate.from_der(changed(identity.certificate.der))
        openssl("verify", *chain, bench.file("bad.pem", spoiled.pem), expect=2)


def test_we_verify_a_chain_that_openssl_made(tmp_path: Path) -> None:
    root_key, root = tmp_path / "root.key", tmp_path / "root.pem"
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-sha384")
    ca = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(
        "req", "-x509", *new_key, "-keyout", root_key, "-out", root, "-subj", "/O=Ö/CN=root", *ca
    )
    key, request, leaf = tmp_path / "a.key", tmp_path / "a.csr", tmp_path / "a.pem"
    openssl("req", "-new", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=leaf")
    issuer = ("-CA", root, "-CAkey", root_key, "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", request, *issuer, "-out", leaf)
    certificates = [Certificate.from_pem_or_der(path.read_bytes()) for path in (leaf, root)]
    at = CLOCK.now() + timedelta(seconds=1)
    assert verify_chain(certificates[0], certificates[1:], at=at) == tuple(certificates)


def test_openssl_and_we_name_subjects_alike(bench: Bench) -> None:
    for certificate in (bench.lab.ca_certificate, bench.lab.sign_certificate(MEMBER).certificate):
        path = bench.file("c.pem", certificate.pem)
        text = openssl("x509", "-in", path, "-noout", "-subject", "-nameopt", "RFC2253")
        short = text.removeprefix("subject=").strip()
        # OpenSSL writes out types that RFC 2253 doesn't list; the rest is the same text.
        ours = [part for part in certificate.subject_rfc2253.split(",") if "#" not in part]
        assert [part for part in short.split(",") if "serialNumber" not in part] == ours


# -- signatures


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_openssl_and_we_verify_each_other(bench: Bench, digest: str) -> None:
    signer = bench.lab.sign_certificate(MEMBER)
    label = DigestAlgorithm.by_name(f"SHA-{digest[3:]}")
    key = bench.key_file("key.pem", signer)
    data = bench.file("data", DATA)
    public = bench.path / "public.pem"
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    ours = bench.file("ours", signer.sign(DATA, digest=label, ecdsa_raw=False))
    assert "OK" in openssl("dgst", f"-{digest}", "-verify", public, "-signature", ours, data)
    theirs = bench.path / "theirs"
    openssl("dgst", f"-{digest}", "-sign", key, "-out", theirs, data)
    algorithm = SignatureAlgorithm.for_key(signer.certificate.public_key, label)
    verify_signature(
        signer.certificate.public_key, algorithm, theirs.read_bytes(), DATA, ecdsa_raw=False
    )


def test_pss_signatures_are_those_of_openssl(tmp_path: Path) -> None:
    bench = Bench(tmp_path, KeyKind.RSA_2048)
    signer = bench.lab.sign_certificate(MEMBER)
    key, data = bench.key_file("key.pem", signer), bench.file("data", DATA)
    theirs = tmp_path / "theirs"
    options = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
    openssl("dgst", "-sha256", *options, "-sign", key, "-out", theirs, data)
    verify_signature(
        signer.certificate.public_key,
        SignatureAlgorithm.RSA_PSS_SHA256,
        theirs.read_bytes(),
        DATA,
        ecdsa_raw=True,
    )


# -- OCSP


@pytest.mark.parametrize("status", CertificateStatus)
def test_openssl_believes_our_ocsp_responses(bench: Bench, status: CertificateStatus) -> None:
    certificate = bench.lab.sign_certificate(MEMBER).certificate
    leaf = bench.file("leaf.pem", certificate.pem)
    good = bench.lab.ocsp(certificate, at=CLOCK.now(), status=status)
    arguments = ("-issuer", bench.ca, "-cert", leaf, "-CAfile", bench.root, "-no_nonce")
    text = openssl("ocsp", *arguments, "-respin", bench.file("ocsp.der", good))
    assert "Response verify OK" in text
    assert f"leaf.pem: {status.value}" in text
    at = good.index(OcspResponse.parse(good).produced_at.strftime("%Y%m%d%H%M%SZ").encode())
    bad = bench.file("bad.der", changed(good, at + 3))
    assert "Response Verify Failure" in openssl("ocsp", *arguments, "-respin", bad, expect=1)


def test_openssl_reads_our_request_and_we_believe_its_responses(bench: Bench) -> None:
    certificate = bench.lab.sign_certificate(MEMBER).certificate
    request = bench.file("req.der", ocsp.build_request(certificate, bench.lab.ca_certificate))
    index = bench.file(
        "index.txt", f"V\t491231235959Z\t\t{certificate.serial:040X}\tunknown\t/CN=x\n".encode()
    )
    responder = bench.lab.issuing.ocsp_responder
    response = bench.path / "resp.der"
    openssl(
        *("ocsp", "-index", index, "-CA", bench.ca, "-reqin", request, "-respout", response),
        *("-rsigner", bench.file("ocsp.pem", responder.certificate.pem)),
        *("-rkey", bench.key_file("ocsp.key", responder), "-nmin", "5"),
    )
    verified = verify_ocsp(
        OcspResponse.parse(response.read_bytes()),
        certificate,
        bench.lab.ca_certificate,
        at=CLOCK.now(),
        policy=OcspPolicy(),
    )
    assert verified.status is CertificateStatus.GOOD
    assert verified.responder == responder.certificate
    assert verified.next_update is not None


def test_our_request_is_byte_for_byte_that_of_openssl(bench: Bench) -> None:
    certificate = bench.lab.sign_certificate(MEMBER).certificate
    leaf, out = bench.file("leaf.pem", certificate.pem), bench.path / "req.der"
    openssl("ocsp", "-issuer", bench.ca, "-cert", leaf, "-no_nonce", "-reqout", out)
    assert out.read_bytes() == ocsp.build_request(certificate, bench.lab.ca_certificate)


# -- time-stamps


@pytest.mark.parametrize("kind", [DigestAlgorithm.SHA1, DigestAlgorithm.SHA256])
def test_openssl_believes_our_time_stamps(bench: Bench, kind: DigestAlgorithm) -> None:
    from postroad.trustlab import responders

    token = responders.build_token(
        SHA512.digest(DATA),
        SHA512,
        tsa=bench.lab.tsa_certificate,
        sign=responders.signer(bench.lab.tsa.private_key),
        at=CLOCK.now(),
        serial=1,
        certificate_digest=kind,
    )
    data = bench.file("data", DATA)
    chain = ("-CAfile", bench.root, "-untrusted", bench.ca)
    for stored in (token, timestamps.with_certificate(token, bench.lab.tsa_certificate)):
        chain_and_tsa = bench.file("chain.pem", bench.ca.read_bytes() + bench.tsa.read_bytes())
        path = bench.file("token.der", stored)
        arguments = ("-token_in", "-CAfile", bench.root, "-untrusted", chain_and_tsa)
        text = openssl("ts", "-verify", "-data", data, "-in", path, *arguments)
        assert "Verification: OK" in text
    other = bench.file("other", DATA + b"!")
    text = openssl(*("ts", "-verify", "-data", other, "-in", path, "-token_in", *chain), expect=1)
    assert "FAILED" in text


def test_openssl_believes_our_whole_answer(bench: Bench) -> None:
    data, query = bench.file("data", DATA), bench.path / "query"
    openssl("ts", "-query", "-data", data, "-sha512", "-cert", "-out", query)
    reply = bench.lab.answer_timestamp(query.read_bytes(), at=CLOCK.now())
    path = bench.file("reply", reply)
    text = openssl(
        *("ts", "-verify", "-queryfile", query, "-in", path),
        *("-CAfile", bench.root, "-untrusted", bench.ca),
    )
    assert "Verification: OK" in text


def test_our_query_is_byte_for_byte_that_of_openssl(bench: Bench) -> None:
    data, query = bench.file("data", DATA), bench.path / "query"
    openssl("ts", "-query", "-data", data, "-sha512", "-no_nonce", "-out", query)
    assert query.read_bytes() == timestamps.build_request(SHA512.digest(DATA), SHA512)


def test_openssl_reads_our_rejection(bench: Bench) -> None:
    path = bench.file("reply", bench.lab.answer_timestamp(b"junk", at=NOW))
    text = openssl("ts", "-reply", "-in", path, "-text")
    assert "Status: Rejected" in text


def test_we_believe_time_stamps_that_openssl_made(bench: Bench) -> None:
    config = bench.file(
        "tsa.cnf",
        b"[tsa]\ndefault_tsa=t\n[t]\nserial=" + str(bench.path / "serial").encode() + b"\n"
        b"default_policy=1.2.3.4.1\ndigests=sha256,sha512\nsigner_digest=sha256\n"
        b"accuracy=secs:1,millisecs:500\ntsa_name=yes\ness_cert_id_alg=sha256\n",
    )
    query = bench.file("query", timestamps.build_request(SHA512.digest(DATA), SHA512))
    reply = bench.path / "reply"
    openssl(
        *("ts", "-reply", "-config", config, "-section", "t", "-queryfile", query, "-out", reply),
        *("-signer", bench.tsa, "-inkey", bench.key_file("tsa.key", bench.lab.tsa)),
    )
    token = timestamps.parse_response(
        reply.read_bytes(), imprint=SHA512.digest(DATA), algorithm=SHA512
    )
    verified = timestamps.verify_token(token, DATA, [bench.lab.tsa_certificate])
    assert verified.tsa == bench.lab.tsa_certificate
    assert abs(verified.gen_time - CLOCK.now()) < timedelta(minutes=1)
    stored = timestamps.with_certificate(token, bench.lab.tsa_certificate)
    assert timestamps.verify_token(stored, DATA, [bench.lab.tsa_certificate]) == verified
