"""How is an OCSP responder asked over HTTP?

Bytes in, bytes out: what comes back is neither parsed nor believed here (RFC 6960 A.1). Reference:
OcspClient (POST, no redirects).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError, UnavailablePeer

if TYPE_CHECKING:
    from postroad.ports import HttpFetcher

MAX_ANSWER_BYTES: Final = 256 * 1024
OCSP_TIMEOUT: Final = 20.0
"""Seconds for one responder; the next one is asked after that."""
_REQUEST_TYPE: Final = "application/ocsp-request"
_ANSWER_TYPE: Final = "application/ocsp-response"


async def fetch_ocsp_response(fetcher: HttpFetcher, url: str, request: bytes) -> bytes:
    """Ask an OCSP responder; the answer's DER. Raises `UnavailablePeer` if there is none."""
    try:
        response = await fetcher.fetch(
            "POST",
            url,
            headers=(("Content-Type", _REQUEST_TYPE), ("Accept", _ANSWER_TYPE)),
            body=request,
            timeout=OCSP_TIMEOUT,
            max_body=MAX_ANSWER_BYTES,
        )
    except PostroadError as error:
        raise UnavailablePeer(f"OCSP responder {url}: {error.message}") from error
    kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if response.status != 200 or kind != _ANSWER_TYPE:
        raise UnavailablePeer(f"OCSP responder {url} answered {response.status} {kind[:100]!r}")
    return response.body
