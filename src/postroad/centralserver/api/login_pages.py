"""How does a person log in and out, and what is at the root?

Source: reference ``FormLoginWebSecurityConfig``: a form to ``/login``, 200 with two cookies or 401.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from anyio import to_thread
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from postroad.centralserver.api.answers import as_refusal, error_response, proof_of
from postroad.centralserver.api.authentication import SESSION_COOKIE, XSRF_COOKIE, Proof
from postroad.centralserver.api.payload_reading import read_form, read_limited
from postroad.centralserver.api.refusals import ApiRefusal, validation_failure

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from starlette.requests import Request

    from postroad.adapters.audit_log import AuditLog
    from postroad.centralserver.api.authentication import Authenticator
    from postroad.centralserver.node import CentralServerNode

_FORM_BYTES: Final = 4 * 1024
_WELCOME: Final = "Postroad Central Server. The management interface is /api/v1/openapi.json\n"


def login_routes(
    node: CentralServerNode,
    authenticator: Authenticator,
    audit: AuditLog,
    threads: CapacityLimiter,
) -> list[Route]:
    """The pages outside ``/api``."""

    async def login(request: Request) -> Response:
        username, shown = "", proof_of(request)
        try:
            fields = await _credentials(request)
            username = fields.get("username", "")
            session_id, session = await to_thread.run_sync(
                authenticator.login,
                username,
                fields.get("password", ""),
                shown.address,
                limiter=threads,
            )
        except Exception as error:  # noqa: BLE001 - one bad request must not end the server
            refusal = as_refusal(error, request)
            _told("Log in user", username, shown, str(refusal))
            return error_response(refusal)
        _told("Log in user", username, shown)
        response = PlainTextResponse("OK\n")
        response.set_cookie(
            SESSION_COOKIE, session_id, secure=True, httponly=True, samesite="strict"
        )
        response.set_cookie(XSRF_COOKIE, session.xsrf_token, secure=True, samesite="strict")
        return response

    async def logout(request: Request) -> Response:
        shown = proof_of(request)
        try:
            username = await to_thread.run_sync(authenticator.logout, shown, limiter=threads)
        except Exception as error:  # noqa: BLE001 - as above
            return error_response(as_refusal(error, request))
        _told("Log out user", username, shown)
        response = PlainTextResponse("OK\n")
        for name in (SESSION_COOKIE, XSRF_COOKIE):
            response.delete_cookie(name, secure=True, samesite="strict")
        return response

    async def root(_request: Request) -> Response:
        return PlainTextResponse(_WELCOME)

    def _told(event: str, username: str, shown: Proof, reason: str | None = None) -> None:
        audit.write(
            event,
            at=node.clock.now(),
            user=username,
            address=shown.address,
            auth="FormLogin",
            url="/login" if event == "Log in user" else "/logout",
            data={},
            reason=reason,
        )

    return [
        Route("/", root, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ]


async def _credentials(request: Request) -> dict[str, str]:
    data = await read_limited(request, _FORM_BYTES)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        form = await read_form(request, data)
        return {name: value for name, value in form.items() if isinstance(value, str)}
    if media_type != "application/x-www-form-urlencoded":
        raise ApiRefusal(415, "invalid_content_type", ("application/x-www-form-urlencoded",))
    try:
        pairs = parse_qsl(data.decode("ascii"), strict_parsing=True, max_num_fields=8)
    except ValueError as error:
        raise validation_failure("form", "not a readable form") from error
    return dict(pairs)
