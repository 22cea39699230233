"""What else do information systems ask on the ports of the client proxy, besides messages?

Containers of their own logged messages (``/asic``) and the configuration to verify them with
(``/verificationconf``); REST of versions that don't exist isn't served. Everything else is a
message: of the SOAP interface, whose path means nothing (PR-MESS 3). Source: UG-SIGDOC.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from postroad.adapters.files import read_tree
from postroad.errors import FaultCode, RefusedRequest
from postroad.securityserver.client_proxy import check_client
from postroad.securityserver.messagelog.container_requests import (
    ASIC_PATH,
    VERIFICATION_CONFIGURATION_PATH,
    Answer,
    handle_asic,
    handle_verification_configuration,
)
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.snapshots import MAX_GLOBALCONF_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.identifiers import ClientId
    from postroad.securityserver.client_proxy import ClientProxy

_NOT_SERVED = b"Nothing is served here; REST requests begin with /r1/\n"
_REST_PATH = re.compile(r"/r[0-9]+/")
_NOT_ALLOWED = b"Only GET is served here\n"
_TEXT = (("Content-Type", "text/plain;charset=utf-8"),)


def is_other(target: str) -> bool:
    """Whether a request that isn't REST of version 1 is no message at all.

    >>> is_other("/asic?queryId=1"), is_other("/r2/x"), is_other("/")
    (True, True, False)
    """
    path = target.partition("?")[0]
    served = {ASIC_PATH, VERIFICATION_CONFIGURATION_PATH}
    return path in served or _REST_PATH.match(path) is not None


async def serve_other(
    proxy: ClientProxy,
    request: Request,
    responder: Responder,
    *,
    stamp_now: Callable[[Sequence[int]], Awaitable[None]] | None = None,
) -> None:
    """Answer a request whose path is not that of a message.

    ``stamp_now`` time-stamps log records at once, for ``/asic`` with ``force``.
    """
    path, _, query = request.target.partition("?")
    if path not in {ASIC_PATH, VERIFICATION_CONFIGURATION_PATH}:
        answer = Answer(404, _TEXT, _NOT_SERVED)
    elif request.method != "GET":
        answer = Answer(405, (*_TEXT, ("Allow", "GET")), _NOT_ALLOWED)
    elif path == ASIC_PATH:

        async def authenticate(client: ClientId) -> None:
            check_client(proxy, proxy.snapshot(), request, client)

        answer = await handle_asic(
            query,
            open_reader=lambda: LogReader.open(proxy.settings.messagelog_url),
            authenticate=authenticate,
            stamp_now=stamp_now,
        )
    else:
        directory = proxy.settings.globalconf_path
        answer = await handle_verification_configuration(
            lambda: _read_configuration(lambda: read_tree(directory, MAX_GLOBALCONF_BYTES))
        )
    await responder.respond(answer.status, answer.headers, answer.body)


def _read_configuration(read: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    try:
        return read()
    except OSError as error:
        raise RefusedRequest(
            "there is no global configuration yet", code=FaultCode.NOT_FOUND
        ) from error
