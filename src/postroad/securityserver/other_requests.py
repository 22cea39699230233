"""What else do information systems ask on the ports of the client proxy, besides messages?

The list of members and subsystems (``/listClients``), containers of their own logged messages
(``/asic``) and the configuration to verify them with (``/verificationconf``), all with GET; REST of
versions that don't exist isn't served. Everything else is a message: of the SOAP interface, whose
path means nothing (PR-MESS 3). Source: PR-META 2, UG-SIGDOC; reference: MetadataHandler,
AsicContainerHandler.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from postroad.adapters.files import read_tree
from postroad.errors import FaultCode, MalformedInput, PostroadError, RefusedRequest
from postroad.globalconf.client_list import JSON_TYPE, XML_TYPE, ClientList, wants_json
from postroad.messages.faults import CLIENT_SIDE, encode_soap_fault, fault_of
from postroad.securityserver.client_proxy import check_client
from postroad.securityserver.messagelog.container_requests import (
    ASIC_PATH,
    VERIFICATION_CONFIGURATION_PATH,
    Answer,
    handle_asic,
    handle_verification_configuration,
)
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.record_keys import log_keys_of
from postroad.securityserver.snapshots import MAX_GLOBALCONF_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.globalconf.shared_parameters import SharedParameters
    from postroad.identifiers import ClientId
    from postroad.securityserver.client_proxy import ClientProxy
    from postroad.securityserver.settings import Settings
    from postroad.wire.headers import HeaderList

LIST_CLIENTS_PATH: Final = "/listClients"
_SERVED: Final = frozenset({ASIC_PATH, LIST_CLIENTS_PATH, VERIFICATION_CONFIGURATION_PATH})
MAX_DOWNLOADS: Final = 4
"""Downloads of containers that a worker serves at a time: each may be in memory as a whole."""
_BUSY = b"too many downloads of containers at the same time; try again later\n"
_downloads = asyncio.Semaphore(MAX_DOWNLOADS)
_MAX_QUERY_FIELDS: Final = 50
_NOT_SERVED = b"Nothing is served here; REST requests begin with /r1/\n"
_REST_PATH = re.compile(r"/r[0-9]+/")
_TEXT = (("Content-Type", "text/plain;charset=utf-8"),)
_FAULT_TYPE: Final = "text/xml;charset=utf-8"


def is_other(method: str, target: str) -> bool:
    """Whether a request that isn't REST of version 1 is no message at all.

    >>> is_other("GET", "/asic?queryId=1"), is_other("POST", "/r2/x"), is_other("POST", "/asic")
    (True, True, False)
    """
    path = target.partition("?")[0]
    return (method == "GET" and path in _SERVED) or _REST_PATH.match(path) is not None


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
    if path not in _SERVED:
        answer = Answer(404, _TEXT, _NOT_SERVED)
    elif path == LIST_CLIENTS_PATH:
        answer = await _list_clients(proxy, request.headers, query)
    elif path == ASIC_PATH:

        async def authenticate(client: ClientId) -> None:
            check_client(proxy, proxy.snapshot(), request, client)

        if _downloads.locked():
            answer = Answer(503, (*_TEXT, ("Retry-After", "5")), _BUSY)
        else:
            async with _downloads:
                answer = await handle_asic(
                    query,
                    open_reader=lambda: LogReader.open(
                        proxy.settings.messagelog_url, log_keys_of(proxy.settings)
                    ),
                    authenticate=authenticate,
                    stamp_now=stamp_now,
                    seal=_sealing(proxy.settings),
                )
                await responder.respond(answer.status, answer.headers, answer.body)
            return
    else:
        directory = proxy.settings.globalconf_path
        answer = await handle_verification_configuration(
            lambda: _read_configuration(lambda: read_tree(directory, MAX_GLOBALCONF_BYTES))
        )
    await responder.respond(answer.status, answer.headers, answer.body)


def _sealing(settings: Settings) -> Callable[[bytes, ClientId], bytes] | None:
    if not settings.message_log.archive_encryption_enabled:
        return None
    # Only who encrypts pays for the library.
    from postroad.securityserver.messagelog.archive_encryption import seal_for  # noqa: PLC0415 - only where archives are encrypted

    return partial(seal_for, settings)


async def _list_clients(proxy: ClientProxy, headers: HeaderList, query: str) -> Answer:
    """Everybody who reaches the port may ask; what goes wrong is told as a SOAP fault."""
    try:
        globalconf = proxy.snapshot().globalconf
        globalconf.ensure_valid(proxy.clock.now())
        instance = _asked_instance(query) or proxy.settings.server_id.instance
        shared = globalconf.shared(instance)
        if shared is None:
            raise RefusedRequest(
                f"nothing is known of the instance {instance!r}", code=FaultCode.INTERNAL_ERROR
            )
    except PostroadError as error:
        fault = fault_of(
            error, side_prefix=CLIENT_SIDE, detail_id=proxy.new_id(), dialect=proxy.dialect
        )
        return Answer(200, (("Content-Type", _FAULT_TYPE),), encode_soap_fault(fault))
    is_json = wants_json(headers)
    # A large registry takes a tenth of a second and more; messages don't wait for it.
    written = await asyncio.to_thread(_written_list, shared, is_json=is_json)
    return Answer(200, (("Content-Type", JSON_TYPE if is_json else XML_TYPE),), written)


def _written_list(shared: SharedParameters, *, is_json: bool) -> bytes:
    listed = ClientList.of(shared)
    return listed.encode_json() if is_json else listed.encode_xml()


def _asked_instance(query: str) -> str:
    try:
        pairs = parse_qsl(query, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as error:
        raise MalformedInput("too many parameters", code=FaultCode.INVALID_REQUEST) from error
    return next((value for name, value in pairs if name == "xRoadInstance"), "").strip()


def _read_configuration(read: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
    try:
        return read()
    except OSError as error:
        raise RefusedRequest(
            "there is no global configuration yet", code=FaultCode.NOT_FOUND
        ) from error
