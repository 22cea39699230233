"""How do errors become answers, and requests proofs of who sends them?"""

from __future__ import annotations

from traceback import format_exception
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from postroad.adapters.logs import logger
from postroad.centralserver.api.authentication import Proof
from postroad.centralserver.api.refusals import UNAUTHENTICATED, ApiRefusal, refusal_of
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from starlette.requests import Request


def as_refusal(error: Exception, request: Request) -> ApiRefusal:
    """The refusal that an error means; one that nobody expected is told to our own log."""
    if isinstance(error, ApiRefusal):
        return error
    if isinstance(error, PostroadError):
        refusal = refusal_of(error)
        reason = error.message
    else:
        refusal = ApiRefusal(500, "internal_error")
        reason = "".join(format_exception(error))
    if refusal.status >= 500:
        logger("central").warning("api_request_failed", path=request.url.path, reason=reason)
    return refusal


def error_response(refusal: ApiRefusal) -> Response:
    """The answer that says no."""
    headers = {"WWW-Authenticate": "X-Road-ApiKey"} if refusal is UNAUTHENTICATED else None
    return Response(
        msgspec.json.encode(refusal.info),
        refusal.status,
        headers=headers,
        media_type="application/json",
    )


def proof_of(request: Request) -> Proof:
    """What a request shows of its sender; two credentials are as good as none."""
    headers = request.headers.getlist("authorization")
    return Proof(
        address=request.client.host if request.client else "",
        authorization=None if not headers else headers[0] if len(headers) == 1 else "",
        cookies=request.cookies,
        xsrf_header=request.headers.get("x-xsrf-token"),
    )
