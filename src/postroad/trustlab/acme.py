"""How does the lab issue certificates to programs: ACME (RFC 8555) with HTTP-01?

===========================  ==================================================================
``GET /acme/directory``      where everything is; what else is possible
``…/new-nonce``              ``HEAD`` or ``GET``
``POST …/new-account``       external account binding when ``acme.json`` names any
``POST …/new-order``         one DNS name; ``profile`` and ``replaces`` may stand in it
``POST …/order/ID``          and ``…/authorization/ID``, ``…/challenge/ID``, ``…/finalize/ID``,
                             ``…/certificate/ID``, all of one order
``POST …/revoke``            by the account that ordered it
``GET …/renewal-info/NAME``  RFC 9773, when ``acme.json`` says so
===========================  ==================================================================

A challenge is proven by really fetching it from the named host. What is not here: key change,
deactivation, wildcards, other challenges.
"""

from __future__ import annotations

import asyncio
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from josepy.b64 import b64decode, b64encode
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from postroad.adapters.http_client import HttpClient
from postroad.errors import ConfigurationError, PostroadError
from postroad.trustlab.acme_issuing import (
    certificate_of,
    issue_for,
    moment_of,
    renewal_name,
    serial_of_renewal_name,
)
from postroad.trustlab.acme_jws import AcmeProblem, malformed, read_signed, verify_binding
from postroad.trustlab.acme_orders import AcmeRegister
from postroad.trustlab.acme_settings import PROFILES, load_acme_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from josepy.jwk import JWK
    from starlette.requests import Request

    from postroad.clock import Clock
    from postroad.trustlab.acme_jws import SignedRequest
    from postroad.trustlab.acme_orders import Account, Order
    from postroad.trustlab.acme_settings import AcmeSettings
    from postroad.trustlab.authority import TrustLab
    from postroad.trustlab.home import LabHome

    Misbehave = Callable[[str], Awaitable[object]]

FETCH_TIMEOUT: Final = 10.0
MAX_ANSWER: Final = 1024
RETRY_AFTER: Final = 1
RENEWAL_WINDOW: Final = timedelta(days=1)
_PROBLEM: Final = "application/problem+json"


class AcmeService:
    """The endpoint behind the routes."""

    def __init__(
        self, home: LabHome, clock: Clock, lab: Callable[[], TrustLab], misbehave: Misbehave
    ) -> None:
        self._home = home
        self._clock = clock
        self._lab = lab
        self._misbehave = misbehave
        self._register = AcmeRegister()
        self._validations: set[asyncio.Future[None]] = set()
        self._http = HttpClient()

    def routes(self) -> list[Route]:
        """The routes of the endpoint."""
        of_an_order = {
            "order": self._show_order,
            "authorization": self._show_authorization,
            "challenge": self._take_challenge,
            "finalize": self._finalize,
            "certificate": self._show_certificate,
        }
        return [
            Route("/acme/directory", self._guarded(self._directory)),
            Route("/acme/new-nonce", self._guarded(self._new_nonce)),
            Route("/acme/new-account", self._guarded(self._new_account), methods=["POST"]),
            Route("/acme/new-order", self._guarded(self._new_order), methods=["POST"]),
            Route("/acme/revoke", self._guarded(self._revoke), methods=["POST"]),
            Route("/acme/renewal-info/{name}", self._guarded(self._renewal_info)),
            *(
                Route(f"/acme/{what}/{{id}}", self._guarded(self._of_order(show)), methods=["POST"])
                for what, show in of_an_order.items()
            ),
        ]

    # ---- what all requests share

    def _guarded(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Refusals become problem documents; every answer to a POST brings a new nonce."""

        async def guarded(request: Request) -> Response:
            await self._misbehave("acme")
            try:
                response = await handle(request)
            except AcmeProblem as problem:
                response = JSONResponse(
                    problem.document(), problem.status, media_type=_PROBLEM, headers=_index(request)
                )
            if request.method == "POST":
                response.headers["Replay-Nonce"] = self._register.new_nonce()
                response.headers["Cache-Control"] = "no-store"
            return response

        return guarded

    async def _signed(self, request: Request) -> SignedRequest:
        if request.headers.get("content-type") != "application/jose+json":
            raise AcmeProblem("malformed", "the content type is not application/jose+json", 415)
        return read_signed(
            await request.body(),
            url=str(request.url),
            use_nonce=self._register.use_nonce,
            key_of=lambda kid: self._key_of(kid, request),
        )

    def _key_of(self, kid: str, request: Request) -> JWK | None:
        account = self._register.accounts.get(kid.removeprefix(_url(request, "account/")))
        return None if account is None else account.jwk

    async def _of_account(self, request: Request) -> tuple[Account, SignedRequest]:
        signed = await self._signed(request)
        if signed.kid is None:
            raise malformed("only a new account is signed by a key, all else by an account")
        return self._register.accounts[signed.kid.rpartition("/")[2]], signed

    def _of_order(
        self, show: Callable[[Request, SignedRequest, Order], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            account, signed = await self._of_account(request)
            order = self._register.order_for(
                request.path_params["id"], account.id, self._clock.now()
            )
            return await show(request, signed, order)

        return handle

    def _settings(self) -> AcmeSettings:
        try:
            return load_acme_settings(self._home.path / "acme.json")
        except ConfigurationError as error:
            raise AcmeProblem("serverInternal", error.message, 500) from error

    # ---- resources

    async def _directory(self, request: Request) -> Response:
        settings = self._settings()
        meta: dict[str, object] = {"profiles": {name: f"{name} certificates" for name in PROFILES}}
        if settings.external_accounts:
            meta["externalAccountRequired"] = True
        directory: dict[str, object] = {
            "newNonce": _url(request, "new-nonce"),
            "newAccount": _url(request, "new-account"),
            "newOrder": _url(request, "new-order"),
            "revokeCert": _url(request, "revoke"),
            "meta": meta,
        }
        if settings.renew_before_days is not None:
            directory["renewalInfo"] = _url(request, "renewal-info")
        return JSONResponse(directory)

    async def _new_nonce(self, request: Request) -> Response:
        headers = {"Replay-Nonce": self._register.new_nonce(), "Cache-Control": "no-store"}
        return Response(
            status_code=200 if request.method == "HEAD" else 204,
            headers={**headers, **_index(request)},
        )

    async def _new_account(self, request: Request) -> Response:
        signed = await self._signed(request)
        if signed.kid is not None:
            raise malformed("a new account is signed by its key")
        wanted = signed.document()
        account = self._register.account_of(signed.jwk)
        status = 200
        if account is None:
            if wanted.get("onlyReturnExisting"):
                raise AcmeProblem("accountDoesNotExist", "there is no account of this key")
            contact = wanted.get("contact", [])
            if not isinstance(contact, list) or not all(isinstance(each, str) for each in contact):
                raise malformed("contact is not a list of addresses")
            bound_to = self._bound_to(request, signed.jwk, wanted)
            account = self._register.add_account(signed.jwk, tuple(contact), bound_to)
            status = 201
        return JSONResponse(
            {"status": "valid", "contact": list(account.contact), "orders": ""},
            status,
            headers={"Location": _url(request, f"account/{account.id}")},
        )

    def _bound_to(self, request: Request, jwk: JWK, wanted: dict[str, object]) -> str | None:
        known = self._settings().external_accounts
        if not known:
            return None
        binding = wanted.get("externalAccountBinding")
        if binding is None:
            raise AcmeProblem(
                "externalAccountRequired", "accounts here are bound to an external one", 403
            )
        keys = {kid: external.mac_key.encode() for kid, external in known.items()}
        return verify_binding(binding, jwk=jwk, url=str(request.url), keys=keys)

    async def _new_order(self, request: Request) -> Response:
        account, signed = await self._of_account(request)
        wanted = signed.document()
        profile = wanted.get("profile")
        if profile is not None and profile not in PROFILES:
            raise AcmeProblem("invalidProfile", "there is no such profile")
        not_after, now = moment_of(wanted.get("notAfter")), self._clock.now()
        if not_after is not None and not_after <= now:
            raise malformed("notAfter is over")
        order = self._register.add_order(account.id, wanted, not_after=not_after, at=now)
        return _order_answer(request, order, 201)

    async def _show_order(self, request: Request, signed: SignedRequest, order: Order) -> Response:
        signed.require_empty()
        return _order_answer(request, order)

    async def _show_authorization(
        self, request: Request, signed: SignedRequest, order: Order
    ) -> Response:
        signed.require_empty()
        return JSONResponse(
            {
                "status": order.authorization,
                "expires": order.expires.isoformat(),
                "identifier": {"type": "dns", "value": order.name},
                "challenges": [_challenge(request, order)],
            }
        )

    async def _take_challenge(
        self, request: Request, signed: SignedRequest, order: Order
    ) -> Response:
        if signed.payload and order.challenge == "pending" and order.status == "pending":
            order.challenge = "processing"
            account = self._register.accounts[order.account]
            validation = asyncio.ensure_future(self._validate(order, account.jwk))
            self._validations.add(validation)
            validation.add_done_callback(self._validations.discard)
        return JSONResponse(
            _challenge(request, order),
            headers={
                "Link": f'<{_url(request, f"authorization/{order.id}")}>;rel="up"',
                "Retry-After": str(RETRY_AFTER),
            },
        )

    async def _finalize(self, request: Request, signed: SignedRequest, order: Order) -> Response:
        if order.status != "ready":
            raise AcmeProblem("orderNotReady", f"the order is {order.status}", 403)
        now, settings = self._clock.now(), self._settings()
        bound = settings.external_accounts.get(
            self._register.accounts[order.account].bound_to or ""
        )
        lab = self._lab()
        certificate = issue_for(
            order,
            _base64(signed.document().get("csr")),
            lab,
            settings,
            user_agent=request.headers.get("user-agent", ""),
            bound_profile=None if bound is None else bound.profile,
            at=now,
        )
        self._home.record_issued(certificate, at=now)
        order.certificate = certificate.pem + lab.ca_certificate.pem
        order.status = "valid"
        return _order_answer(request, order)

    async def _show_certificate(
        self, _request: Request, signed: SignedRequest, order: Order
    ) -> Response:
        signed.require_empty()
        if not order.certificate:
            raise AcmeProblem("malformed", "there is no certificate yet", 404)
        return Response(order.certificate, media_type="application/pem-certificate-chain")

    async def _revoke(self, request: Request) -> Response:
        account, signed = await self._of_account(request)
        certificate = certificate_of(signed.document().get("certificate"))
        mine = any(
            order.account == account.id and order.certificate.startswith(certificate.pem)
            for order in self._register.orders.values()
        )
        if not mine:
            raise AcmeProblem("unauthorized", "this account didn't order the certificate", 403)
        lab, now = self._lab(), self._clock.now()
        if certificate.serial in lab.revoked:
            raise AcmeProblem("alreadyRevoked", "the certificate is revoked")
        lab.revoke(certificate.serial, at=now)
        self._home.record_revoked(certificate.serial, at=now)
        return Response(status_code=200)

    async def _renewal_info(self, request: Request) -> Response:
        before = self._settings().renew_before_days
        wanted = request.path_params["name"]
        found = self._lab().issued.get(serial_of_renewal_name(wanted))
        if before is None or found is None or renewal_name(found) != wanted:
            raise AcmeProblem("malformed", "nothing is known of that certificate", 404)
        start = found.not_after - timedelta(days=before)
        window = {"start": start.isoformat(), "end": (start + RENEWAL_WINDOW).isoformat()}
        return JSONResponse({"suggestedWindow": window}, headers={"Retry-After": "21600"})

    # ---- HTTP-01

    async def _validate(self, order: Order, jwk: JWK) -> None:
        """Fetch what the client shows (RFC 8555, 8.3), and note how that went."""
        expected = f"{order.token}.{b64encode(jwk.thumbprint()).decode('ascii')}"
        try:
            port = self._settings().challenge_port
            shown = await self._http.fetch(
                "GET",
                f"http://{order.name}:{port}/.well-known/acme-challenge/{order.token}",
                timeout=FETCH_TIMEOUT,
                max_body=MAX_ANSWER,
            )
            if shown.status != 200:
                _unproven("unauthorized", f"the host answered with status {shown.status}")
            if not hmac.compare_digest(shown.body.rstrip(), expected.encode("ascii")):
                _unproven("unauthorized", "the host showed something else")
        except PostroadError as error:
            order.proved(AcmeProblem("connection", error.message))
        except AcmeProblem as problem:
            order.proved(problem)
        else:
            order.proved(None)


def _unproven(kind: str, detail: str) -> NoReturn:
    raise AcmeProblem(kind, detail, 403)


def _order_answer(request: Request, order: Order, status: int = 200) -> Response:
    answer: dict[str, object] = {
        "status": order.status,
        "expires": order.expires.isoformat(),
        "identifiers": [{"type": "dns", "value": order.name}],
        "authorizations": [_url(request, f"authorization/{order.id}")],
        "finalize": _url(request, f"finalize/{order.id}"),
    }
    if order.not_after is not None:
        answer["notAfter"] = order.not_after.isoformat()
    if order.certificate:
        answer["certificate"] = _url(request, f"certificate/{order.id}")
    if order.problem is not None:
        answer["error"] = order.problem.document()
    return JSONResponse(answer, status, headers={"Location": _url(request, f"order/{order.id}")})


def _challenge(request: Request, order: Order) -> dict[str, object]:
    challenge: dict[str, object] = {
        "type": "http-01",
        "url": _url(request, f"challenge/{order.id}"),
        "status": order.challenge,
        "token": order.token,
    }
    if order.problem is not None:
        challenge["error"] = order.problem.document()
    return challenge


def _url(request: Request, path: str) -> str:
    return f"{request.base_url}acme/{path}"


def _index(request: Request) -> dict[str, str]:
    return {"Link": f'<{_url(request, "directory")}>;rel="index"'}


def _base64(value: object) -> bytes:
    try:
        return b64decode(str(value))
    except (ValueError, TypeError) as error:
        raise malformed("the certificate request is not base64url") from error
