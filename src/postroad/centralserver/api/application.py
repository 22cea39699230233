"""How does a request to the management interface become an answer?

1. Is the host one of ours, and has the address not asked too often?
2. Which operation is it, who asks, and may they?
3. Read the payload; call the handler in a thread.
4. Write the answer, and a line into the audit log for what changed something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from postroad.centralserver.api.answers import as_refusal, error_response, proof_of
from postroad.centralserver.api.authentication import Authenticator
from postroad.centralserver.api.gate import Gate
from postroad.centralserver.api.login_pages import login_routes
from postroad.centralserver.api.openapi import document_routes
from postroad.centralserver.api.operations import Call, Download, Operation, WithStatus
from postroad.centralserver.api.payload_reading import read_body, read_path, read_query
from postroad.centralserver.api.refusals import FORBIDDEN, ApiRefusal
from postroad.centralserver.api.resources import OPERATIONS
from postroad.centralserver.api.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from postroad.adapters.audit_log import AuditLog
    from postroad.centralserver.api.operations import Caller, Services

PREFIX: Final = "/api/v1"
_THREADS: Final = 8
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Interface:
    """What every request needs besides its own operation."""

    services: Services
    authenticator: Authenticator
    audit: AuditLog
    threads: CapacityLimiter


def api_application(services: Services, audit: AuditLog) -> Starlette:
    """The web application of the management interface."""
    settings = services.node.settings.management_api
    sessions = Sessions(idle=settings.session_idle)
    authenticator = Authenticator(services.node, sessions)
    interface = Interface(services, authenticator, audit, CapacityLimiter(_THREADS))
    routes = [
        Route(PREFIX + each.path, _endpoint(interface, each), methods=[each.method])
        for each in OPERATIONS
    ]
    application = Starlette(
        routes=[
            *routes,
            *document_routes(PREFIX, OPERATIONS),
            *login_routes(services.node, authenticator, audit, interface.threads),
        ],
        middleware=[Middleware(Gate, settings=settings)],
        exception_handlers={HTTPException: _no_such_operation},
    )
    application.router.redirect_slashes = False
    return application


def _endpoint(
    interface: Interface, operation: Operation
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        call: Call | None = None
        caller: Caller | None = None
        try:
            known, has_session = await to_thread.run_sync(
                interface.authenticator.identify,
                proof_of(request),
                operation,
                limiter=interface.threads,
            )
            caller = known
            if operation.needs and not operation.needs & known.permissions:
                raise FORBIDDEN
            call = Call(
                interface.services,
                known,
                read_path(request.path_params),
                read_query(request, operation),
                await read_body(request, operation),
                has_session=has_session,
            )
            result = await to_thread.run_sync(operation.handler, call, limiter=interface.threads)
            response = _response(operation, result)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the server
            refusal = as_refusal(error, request)
            _audit(interface, operation, request, caller, call, refusal)
            return error_response(refusal)
        _audit(interface, operation, request, caller, call, None)
        return response

    return answer


def _response(operation: Operation, result: Any) -> Response:
    status = operation.status
    if isinstance(result, WithStatus):
        status, result = result.status, result.body
    if isinstance(result, Download):
        disposition = f'attachment; filename="{result.file_name}"'
        return Response(
            result.data,
            status,
            headers={"Content-Disposition": disposition},
            media_type=result.media_type,
        )
    if result is None:
        return Response(status_code=status)
    return Response(msgspec.json.encode(result), status, media_type=_JSON)


def _audit(  # noqa: PLR0917 - the parts of one event
    interface: Interface,
    operation: Operation,
    request: Request,
    caller: Caller | None,
    call: Call | None,
    refusal: ApiRefusal | None,
) -> None:
    if operation.event is None:
        return
    interface.audit.write(
        call.events[-1] if call and call.events else operation.event,
        at=interface.services.node.clock.now(),
        user=caller.name if caller else "",
        address=request.client.host if request.client else "",
        auth=caller.scheme if caller else None,
        url=request.url.path,
        data=call.audited if call else {},
        reason=None if refusal is None else str(refusal),
        is_warning=refusal is not None and bool(refusal.warnings),
    )


async def _no_such_operation(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "bad_request")
    return error_response(ApiRefusal(status, code))
