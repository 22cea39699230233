"""How does the lab answer over HTTP? The composition root of the trust lab.

========================  =====================================================================
``POST /testca/sign``     form with ``certreq`` (file) and ``type`` (sign, auth or auto): a PEM
                          certificate, as the reference's test CA answers
``GET /testca/certs/…``   ``root-ca.pem``, ``ca.pem``, ``ocsp.pem``, ``root-ocsp.pem``, ``tsa.pem``
``POST /ocsp``            RFC 6960; also ``GET /ocsp/BASE64``
``POST /tsa``             RFC 3161
``/acme/directory``       ACME (see :mod:`postroad.trustlab.acme`)
``GET, POST /lab/faults`` the fault plan (see :mod:`postroad.trustlab.faults`); ``DELETE`` ends it
``POST /lab/revoke``      ``{"serial": "hex"}``
========================  =====================================================================

The reference serves OCSP and time-stamps at ``/`` of ports of their own (8888 and 8899); so does
this application, when it's told which ports those are. ``/lab`` is for callers on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from postroad.errors import ConfigurationError, MalformedInput
from postroad.trustlab.acme import AcmeService
from postroad.trustlab.faults import FaultPlan
from postroad.trustlab.home import parse_serial
from postroad.trustlab.issuing import MAX_REQUEST_BYTES
from postroad.trustlab.profiles import CertificateKind

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from postroad.clock import Clock
    from postroad.trustlab.authority import TrustLab
    from postroad.trustlab.faults import ServiceFaults
    from postroad.trustlab.home import LabHome

MAX_BODY_BYTES: Final = 128 * 1024
_CERTIFICATES: Final = ("root-ca", "ca", "ocsp", "root-ocsp", "tsa")
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Trust lab</title>
<h1>Trust lab</h1>
<p>A certification authority, OCSP responder and time-stamping authority for tests. Nothing it
signs means anything outside of a trial.</p>
<form method="post" enctype="multipart/form-data" action="/testca/sign">
<p><label>Certificate request <input type="file" name="certreq" required></label>
<label><input type="radio" name="type" value="sign"> signing</label>
<label><input type="radio" name="type" value="auth"> authentication</label>
<label><input type="radio" name="type" value="auto" checked> by the file's name</label>
<button>Sign</button></p></form>
<p>Certificates: {links}</p>
<p>OCSP: <code>POST /ocsp</code>. Time-stamps: <code>POST /tsa</code>.</p>
"""


class LabService:
    """The lab behind the routes: follows its home's register and fault plan."""

    def __init__(self, home: LabHome, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._lab = home.load()
        self._register_size = home.register_size()

    async def page(self, request: Request) -> Response:
        """The front page, with the form that signs requests."""
        del request
        links = ", ".join(
            f'<a href="/testca/certs/{name}.pem">{name}.pem</a>' for name in _CERTIFICATES
        )
        return HTMLResponse(_PAGE.format(links=links))

    async def certificate(self, request: Request) -> Response:
        """One of the lab's own certificates as PEM."""
        name = request.path_params["name"]
        if name not in _CERTIFICATES:
            raise HTTPException(404)
        pem = self._home.certificate_path(name).read_bytes()
        return Response(pem, media_type="application/x-pem-file")

    async def sign(self, request: Request) -> Response:
        """Sign the certificate request of a form."""
        faults = await self.misbehave("ca")
        async with request.form(
            max_files=1, max_fields=5, max_part_size=4 * MAX_REQUEST_BYTES
        ) as form:
            upload, chosen = form.get("certreq"), form.get("type", "auto")
            name = upload.filename or "" if isinstance(upload, UploadFile) else ""
            if isinstance(upload, UploadFile):
                data = await upload.read(MAX_REQUEST_BYTES + 1)
            else:
                data = (upload or "").encode()
        signing = chosen == "sign" or (chosen == "auto" and "sign" in name)
        kind = CertificateKind.SIGN if signing else CertificateKind.AUTH
        now = self._clock.now() + faults.shift
        try:
            issued = self._lab.sign_request(data, kind, at=now)
        except MalformedInput as error:
            return PlainTextResponse(f"{error.message}\n", 400)
        self._home.record_issued(issued, at=now)
        stem = "".join(char for char in name.rpartition(".")[0] if char.isalnum() or char in "-_.")
        file_name = stem.replace("_csr_", "_crt_").encode("ascii", "ignore").decode()
        disposition = f'attachment; filename="{file_name or kind.value}.pem"'
        return Response(
            issued.pem,
            media_type="application/octet-stream",
            headers={"Content-Disposition": disposition},
        )

    async def ocsp(self, request: Request) -> Response:
        """Answer an OCSP request, posted or in the path."""
        faults = await self.misbehave("ocsp")
        if request.method == "GET":
            try:
                encoded = unquote_to_bytes(request.path_params["request"])
                data = base64.b64decode(encoded, validate=True)
            except (ValueError, binascii.Error):
                raise HTTPException(400) from None
        else:
            _require_type(request, "application/ocsp-request")
            data = await request.body()
        self._follow_register()
        moment = self._clock.now() + faults.shift
        answer = self._lab.answer_ocsp(
            data, at=moment, force=faults.forced_status, foreign=faults.foreign
        )
        return Response(
            b"not OCSP" if faults.broken else answer, media_type="application/ocsp-response"
        )

    async def timestamp(self, request: Request) -> Response:
        """Answer a time-stamp request."""
        faults = await self.misbehave("tsa")
        _require_type(request, "application/timestamp-query")
        moment = self._clock.now() + faults.shift
        answer = self._lab.answer_timestamp(await request.body(), at=moment, foreign=faults.foreign)
        return Response(
            b"no token" if faults.broken else answer, media_type="application/timestamp-reply"
        )

    async def faults(self, request: Request) -> Response:
        """Show, change or end the fault plan."""
        _require_local(request)
        plan = self._home.load_faults()
        if request.method == "POST":
            _require_type(request, "application/json")
            try:
                plan = plan.updated(await request.body())
            except MalformedInput as error:
                return PlainTextResponse(f"{error.message}\n", 400)
            self._home.store_faults(plan)
        elif request.method == "DELETE":
            plan = FaultPlan()
            self._home.store_faults(plan)
        return Response(plan.encode(), media_type="application/json")

    async def revoke(self, request: Request) -> Response:
        """Revoke a certificate by its serial number."""
        _require_local(request)
        _require_type(request, "application/json")
        try:
            serial = parse_serial(str(json.loads(await request.body())["serial"]))
            self._follow_register()
            now = self._clock.now()
            self._lab.revoke(serial, at=now)
        except (ValueError, KeyError, TypeError, RecursionError):
            return PlainTextResponse('expected {"serial": "hexadecimal"}\n', 400)
        except ConfigurationError as error:
            return PlainTextResponse(f"{error.message}\n", 404)
        self._home.record_revoked(serial, at=now)
        return JSONResponse({"revoked": f"{serial:x}"})

    async def misbehave(self, service: str) -> ServiceFaults:
        """Do what the fault plan says of a service; the rest of it is returned."""
        faults: ServiceFaults = getattr(self._home.load_faults(), service)
        if faults.delay:
            await asyncio.sleep(faults.delay)
        if faults.stopped:
            raise HTTPException(503)
        return faults

    def current_lab(self) -> TrustLab:
        """The lab with what other processes have added to its register."""
        self._follow_register()
        return self._lab

    def _follow_register(self) -> None:
        size = self._home.register_size()
        if size != self._register_size:
            self._home.load_register(self._lab)
            self._register_size = size


class BodyLimit:
    """ASGI wrapper, of HTTP alone: bounds bodies and routes by port."""

    def __init__(self, app: ASGIApp, ports: dict[int, str]) -> None:
        self._app = app
        self._ports = ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        server = scope.get("server")
        path = self._ports.get(server[1]) if server else None
        if path is not None and scope["path"] == "/" and scope["method"] == "POST":
            scope = {**scope, "path": path, "raw_path": path.encode()}
        left = MAX_BODY_BYTES

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)
            return message

        await self._app(scope, bounded, send)


def build_app(
    home: LabHome, clock: Clock, *, ocsp_port: int | None = None, tsa_port: int | None = None
) -> ASGIApp:
    """Compose the application; ``ConfigurationError`` if there is no lab in ``home``."""
    service = LabService(home, clock)
    routes = [
        Route("/", service.page),
        Route("/testca", service.page),
        Route("/testca/sign", service.sign, methods=["POST"]),
        Route("/testca/certs/{name}.pem", service.certificate),
        Route("/ocsp", service.ocsp, methods=["POST"]),
        Route("/ocsp/{request:path}", service.ocsp, methods=["GET"]),
        Route("/tsa", service.timestamp, methods=["POST"]),
        Route("/lab/faults", service.faults, methods=["GET", "POST", "DELETE"]),
        Route("/lab/revoke", service.revoke, methods=["POST"]),
    ]
    ports = {ocsp_port: "/ocsp", tsa_port: "/tsa"}
    own_ports = {port: path for port, path in ports.items() if port is not None}
    acme = AcmeService(home, clock, service.current_lab, service.misbehave)
    return BodyLimit(Starlette(routes=[*routes, *acme.routes()]), own_ports)


def _require_type(request: Request, expected: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise HTTPException(415, f"expected {expected}")


def _require_local(request: Request) -> None:
    """Refuse callers from elsewhere, and pages from elsewhere in a browser here."""
    host = request.url.hostname or ""
    caller = request.client.host if request.client else ""
    if not (_is_loopback(caller) and (host == "localhost" or _is_loopback(host))):
        raise HTTPException(403, "only for callers on this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
