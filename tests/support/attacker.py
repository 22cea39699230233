"""What an attacker between or behind two servers can send: any bytes, with any keys it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from postroad.adapters.http_client import ClientTls, FetchedResponse
from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import encode_pem, peer_client_context, peer_server_context
from postroad.crypto.algorithms import SignatureAlgorithm, sign_digest
from postroad.crypto.certificates import Certificate
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.xades import prepare_signature
from postroad.identifiers import ClientId
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import BodyData, Direction, RestMessage
from postroad.messages.faults import parse_soap_fault
from postroad.messages.rest import RestRequest, build_request, build_response, request_hash
from postroad.securityserver.signing import DIGEST, MessageSignature
from postroad.trustlab.authority import Identity
from support.exchange import CLIENT, TARGET, World, pem_of

HeaderList = tuple[tuple[str, str], ...]


def parts_of(block: bytes, body: bytes | None) -> list[PartDigest]:
    parts = [PartDigest.of("/message.xml", block, DIGEST)]
    if body is not None:
        parts.append(PartDigest.of("/attachment1", body, DIGEST))
    return parts


def sign(
    world: World, identity: Identity, parts: Sequence[PartDigest], *, ocsp: bytes | None = None
) -> MessageSignature:
    """A genuine signature over the parts, with any identity and OCSP response."""
    certificate = identity.certificate
    chains = None if len(parts) == 1 else build_hash_chains([parts], DIGEST)
    prepared = prepare_signature(
        reference_uri=parts[0].name if chains is None else HASH_CHAIN_RESULT_PART,
        reference_digest=parts[0].value if chains is None else DIGEST.digest(chains.result),
        certificate=certificate,
        algorithm=SignatureAlgorithm.for_key(certificate.public_key, DIGEST),
        signing_time=world.clock.now(),
    )
    value = sign_digest(identity.private_key, prepared.algorithm, prepared.digest, ecdsa_raw=True)
    if ocsp is None:
        ocsp = world.lab.ocsp(certificate, at=world.clock.now())
    document = prepared.assemble(value, [ocsp])
    if chains is None:
        return MessageSignature(document)
    return MessageSignature(document, chains.result, chains.chains[0])


def request_block(
    *headers: tuple[str, str],
    method: str = "POST",
    target: str = TARGET,
    client: ClientId = CLIENT,
) -> bytes:
    return build_request(
        method,
        target,
        (("X-Road-Client", client.encoded()), *headers),
        request_id="request",
        generated_id="query",
    ).encode()


def encode_message(
    direction: Direction,
    block: bytes,
    body: bytes | None,
    signature: MessageSignature | None,
    *,
    ocsp: Sequence[bytes] = (),
) -> bytes:
    """A transport message with boundary ``b``, in legal order; without a signature cut short."""
    encoder = TransportEncoder("b", direction)
    data = b"".join(encoder.ocsp(der) for der in ocsp)
    is_request = direction is Direction.REQUEST
    data += encoder.rest_request(block) if is_request else encoder.rest_response(block)
    if body is not None:
        data += encoder.body_start() + encoder.body_data(body) + encoder.body_end()
    if signature is None:
        return data + b"\r\n--b--\r\n"
    if signature.hash_chain_result is not None:
        data += encoder.hash_chain_result(signature.hash_chain_result)
        data += encoder.hash_chain(signature.hash_chain or b"")
    return data + encoder.signature(signature.signature) + encoder.finish()


MESSAGE_HEADERS: HeaderList = (
    ("Content-Type", "multipart/mixed; charset=UTF-8; boundary=b"),
    ("x-hash-algorithm", "SHA-512"),
    ("x-road-message-type", "REST"),
)


async def send(
    world: World,
    message: bytes,
    *,
    auth: Identity | None = None,
    method: str = "POST",
    headers: HeaderList = MESSAGE_HEADERS,
) -> str:
    """Send to the provider's server as some server; the fault code, or "" for a real answer."""
    auth = auth or world.consumer.auth
    tls = ClientTls(peer_client_context(pem_of(auth), encode_pem(auth.certificate.der)))
    answer: FetchedResponse = await world.client.fetch(
        method,
        f"https://127.0.0.1:{world.provider.peer_port}/",
        headers=headers,
        body=message,
        tls=tls,
        timeout=20,
    )
    assert answer.status == 200
    if (answer.header("content-type") or "").startswith("text/xml"):
        return parse_soap_fault(answer.body).code
    return ""


@dataclass(frozen=True)
class Asked:
    """What the client's server sent to an evil provider's server."""

    message: RestRequest
    body: bytes | None

    @property
    def hash(self) -> bytes:
        digest = None if self.body is None else DIGEST.digest(self.body)
        return request_hash(DIGEST.digest(self.message.encode()), digest)


def answer_block(asked: Asked, *, digest: bytes | None = None, status: int = 200) -> bytes:
    response = build_response(
        status,
        "OK",
        (),
        request=asked.message,
        request_hash=asked.hash if digest is None else digest,
    )
    return response.encode()


Answer = Callable[[Asked], bytes]
"""Makes the whole body of an evil server's HTTP answer."""


async def become_provider(
    world: World,
    answer: Answer,
    *,
    auth: Identity | None = None,
    status: int = 200,
    headers: HeaderList = MESSAGE_HEADERS,
) -> list[Asked]:
    """Take the provider's server's place; the list receives what is asked."""
    auth = auth or world.provider.auth
    seen: list[Asked] = []

    async def handle(request: Request, responder: Responder) -> None:
        decoder = TransportDecoder(
            request.header("content-type") or "", direction=Direction.REQUEST
        )
        events = decoder.feed(await request.body.read_all(1 << 30))
        block = next(event.block for event in events if isinstance(event, RestMessage))
        pieces = [event.data for event in events if isinstance(event, BodyData)]
        asked = Asked(RestRequest.parse(block), b"".join(pieces) if pieces else None)
        seen.append(asked)
        await responder.respond(status, headers, answer(asked))

    context = peer_server_context(
        pem_of(auth),
        encode_pem(auth.certificate.der),
        [certificate.der for certificate in world.lab.ca_certificates],
    )
    server = HttpServer(handle)
    world.stack.push_async_callback(server.drain, 0.1)
    world.provider.peer_port = (await server.listen("127.0.0.1", 0, tls=context)).port
    return seen


async def become_ocsp_port(world: World, der: Callable[[Certificate], bytes]) -> None:
    """Take the place of the provider's server's OCSP port."""

    async def handle(request: Request, responder: Responder) -> None:
        body = b"--b\r\ncontent-type: application/ocsp-response\r\n\r\n"
        body += der(world.provider.auth.certificate) + b"\r\n--b--\r\n"
        await responder.respond(200, [("Content-Type", "multipart/related; boundary=b")], body)

    world.provider.ocsp_port = (await world.provider.serve(handle, world.stack)).port


Story = Callable[[World], Awaitable[None]]
