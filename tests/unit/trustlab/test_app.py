"""Rules of the lab over HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.clock import FixedClock
from postroad.crypto import ocsp, timestamps
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.crypto.names import build_name
from postroad.crypto.ocsp import CertificateStatus, OcspResponse
from postroad.errors import ConfigurationError
from postroad.identifiers import MemberId
from postroad.trustlab.app import MAX_BODY_BYTES, build_app
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.home import LabHome
from postroad.trustlab.issuing import KeyKind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OCSP_TYPE = {"Content-Type": "application/ocsp-request"}
TSA_TYPE = {"Content-Type": "application/timestamp-query"}
JSON_TYPE = {"Content-Type": "application/json"}
IMPRINT = DigestAlgorithm.SHA512.digest(b"x")
QUERY = timestamps.build_request(IMPRINT, DigestAlgorithm.SHA512)


class Bench:
    """A lab in a directory and calls to its application."""

    def __init__(self, path: Path) -> None:
        self.home = LabHome(path)
        self.lab = TrustLab.create(at=NOW)
        self.home.store(self.lab)
        self.app = build_app(self.home, FixedClock(NOW), ocsp_port=8888, tsa_port=8899)

    def call(
        self,
        method: str,
        path: str,
        *,
        caller: str = "127.0.0.1",
        base: str = "http://127.0.0.1:80",
        **parts: Any,
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=(caller, 4321))
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **parts)

        run: Callable[[Coroutine[Any, Any, httpx.Response]], httpx.Response] = asyncio.run
        return run(send())

    def plan(self, text: str) -> None:
        answer = self.call("POST", "/lab/faults", content=text, headers=JSON_TYPE)
        assert answer.status_code == 200

    def status(self, certificate: Certificate) -> OcspResponse:
        request = ocsp.build_request(certificate, self.lab.ca_certificate)
        answer = self.call("POST", "/ocsp", content=request, headers=OCSP_TYPE)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/ocsp-response"
        return OcspResponse.parse(answer.content)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "lab")


def request_bytes() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(build_name([("CN", "x")]))
    return builder.sign(KeyKind.EC_P256.generate(), hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("usage", "name", "signing"),
    [
        ({"type": "sign"}, "any.csr", True),
        ({"type": "auth"}, "a_sign.csr", False),
        ({"type": "auto"}, "a_sign_csr_1.csr", True),
        ({}, "auth_csr_1.csr", False),
    ],
)
def test_form_signs_a_request_as_its_type_says(
    bench: Bench, usage: dict[str, str], name: str, *, signing: bool
) -> None:
    answer = bench.call(
        "POST", "/testca/sign", data=usage, files={"certreq": (name, request_bytes())}
    )
    assert answer.status_code == 200
    certificate = Certificate.from_pem_or_der(answer.content)
    assert certificate.is_signing() is signing
    assert bench.status(certificate).status is CertificateStatus.GOOD
    stem = name.removesuffix(".csr").replace("_csr_", "_crt_")
    assert answer.headers["content-disposition"] == f'attachment; filename="{stem}.pem"'
    assert bench.home.load().status_of(certificate.serial) is CertificateStatus.GOOD


def test_urlencoded_form_signs_too(bench: Bench) -> None:
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(request_bytes())
    pem += b"-----END CERTIFICATE REQUEST-----\n"
    answer = bench.call("POST", "/testca/sign", data={"type": "sign", "certreq": pem.decode()})
    assert Certificate.from_pem_or_der(answer.content).is_signing()
    assert answer.headers["content-disposition"] == 'attachment; filename="sign.pem"'


def test_file_name_cannot_break_out_of_the_header(bench: Bench) -> None:
    files = {"certreq": ('a"; x="ü/../b.csr', request_bytes())}
    answer = bench.call("POST", "/testca/sign", data={"type": "sign"}, files=files)
    assert answer.headers["content-disposition"] == 'attachment; filename="a22x22..b.pem"'


@pytest.mark.parametrize("content", [b"", b"junk", b"\x30" * 20_000])
def test_form_refuses_what_is_no_request(bench: Bench, content: bytes) -> None:
    answer = bench.call("POST", "/testca/sign", files={"certreq": ("a.csr", content)})
    assert answer.status_code == 400
    assert bench.call("POST", "/testca/sign", data={"type": "sign"}).status_code == 400


def test_bodies_are_bounded(bench: Bench) -> None:
    large = b"x" * (MAX_BODY_BYTES + 1)
    assert bench.call("POST", "/ocsp", content=large, headers=OCSP_TYPE).status_code == 413
    files = {"certreq": ("a.csr", large)}
    assert bench.call("POST", "/testca/sign", files=files).status_code == 413


def test_pages_and_certificates_are_served(bench: Bench) -> None:
    page = bench.call("GET", "/")
    assert "certreq" in page.text
    assert bench.call("GET", "/testca").text == page.text
    for name, certificate in {
        "ca": bench.lab.ca_certificate,
        "root-ca": bench.lab.root.certificate,
        "tsa": bench.lab.tsa_certificate,
        "ocsp": bench.lab.ocsp_certificate,
    }.items():
        assert f"{name}.pem" in page.text
        served = bench.call("GET", f"/testca/certs/{name}.pem").content
        assert Certificate.from_pem_or_der(served) == certificate
    assert bench.call("GET", "/testca/certs/lab.pem").status_code == 404


def test_ocsp_is_answered_over_get_and_at_its_own_port(bench: Bench) -> None:
    subject = bench.lab.ca_certificate
    request = ocsp.build_request(subject, bench.lab.root.certificate)
    encoded = base64.b64encode(request).decode().replace("/", "%2F").replace("+", "%2B")
    for answer in (
        bench.call("GET", f"/ocsp/{encoded}"),
        bench.call("POST", "/", content=request, headers=OCSP_TYPE, base="http://127.0.0.1:8888"),
    ):
        parsed = OcspResponse.parse(answer.content)
        assert parsed.status is CertificateStatus.GOOD
        assert parsed.this_update == NOW
    assert bench.call("GET", "/ocsp/!!").status_code == 400


def test_time_stamps_are_answered_at_both_ports(bench: Bench) -> None:
    for path, base in (("/tsa", "http://127.0.0.1:80"), ("/", "http://127.0.0.1:8899")):
        answer = bench.call("POST", path, content=QUERY, headers=TSA_TYPE, base=base)
        assert answer.headers["content-type"] == "application/timestamp-reply"
        token = timestamps.parse_response(
            answer.content, imprint=IMPRINT, algorithm=DigestAlgorithm.SHA512
        )
        verified = timestamps.verify_token(token, b"x", [bench.lab.tsa_certificate])
        assert verified.gen_time == NOW


def test_wrong_content_types_and_methods_are_refused(bench: Bench) -> None:
    assert bench.call("POST", "/ocsp", content=b"x").status_code == 415
    assert bench.call("POST", "/tsa", content=QUERY, headers=OCSP_TYPE).status_code == 415
    assert bench.call("GET", "/tsa").status_code == 405
    assert bench.call("POST", "/", content=b"x").status_code == 405


def test_revoked_over_http_is_revoked_at_once(bench: Bench) -> None:
    files = {"certreq": ("a.csr", request_bytes())}
    pem = bench.call("POST", "/testca/sign", files=files).content
    certificate = Certificate.from_pem_or_der(pem)
    serial = f"{certificate.serial:x}"
    answer = bench.call("POST", "/lab/revoke", json={"serial": serial})
    assert answer.json() == {"revoked": serial}
    assert bench.status(certificate).status is CertificateStatus.REVOKED
    assert bench.home.load().status_of(certificate.serial) is CertificateStatus.REVOKED


def test_revoked_from_the_command_line_is_followed(bench: Bench) -> None:
    certificate = bench.home.load().sign_certificate(MemberId("DEV", "GOV", "1")).certificate
    bench.home.record_issued(certificate, at=NOW)
    assert bench.status(certificate).status is CertificateStatus.GOOD
    bench.home.record_revoked(certificate.serial, at=NOW)
    assert bench.status(certificate).status is CertificateStatus.REVOKED


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"{}", 400), (b'{"serial": "1"}', 404), (b'{"serial": "x"}', 404)],
)
def test_revoking_nothing_is_refused(bench: Bench, body: bytes, status: int) -> None:
    answer = bench.call("POST", "/lab/revoke", content=body, headers=JSON_TYPE)
    assert answer.status_code == status


def test_faults_are_followed_from_the_next_request_on(bench: Bench) -> None:
    subject = bench.lab.sign_certificate(MemberId("DEV", "GOV", "1")).certificate
    bench.plan('{"ocsp": {"status": "unknown", "time_shift": -7200}, "tsa": {"stopped": true}}')
    response = bench.status(subject)
    assert response.status is CertificateStatus.UNKNOWN
    assert response.produced_at == response.this_update == NOW - timedelta(hours=2)
    assert bench.call("POST", "/tsa", content=QUERY, headers=TSA_TYPE).status_code == 503
    bench.plan('{"tsa": {"time_shift": 3600}}')
    answer = bench.call("POST", "/tsa", content=QUERY, headers=TSA_TYPE)
    token = timestamps.parse_response(
        answer.content, imprint=IMPRINT, algorithm=DigestAlgorithm.SHA512
    )
    assert timestamps.gen_time(token) == NOW + timedelta(hours=1)
    assert bench.call("GET", "/lab/faults").json()["tsa"]["time_shift"] == 3600
    bench.call("DELETE", "/lab/faults")
    assert bench.status(subject).this_update == NOW


def test_broken_services_answer_nonsense(bench: Bench) -> None:
    bench.plan('{"ocsp": {"broken": true}, "tsa": {"broken": true}, "ca": {"stopped": true}}')
    request = ocsp.build_request(bench.lab.ca_certificate, bench.lab.root.certificate)
    assert b"not OCSP" in bench.call("POST", "/ocsp", content=request, headers=OCSP_TYPE).content
    assert b"no token" in bench.call("POST", "/tsa", content=QUERY, headers=TSA_TYPE).content
    files = {"certreq": ("a.csr", request_bytes())}
    assert bench.call("POST", "/testca/sign", files=files).status_code == 503


def test_a_slow_service_answers_late(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("postroad.trustlab.app.asyncio.sleep", sleep)
    bench.plan('{"tsa": {"delay": 2.5}}')
    assert bench.call("POST", "/tsa", content=QUERY, headers=TSA_TYPE).status_code == 200
    assert waited == [2.5]


def test_a_wrong_plan_is_refused_and_changes_nothing(bench: Bench) -> None:
    answer = bench.call("POST", "/lab/faults", content=b'{"x": {}}', headers=JSON_TYPE)
    assert answer.status_code == 400
    assert "no service 'x'" in answer.text


@pytest.mark.parametrize(
    ("caller", "base"),
    [
        ("192.0.2.1", "http://127.0.0.1:80"),
        ("127.0.0.1", "http://lab.example:80"),
        ("not an address", "http://localhost:80"),
    ],
)
def test_faults_and_revocation_are_for_callers_on_this_machine(
    bench: Bench, caller: str, base: str
) -> None:
    for path in ("/lab/faults", "/lab/revoke"):
        answer = bench.call("POST", path, json={}, caller=caller, base=base)
        assert answer.status_code == 403
    assert bench.call("POST", "/lab/faults", content="{}").status_code == 415
    local = bench.call("GET", "/lab/faults", caller="::1", base="http://[::1]:80")
    assert local.status_code == 200


def test_there_must_be_a_lab_to_serve(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        build_app(LabHome(tmp_path), FixedClock(NOW))
