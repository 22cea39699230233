"""Which addresses serve the published configuration, and with which headers?

Exactly two directories while they are valid, the parts below them, and the description of the
management services; anything else is not found. Source: PR-GCONF 2.5; reference: the web server's
rules that its Central Server installs.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime, formatdate
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from postroad.errors import MalformedInput
from postroad.globalconf.moments import encode_moment, parse_moment
from postroad.globalconf.shared_parameters import OLDEST_VERSION
from postroad.management.wsdl import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from starlette.requests import Request

    from postroad.clock import Clock

_EXPIRY = re.compile(rb"^Expire-date: ([^\r\n]{1,64})\r?$", re.MULTILINE)
_QUERY_VERSION = re.compile(rb"(?:^|&)version=([0-9]+)(?:&|$)")
_MAX_VERSION_DIGITS = 3
_VERSION = re.compile(r"V[0-9]{1,3}")
_STAMP = re.compile(r"[0-9]{1,32}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CHUNK = 64 * 1024
_BINARY = "application/octet-stream"


def distribution_application(
    public: Path, clock: Clock, describe: Callable[[], bytes]
) -> Starlette:
    """The web application over the published files, for GET and HEAD.

    ``describe`` writes the WSDL of the management services, for the server that offers them: their
    address may change while we run.
    """

    async def description(_request: Request) -> Response:
        return Response(await to_thread.run_sync(describe), media_type="text/xml")

    async def directory(request: Request) -> Response:
        name = request.url.path.lstrip("/")
        version = requested_version(request.scope["query_string"])
        now = clock.now()
        found = await file_response(public / f"V{version}" / name, directory_headers(now))
        expired_at = (
            expiry_of(bytes(getattr(found, "body", b""))) if hasattr(found, "body") else None
        )
        return found if expired_at is None or now <= expired_at else expired(expired_at)

    async def part(request: Request) -> Response:
        version, stamp, name = (request.path_params[key] for key in ("version", "stamp", "name"))
        # Nothing else is a part, and nothing that matches leaves the public directory.
        if not (_VERSION.fullmatch(version) and _STAMP.fullmatch(stamp) and _NAME.fullmatch(name)):
            return not_found()
        return await file_response(public / version / stamp / name, {})

    application = Starlette(
        routes=[
            Route("/internalconf", directory),
            Route("/externalconf", directory),
            Route(f"/{FILE_NAME}", description),
            Route("/{version}/{stamp}/{name}", part),
        ]
    )
    application.router.redirect_slashes = False
    return application


def directory_headers(at: datetime) -> dict[str, str]:
    """The reference's rule for directories: expired one second ago, ask again every time."""
    expired = format_datetime(at - timedelta(seconds=1), usegmt=True)
    return {"Expires": expired, "Cache-Control": "no-cache"}


def expiry_of(directory: bytes) -> datetime | None:
    """Until when a published directory counts; None for what isn't one.

    >>> expiry_of(b"Expire-date: 2026-03-01T12:10:00Z").isoformat()
    '2026-03-01T12:10:00+00:00'
    """
    found = _EXPIRY.search(directory)
    try:
        return None if found is None else parse_moment(found[1].decode("ascii"))
    except (MalformedInput, UnicodeDecodeError):
        return None


def expired(at: datetime) -> Response:
    """The answer while there is nothing newer: clients ask another node, and people see why.

    Not 404, which would tell them that the version isn't made any more.
    """
    text = f"the configuration expired at {encode_moment(at)}: this node can make no new one\n"
    headers = {"Cache-Control": "no-cache"}
    return Response(text, status_code=503, headers=headers, media_type="text/plain")


def requested_version(query: bytes) -> str:
    """The version that a raw query asks for; the oldest one when it asks for none.

    >>> requested_version(b"version=6"), requested_version(b"a=1"), requested_version(b"version=x")
    ('6', '2', '2')
    """
    found = _QUERY_VERSION.search(query)
    if found is None:
        return str(OLDEST_VERSION)
    # Longer numbers name no folder either; they only must not become a long file name.
    return found[1][: _MAX_VERSION_DIGITS + 1].decode("ascii")


@dataclass(frozen=True, slots=True)
class _OpenFile:
    """A published file while it's sent: replaced or withdrawn meanwhile, it stays the same."""

    descriptor: int
    size: int
    modified_ns: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content from its beginning; closes the file."""
        try:
            while chunk := await to_thread.run_sync(os.read, self.descriptor, _CHUNK):
                yield chunk
        finally:
            os.close(self.descriptor)


async def file_response(path: Path, headers: dict[str, str]) -> Response:
    """A published file as it is at this moment; 404 when there is none."""
    media_type = "text/xml" if path.name.endswith(".xml") else _BINARY
    file = await to_thread.run_sync(_open_file, path)
    if file is None:
        return not_found()
    described = {
        "Content-Length": str(file.size),
        "Last-Modified": formatdate(file.modified_ns // 10**9, usegmt=True),
        "ETag": f'"{file.modified_ns:x}-{file.size:x}"',
        **headers,
    }
    if file.size <= _CHUNK:
        chunks = [chunk async for chunk in file.chunks()]
        return Response(b"".join(chunks), headers=described, media_type=media_type)
    return StreamingResponse(file.chunks(), headers=described, media_type=media_type)


def _open_file(path: Path) -> _OpenFile | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    return _OpenFile(descriptor, status.st_size, status.st_mtime_ns)


def not_found() -> Response:
    """The answer for everything else; it's also how a version that isn't made is told."""
    return Response("not found\n", status_code=404, media_type="text/plain")
