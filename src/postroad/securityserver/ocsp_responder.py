"""How do peers get the OCSP responses of our authentication certificate: plain HTTP, port 5577.

``GET /?cert=<SHA-1>&cert=…&cert_hash=<SHA-256>&…`` (hex of the certificates' DER). Peers send both
forms of each hash; the older one decides, as up to release 7.8, and ``cert_hash`` alone will do.
Source: PR-MESSTRANSP 2.2; reference: ``CertHashBasedOcspResponder``.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from postroad.errors import FaultCode, MalformedInput, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroad.adapters.http_exchange import Request, Responder

_HASH: Final = {"cert": re.compile(r"[0-9a-f]{40}"), "cert_hash": re.compile(r"[0-9a-f]{64}")}
_MAX_CERTIFICATES: Final = 16


def parse_ocsp_query(target: str) -> tuple[bytes, ...]:
    """Return the certificate hashes asked for, in order: SHA-1 ones if any, else SHA-256.

    Raises ``MalformedInput``.

    >>> parse_ocsp_query("/?cert=" + "00" * 20) == (bytes(20),)
    True
    """
    _, _, query = target.partition("?")
    asked: dict[str, list[bytes]] = {"cert": [], "cert_hash": []}
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=4 * _MAX_CERTIFICATES)
    except ValueError as error:
        raise MalformedInput("too many query parameters", code=FaultCode.INVALID_REQUEST) from error
    for name, value in fields:
        if name in asked:
            if _HASH[name].fullmatch(value.lower()) is None:
                raise MalformedInput(
                    f"{name} is not the hexadecimal hash of a certificate",
                    code=FaultCode.INVALID_REQUEST,
                )
            asked[name].append(bytes.fromhex(value))
    hashes = asked["cert"] or asked["cert_hash"]
    if not hashes or len(hashes) > _MAX_CERTIFICATES:
        raise MalformedInput(
            f"ask for 1 to {_MAX_CERTIFICATES} certificates with cert=…",
            code=FaultCode.INVALID_REQUEST,
        )
    return tuple(hashes)


def encode_ocsp_answer(responses: Sequence[bytes], boundary: str) -> bytes:
    """Return OCSP responses (DER) as the parts of a ``multipart/related`` body, in order."""
    head = f"--{boundary}\r\ncontent-type: application/ocsp-response\r\n\r\n".encode("ascii")
    parts = b"\r\n".join(head + response for response in responses)
    return parts + f"\r\n--{boundary}--\r\n".encode("ascii")


class OcspResponder:
    """The handler of the OCSP port.

    ``find`` returns the stored response (DER) for the SHA-1 or SHA-256 hash of a certificate's DER,
    or None. Problems are answered with status 500 and a line of text, as peers expect.
    """

    def __init__(self, find: Callable[[bytes], bytes | None]) -> None:
        self._find = find

    async def __call__(self, request: Request, responder: Responder) -> None:
        """Answer one request; HEAD is a heartbeat and always well."""
        if request.method == "HEAD":
            await responder.respond(200)
            return
        try:
            responses = self._collect(request)
        except (MalformedInput, RefusedRequest) as error:
            text = f"{error.message}\n".encode()
            await responder.respond(500, [("Content-Type", "text/plain;charset=utf-8")], text)
            return
        boundary = f"ocsp{secrets.token_hex(16)}"
        content_type = (
            f'multipart/related; type="application/ocsp-response"; charset=UTF-8;'
            f" boundary={boundary}"
        )
        body = encode_ocsp_answer(responses, boundary)
        await responder.respond(200, [("Content-Type", content_type)], body)

    def _collect(self, request: Request) -> list[bytes]:
        if request.method != "GET":
            raise MalformedInput("only GET and HEAD", code=FaultCode.INVALID_HTTP_METHOD)
        responses = []
        for certificate_hash in parse_ocsp_query(request.target):
            response = self._find(certificate_hash)
            if response is None:
                raise RefusedRequest(
                    f"there is no OCSP response for certificate {certificate_hash.hex()}",
                    code=FaultCode.CERT_NOT_FOUND,
                )
            responses.append(response)
        return responses
