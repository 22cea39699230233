"""Known inputs for every target: the reference's files, and messages of our own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.timestamps import build_request
from postroad.evidence.digests import PartDigest
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.management.envelope import AttachedPart, encode_message, encode_multipart
from postroad.management.requests import (
    AddressChange,
    AuthCertRegistration,
    ClientRegistration,
    MaintenanceStart,
)
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction
from postroad.messages.faults import Fault, encode_soap_fault
from support.signing import NOW, Bench

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
IMPRINT = DigestAlgorithm.SHA512.digest(b"stamped")
REQUEST = (
    b"POST\r\n/r1/TEST/GOV/2/reg/persons/7?x=%20\r\nX-Road-Client:TEST/COM/1234/app\r\n"
    b"Content-Type:text/plain\r\nx-road-request-id:5\r\nx-road-id:q-1\r\n"
)
RESPONSE = (
    b"200\r\nOK\r\nContent-Type:text/plain\r\nx-road-id:q-1\r\nx-road-client:TEST/COM/1234/app\r\n"
    b"x-road-service:TEST/GOV/2/reg/persons\r\nx-road-request-id:5\r\nx-road-request-hash:AAAA\r\n"
)


def files(*patterns: str, largest: int = 60_000) -> list[bytes]:
    """The reference's files of these names; fails if there are none."""
    found = [
        path.read_bytes()
        for pattern in patterns
        for path in sorted(REFERENCE.glob(pattern))
        if path.is_file() and path.stat().st_size <= largest
    ]
    assert found, patterns
    return found


@cache
def bench() -> Bench:
    """Keys, certificates and a configuration that trusts them."""
    return Bench.create()


def _parts(body: bytes | None) -> list[PartDigest]:
    parts = [PartDigest.of("/message.xml", REQUEST, DigestAlgorithm.SHA512)]
    if body is not None:
        parts.append(PartDigest.of("/attachment1", body, DigestAlgorithm.SHA512))
    return parts


def signatures() -> list[bytes]:
    """Signatures, plain and of a batch."""
    plain, batch = bench().sign(_parts(None)), bench().sign(_parts(b"body"))
    return [
        plain.signature,
        batch.signature,
        *files("signatures/common-test/*.xml", "signatures/globalconf-impl/*.xml"),
    ]


def hash_chains() -> list[bytes]:
    """Hash chains and their results."""
    batch = bench().sign(_parts(b"body"), [PartDigest.of("/x", b"y", DigestAlgorithm.SHA512)])
    own = [batch.hash_chain or b"", batch.hash_chain_result or b""]
    return [*own, *files("hashchain/*.xml")]


def transport(direction: Direction) -> list[bytes]:
    """Transport messages, each behind its content type and a line feed."""
    signed = bench().sign(_parts(b"body"))
    found: list[bytes] = []
    for body in (None, b"body", b"\r\n--b\r\n" * 3):
        encoder = TransportEncoder("b", direction)
        data = encoder.ocsp(bench().ocsp()) if direction is Direction.REQUEST else b""
        is_request = direction is Direction.REQUEST
        data += encoder.rest_request(REQUEST) if is_request else encoder.rest_response(RESPONSE)
        if body is not None:
            data += encoder.body_start() + encoder.body_data(body) + encoder.body_end()
            data += encoder.hash_chain_result(signed.hash_chain_result or b"")
            data += encoder.hash_chain(signed.hash_chain or b"")
        data += encoder.signature(signed.signature) + encoder.finish()
        found.append(b"multipart/mixed; charset=UTF-8; boundary=b\n" + data)
    for data in files("messages/transport/*"):
        boundary = data.lstrip()[2:].split(b"\r\n", 1)[0].split(b"\n", 1)[0]
        found.append(b"multipart/mixed; boundary=" + boundary + b"\n" + data)
    return found


def faults() -> list[bytes]:
    """SOAP faults."""
    foreign = (
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>'
        b"<faultcode>a.b</faultcode><faultstring>c</faultstring></s:Fault></s:Body></s:Envelope>"
    )
    fault = Fault("server.serverproxy.access_denied", "no", "", "5")
    return [encode_soap_fault(fault), foreign]


def management_requests() -> list[bytes]:
    """Content type, line end, body: a request of every shape of field, with parts beside it."""
    server = SecurityServerId("TEST", "GOV", "1", "SS1")
    client = SubsystemId("TEST", "GOV", "1", "app")
    requests = (
        AuthCertRegistration(server, certificates()[0], "ss1.example"),
        ClientRegistration(server, client, "ä"),
        AddressChange(server, "192.0.2.1"),
        MaintenanceStart(server, "õ"),
    )
    provider = SubsystemId("TEST", "GOV", "0", "management")
    parts = (AttachedPart(b"signature", "SHA512withRSA"), AttachedPart(certificates()[0]))
    found = []
    for request in requests:
        soap = encode_message(request, sender=server.owner, provider=provider, query_id="q-1")
        found.append(b"text/xml; charset=UTF-8\n" + soap)
        content_type, body = encode_multipart(soap, parts, "b")
        found.append(content_type.encode() + b"\n" + body)
    return found


def ocsp_responses() -> list[bytes]:
    """OCSP responses of the lab."""
    return [bench().ocsp()]


def stamps() -> list[bytes]:
    """Answers of the lab's time-stamping authority."""
    request = build_request(IMPRINT, DigestAlgorithm.SHA512)
    return [bench().lab.answer_timestamp(request, at=NOW), *files("messagelog/tsp.response")]


def tokens() -> list[bytes]:
    """Time-stamp tokens."""
    return files("timestamps/valid", "timestamps/invalid-signature")


def certificates() -> list[bytes]:
    """Certificates, DER and PEM."""
    own = bench().identity.certificate.der
    return [own, *files("certs/*.pem", "certs/test_chain/*.pem", largest=8_000)]


def frames() -> list[bytes]:
    """Frames of our own processes."""
    calls = [[1, "sign", ["key", "SHA-512", b"x" * 64]], [2, "append", [b"x"]], [3, "", None]]
    encoded = [msgspec.msgpack.encode(call) for call in calls]
    return [len(data).to_bytes(4, "big") + data for data in encoded]


def http_requests() -> list[bytes]:
    """HTTP requests, alone and in a row."""
    chunked = (
        b"POST /r1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n"
    )
    sized = (
        b"PUT /r1/a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-Road-Client: a/b/c\r\n\r\nabc"
    )
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
    )
    return [chunked, sized, upgrade, sized + chunked, b"GET / HTTP/1.0\r\n\r\n"]
