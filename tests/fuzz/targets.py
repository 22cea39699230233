"""Every parser of bytes that come from outside, under one contract; see ``contract``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fuzz import corpus
from fuzz.contract import Target
from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_request_reader import RequestHead, RequestReader
from postroad.adapters.ipc import IpcServer
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import OcspPolicy, OcspResponse, verify_ocsp
from postroad.crypto.timestamps import parse_response, verify_token
from postroad.errors import FaultCode, MalformedInput, PostroadError
from postroad.evidence.asic import encode_container, parse_container
from postroad.evidence.container_verification import verify_container
from postroad.evidence.digests import PartDigest
from postroad.evidence.exact_form import read_exact_signature, read_signature
from postroad.evidence.hashchain_parsing import parse_hash_chain, parse_hash_chain_result
from postroad.evidence.hashchain_verification import verify_hash_chain
from postroad.evidence.verification import SignatureDocument, verify_message_signature
from postroad.evidence.xades_parsing import parse_signature
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.directory import parse_directory, verify_directory
from postroad.globalconf.extensions import check_extension
from postroad.globalconf.private_parameters import PrivateParameters
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.identifiers import SecurityServerId, ServiceId, parse_client_id
from postroad.management.envelope import encode_reply, parse_message
from postroad.management.requests import encode_body, parse_body, service_code_of
from postroad.messages.decoder import TransportDecoder
from postroad.messages.events import Direction
from postroad.messages.faults import parse_soap_fault
from postroad.messages.openapi_masking import mask_openapi
from postroad.messages.rest import RestRequest, RestResponse
from postroad.messages.soap_reading import read_soap
from postroad.messages.wsdl_masking import mask_wsdl
from postroad.securityserver.descriptions.openapi import derive_openapi
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from postroad.wire.mime import MediaType
from support.signing import CLIENT, NOW

_XML_WORDS = (
    b"<a/>",
    b"</a>",
    b"<!DOCTYPE a>",
    b"<!ENTITY x 'y'>",
    b"&x;",
    b"<![CDATA[",
    b"]]>",
    b"<?x y?>",
    b'xmlns="u"',
    b"xmlns:p='u'",
    b'Id="a"',
    b' URI="#a"',
    b"&#x0;",
    b"<!-- -->",
    b"\xef\xbb\xbf",
    b'<?xml version="1.0" encoding="UTF-16"?>',
    b"2026-13-45T99:99:99Z",
    b"====",
)
_YAML_WORDS = (
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!binary ",
    b"- ",
    b": ",
    b"[",
    b"{",
    b"|\n",
    b"---\n",
    b"$ref",
    b"servers",
    b"url",
    b"{x}",
)
_DER_WORDS = (
    b"\x30\x00",
    b"\x30\x80",
    b"\x00\x00",
    b"\x02\x01\x00",
    b"\x05\x00",
    b"\x18\x0f99991231235959Z",
    b"\x18\x0f00000101000000Z",
    b"\x06\x00",
    b"\x04\x84\x7f\xff\xff\xff",
    b"\x1f\x81\x80\x00",
)
_MIME_WORDS = (
    b"--b\r\n",
    b"--b--\r\n",
    b"\r\n--b",
    b"Content-Type: ",
    b"content-type: multipart/mixed\r\n\r\n",
    b"boundary=",
    b"text/xml",
    b"\r\n\r\n",
    b"application/x-road-rest-body",
    b"; charset=",
    b'"',
)
_HTTP_WORDS = (
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Host: b\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    b"HTTP/1.1",
    b"CONNECT",
    b"\t",
)


def _transport(direction: Direction, data: bytes) -> None:
    content_type, _, message = data.partition(b"\n")
    whole = TransportDecoder(content_type.decode("latin-1"), direction=direction)
    pieces = TransportDecoder(content_type.decode("latin-1"), direction=direction)
    error: PostroadError | None = None
    try:
        whole.feed(message)
        whole.finish()
    except MalformedInput as refusal:
        error = refusal
    step = max(1, len(message) // 50)
    try:
        for at in range(0, len(message), step):
            pieces.feed(message[at : at + step])
        pieces.finish()
    except MalformedInput:
        assert error is not None, "refused in pieces, but accepted whole"
        raise
    assert error is None, "accepted in pieces, but refused whole"


def _rest_request(block: bytes) -> None:
    request = RestRequest.parse(block)
    assert request.encode() == block
    _ = (
        request.service,
        request.client,
        request.service_path,
        request.query,
        request.target_server,
    )


def _rest_response(block: bytes) -> None:
    response = RestResponse.parse(block)
    assert response.encode() == block
    _ = (response.client, response.service)


def _signature(data: bytes) -> None:
    exact = read_exact_signature(data)
    try:
        slow = parse_signature(data)
    except PostroadError:
        assert exact is None, "the fast way accepts what the slow way refuses"
        raise
    facts = read_signature(data)
    assert facts.certificate == slow.certificate


def _verified_signature(data: bytes) -> None:
    """The whole recipe over any bytes."""
    bench = corpus.bench()
    verify_message_signature(
        SignatureDocument(data),
        signer=CLIENT,
        parts={
            "/message.xml": PartDigest.of("/message.xml", corpus.REQUEST, DigestAlgorithm.SHA512)
        },
        globalconf=bench.globalconf,
        at=NOW,
    )


def _hash_chain(data: bytes) -> None:
    refused: list[PostroadError] = []
    readers: tuple[Callable[[bytes], object], ...] = (
        parse_hash_chain,
        parse_hash_chain_result,
        lambda chain: verify_hash_chain(corpus.hash_chains()[1], {"/sig-hashchain.xml": chain}, {}),
    )
    for read in readers:
        try:
            read(data)
        except PostroadError as error:
            refused.append(error)
    if len(refused) == len(readers):
        raise refused[0]


def _container(data: bytes) -> None:
    container = parse_container(data)
    encode_container(container, NOW)
    verify_container(container, corpus.bench().globalconf)


def _ocsp(data: bytes) -> None:
    bench = corpus.bench()
    verify_ocsp(
        OcspResponse.parse(data),
        bench.identity.certificate,
        bench.lab.ca_certificate,
        at=NOW,
        policy=OcspPolicy(),
        responders=(),
        ca_certificates=bench.globalconf.ca_certificates(),
    )


def _stamp(data: bytes) -> None:
    token = parse_response(data, imprint=corpus.IMPRINT, algorithm=DigestAlgorithm.SHA512)
    verify_token(token, b"stamped", corpus.bench().globalconf.tsa_certificates())


def _token(data: bytes) -> None:
    verify_token(data, b"stamped", corpus.bench().globalconf.tsa_certificates())


def _directory(data: bytes) -> None:
    unverified = parse_directory(data)
    verify_directory(data, [corpus.bench().identity.certificate.der], at=NOW)
    assert unverified


def _versions(
    parse: Callable[[bytes, int], object], versions: tuple[int, ...], data: bytes
) -> None:
    for version in versions[:-1]:
        try:
            parse(data, version)
        except PostroadError:
            continue
        return
    parse(data, versions[-1])


def _extension(data: bytes) -> None:
    for identifier in ("MONITORING", "FETCHINTERVAL"):
        try:
            check_extension(identifier, data)
        except PostroadError:
            continue
        return
    check_extension("NEXTUPDATE", data)


def _certificate(data: bytes) -> None:
    certificate = Certificate.from_pem_or_der(data)
    _ = (certificate.subject_rfc2253, certificate.issuer_rfc2253, certificate.is_ca())
    _ = (certificate.public_key, certificate.ocsp_urls, certificate.is_self_signed)
    _ = (certificate.is_authentication(), certificate.is_signing())


class _Sink:
    def on_request(self, head: RequestHead) -> None:
        assert head.target
        assert all("\n" not in value and "\r" not in value for _, value in head.headers)

    def on_body(self, data: bytes) -> None:
        assert data

    def on_end(self) -> None:
        """Take the end."""


def _http_request(data: bytes) -> None:
    reader = RequestReader(_Sink(), ServerLimits())
    for at in range(0, len(data), 1000):
        reader.feed(data[at : at + 1000])
        if reader.refusal is not None:
            raise MalformedInput(reader.refusal[1], code=FaultCode.IO_ERROR)


class _Transport(asyncio.Transport):
    closed = False

    def write(self, data: object) -> None:
        assert data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def _serve_frames(data: bytes) -> None:
    async def handle(method: str, argument: bytes) -> object:
        return [method, len(argument)]

    server = IpcServer(Path("unused"), handle)
    protocol = server._connect()
    protocol.transport = transport = _Transport()
    protocol.data_received(data)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if transport.closed:
        raise MalformedInput("not a frame of ours", code=FaultCode.INTERNAL_ERROR)


def _management_request(data: bytes) -> None:
    content_type, _, body = data.partition(b"\n")
    message = parse_message(content_type.decode("latin-1"), body, plain=True)
    request = parse_body(message.body, message.code)
    assert service_code_of(request) is message.code
    encode_body(request)
    encode_reply(message, 1)


def _frames(data: bytes) -> None:
    asyncio.run(_serve_frames(data))


def _identifiers(data: bytes) -> None:
    text = data.decode("latin-1")
    refused = 0
    for parse in (ServiceId.parse, SecurityServerId.parse, parse_client_id, MediaType.parse):
        try:
            parsed = parse(text)
        except PostroadError:
            refused += 1
            continue
        if not isinstance(parsed, MediaType):
            assert parse(parsed.encoded()) == parsed
    if refused == 4:
        raise MalformedInput("nothing of all that", code=FaultCode.INVALID_REQUEST)


def _wsdl(data: bytes) -> None:
    masked = mask_wsdl(data)
    assert mask_wsdl(masked) == masked
    derive_wsdl(data)


def _openapi(data: bytes) -> None:
    refused: list[PostroadError] = []
    for read in (
        partial(mask_openapi, is_json=False),
        partial(mask_openapi, is_json=True),
        partial(derive_openapi, code="x", url="http://h/a"),
    ):
        try:
            read(data)
        except PostroadError as error:
            refused.append(error)
    if len(refused) == 3:
        raise refused[0]


def _target(
    name: str,
    parse: Callable[[bytes], object],
    seeds: Callable[[], list[bytes]],
    words: tuple[bytes, ...] = (),
) -> Target:
    return Target(name, parse, seeds, words)


def _files(*patterns: str) -> Callable[[], list[bytes]]:
    return partial(corpus.files, *patterns)


TARGETS = {
    target.name: target
    for target in (
        _target(
            "transport_request",
            partial(_transport, Direction.REQUEST),
            partial(corpus.transport, Direction.REQUEST),
            _MIME_WORDS,
        ),
        _target(
            "transport_response",
            partial(_transport, Direction.RESPONSE),
            partial(corpus.transport, Direction.RESPONSE),
            _MIME_WORDS,
        ),
        _target(
            "rest_request",
            _rest_request,
            lambda: [corpus.REQUEST],
            (
                b"X-Road-Client:A/B/C\r\n",
                b"GET",
                b"/r1/",
                b"%2f",
                b"\r\n",
                b"x-road-security-server:A/B/C/D\r\n",
            ),
        ),
        _target(
            "rest_response",
            _rest_response,
            lambda: [corpus.RESPONSE],
            (b"\r\n", b"204", b"x-road-id:2\r\n"),
        ),
        _target("soap_fault", parse_soap_fault, corpus.faults, _XML_WORDS),
        _target(
            "soap_message",
            read_soap,
            _files("messages/*.request", "messages/metaservice/*"),
            _XML_WORDS,
        ),
        _target(
            "management_request",
            _management_request,
            corpus.management_requests,
            (*_XML_WORDS, *_MIME_WORDS),
        ),
        _target("wsdl", _wsdl, _files("descriptions/*.wsdl"), _XML_WORDS),
        _target(
            "openapi",
            _openapi,
            _files("descriptions/*.yaml", "descriptions/*.yml", "descriptions/*.json"),
            _YAML_WORDS,
        ),
        _target("signature", _signature, corpus.signatures, _XML_WORDS),
        _target("verified_signature", _verified_signature, corpus.signatures, _XML_WORDS),
        _target("hash_chain", _hash_chain, corpus.hash_chains, _XML_WORDS),
        _target(
            "container",
            _container,
            _files("asic/*.asice"),
            (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"../", b"mimetype"),
        ),
        _target("ocsp_response", _ocsp, corpus.ocsp_responses, _DER_WORDS),
        _target("timestamp_response", _stamp, corpus.stamps, _DER_WORDS),
        _target("timestamp_token", _token, corpus.tokens, _DER_WORDS),
        _target("certificate", _certificate, corpus.certificates, _DER_WORDS),
        _target(
            "directory",
            _directory,
            _files("globalconf/signed/current/*/internalconf", "globalconf/handmade/*.txt"),
            _MIME_WORDS,
        ),
        _target("anchor", Anchor.parse, _files("anchors/*.xml"), _XML_WORDS),
        _target(
            "shared_parameters",
            partial(_versions, SharedParameters.parse, (2, 3, 4, 5, 6)),
            _files(
                "globalconf/signed/current/*/*/shared-params.xml",
                "globalconf/stored/globalconf_good_v2/*/shared-params.xml",
            ),
            _XML_WORDS,
        ),
        _target(
            "private_parameters",
            partial(_versions, PrivateParameters.parse, (2, 3)),
            _files(
                "globalconf/signed/current/*/*/private-params.xml",
                "globalconf/stored/globalconf_good_v2/*/private-params.xml",
            ),
            _XML_WORDS,
        ),
        _target("extension", _extension, _files("globalconf/handmade/*-params.xml"), _XML_WORDS),
        _target("http_request", _http_request, corpus.http_requests, _HTTP_WORDS),
        _target(
            "ipc_frames",
            _frames,
            corpus.frames,
            (b"\x00\x00\x00\x04", b"\x93", b"\xc0", b"\xdd\xff\xff\xff\xff"),
        ),
        _target(
            "identifiers",
            _identifiers,
            lambda: [b"A/B/C/D/e/v1", b"A/B%2FC/D", b'multipart/mixed; boundary="a b"'],
            (b"/", b"%2F", b"%C3%A9", b"%e0%80%af", b";", b'"', b"="),
        ),
    )
}
