"""Which address gives which file of a configuration proxy?

As the reference's proxy has it: ``/<proxy instance>/conf[?version=N]`` is the signed directory of a
version, of the oldest without one; everything it lists lies below the same first segment. A version
that isn't there is 404. Source: PR-GCONF 2.5; reference: the web server's rules of its proxy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from postroad.centralserver.distribution import (
    directory_headers,
    file_response,
    not_found,
    requested_version,
)
from postroad.configurationproxy.settings import DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from postroad.clock import Clock

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", re.ASCII)
_GENERATION = re.compile(r"[0-9]{12,14}", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9_%*+-][A-Za-z0-9._%*+-]{0,254}", re.ASCII)
_MAX_SEGMENTS = 12


def distribution_application(public: Path, clock: Clock) -> Starlette:
    """The web application over the published files, for GET and HEAD."""

    async def directory(request: Request) -> Response:
        name = request.path_params["name"]
        if not _NAME.fullmatch(name):
            return not_found()
        version = requested_version(request.scope["query_string"])
        path = public / name / f"{DIRECTORY}-v{version}"
        return await file_response(path, directory_headers(clock.now()))

    async def part(request: Request) -> Response:
        name, generation, rest = (request.path_params[key] for key in ("name", "moment", "rest"))
        segments = rest.split("/")
        # Nothing else is a part, and nothing that matches leaves the public directory.
        if not (
            _NAME.fullmatch(name)
            and _GENERATION.fullmatch(generation)
            and len(segments) <= _MAX_SEGMENTS
            and all(_SEGMENT.fullmatch(segment) for segment in segments)
        ):
            return not_found()
        return await file_response(public.joinpath(name, generation, *segments), {})

    application = Starlette(
        routes=[
            Route(f"/{{name}}/{DIRECTORY}", directory),
            Route("/{name}/{moment}/{rest:path}", part),
        ]
    )
    application.router.redirect_slashes = False
    return application
