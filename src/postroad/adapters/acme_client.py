"""How is a certificate ordered from a certification service by ACME (RFC 8555)?

Signatures are the library's (``acme.jws``); what it lacks is done here: no redirects, bounded
answers, one server for everything. The certification service chooses all addresses but the first,
so none of them may lead elsewhere. Everything it says is checked for its shape and believed no
further: whether a certificate is the one wanted is the caller's question.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from acme.jws import JWS
from cryptography import x509
from josepy.b64 import b64decode, b64encode
from josepy.errors import Error as JoseError
from josepy.jwa import HS256, RS256
from josepy.jwk import JWKRSA, JWKOct

from postroad.errors import FaultCode, MalformedInput, PostroadError, UnavailablePeer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from postroad.crypto.certificates import Certificate
    from postroad.ports import FetchedResponse, HttpFetcher

TIMEOUT: Final = 30.0
MAX_ANSWER: Final = 256 * 1024
MAX_RETRY_AFTER: Final = timedelta(days=1)
_NONCE_ATTEMPTS: Final = 3
_T = TypeVar("_T")


class AcmeRefusal(UnavailablePeer):
    """What a certification service refused, or answered instead.

    ``kind`` is the last part of the problem's type (RFC 8555, 6.7), "" when it sent none.
    """

    default_code = FaultCode.ACME_FAILED

    def __init__(self, message: str, *, kind: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds that the service asks to wait; 0 if it doesn't say."""


class _Camel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown members are left out, as RFC 8555, 7.1 wants."""


class DirectoryMeta(_Camel, frozen=True, kw_only=True):
    """What else a directory says."""

    external_account_required: bool = False
    profiles: dict[str, str] = {}


class Directory(_Camel, frozen=True, kw_only=True):
    """Where everything is."""

    new_nonce: str
    new_account: str
    new_order: str
    renewal_info: str = ""
    meta: DirectoryMeta = DirectoryMeta()


class Problem(_Camel, frozen=True, kw_only=True):
    """A problem document (RFC 7807)."""

    type: str = ""
    detail: str = ""

    @property
    def text(self) -> str:
        """What to tell people; bounded and on one line."""
        kind = self.type.rpartition(":")[2]
        return " ".join(f"{self.detail or 'no reason given'} ({kind or 'unknown'})"[:300].split())


class Challenge(_Camel, frozen=True, kw_only=True):
    """One way to prove an identifier."""

    type: str
    url: str = ""
    status: str = "pending"
    token: str = ""
    error: Problem | None = None


class Authorization(_Camel, frozen=True, kw_only=True):
    """Whether an identifier is proven."""

    status: str
    challenges: list[Challenge] = []


class OrderAnswer(_Camel, frozen=True, kw_only=True):
    """How far an order is: pending, ready, processing, valid or invalid."""

    status: str
    authorizations: list[str] = []
    finalize: str = ""
    certificate: str = ""
    error: Problem | None = None


class _Window(_Camel, frozen=True, kw_only=True):
    start: datetime
    end: datetime


class _RenewalInfo(_Camel, frozen=True, kw_only=True):
    suggested_window: _Window


@dataclass(frozen=True, slots=True)
class RenewalWindow:
    """When a service suggests to renew (RFC 9773, 4.2), and when to ask again."""

    start: datetime
    end: datetime
    ask_again_in: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Polled:
    """A resource, and how long the service asks to wait for the next look (0: it doesn't say)."""

    order: OrderAnswer
    retry_after: float


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """What binds a new account to one that the service knows (RFC 8555, 7.3.4)."""

    kid: str
    mac_key: bytes

    def __repr__(self) -> str:
        return f"ExternalAccount({self.kid!r}, [redacted])"


class AcmeClient:
    """Speaks with one certification service in the name of one account.

    All methods raise ``AcmeRefusal`` with what the service refuses, ``UnavailablePeer`` when it
    doesn't answer and ``MalformedInput`` when it says what isn't ACME.
    """

    def __init__(
        self, fetcher: HttpFetcher, directory_url: str, key: RSAPrivateKey, *, user_agent: str
    ) -> None:
        self.user_agent = user_agent
        """Changed by callers that name a certificate profile in it."""
        self._fetcher = fetcher
        self._directory_url = directory_url
        self._origin = _origin(directory_url)
        self._key = JWKRSA(key=key)
        self._account = ""
        self._nonce: bytes | None = None
        self._directory: Directory | None = None

    async def directory(self) -> Directory:
        """Where everything is; asked once."""
        if self._directory is None:
            response = await self._fetch("GET", self._directory_url)
            self._directory = _parsed(response.body, Directory)
        return self._directory

    async def open_account(self, contact: str | None, external: ExternalAccount | None) -> None:
        """Make the account of the key, or find it; everything after this is done in its name.

        Raises ``MalformedInput`` when the service wants an external account and there is none.
        """
        directory = await self.directory()
        wanted: dict[str, object] = {"termsOfServiceAgreed": True}
        if contact:
            wanted["contact"] = [f"mailto:{contact}"]
        if directory.meta.external_account_required:
            if external is None:
                raise AcmeRefusal(
                    "the certification service wants an external account: write its key into "
                    "acme.yml"
                )
            wanted["externalAccountBinding"] = self._binding(external, directory.new_account)
        self._account = ""
        response = await self._post(directory.new_account, wanted)
        location = response.header("location") or ""
        self._require_here(location)
        self._account = location

    async def new_order(
        self, name: str, *, not_after: datetime, profile: str | None, replaces: Certificate | None
    ) -> tuple[str, OrderAnswer]:
        """Order a certificate for one DNS name; the order's address and how far it is.

        ``profile`` is named only to a service that offers it, and ``replaces`` only to one that
        has renewal information.
        """
        directory = await self.directory()
        wanted: dict[str, object] = {
            "identifiers": [{"type": "dns", "value": name}],
            "notAfter": not_after.isoformat(timespec="seconds"),
        }
        if profile in directory.meta.profiles:
            wanted["profile"] = profile
        renewed = None if replaces is None else renewal_name(replaces)
        if directory.renewal_info and renewed:
            wanted["replaces"] = renewed
        response = await self._post(directory.new_order, wanted)
        url = response.header("location") or ""
        self._require_here(url)
        return url, _parsed(response.body, OrderAnswer)

    async def order(self, url: str) -> Polled:
        """How far an order is."""
        response = await self._post(url, None)
        return Polled(_parsed(response.body, OrderAnswer), _retry_after(response))

    async def authorization(self, url: str) -> Authorization:
        """Whether an identifier is proven, and how it can be."""
        return _parsed((await self._post(url, None)).body, Authorization)

    async def accept(self, challenge: Challenge) -> float:
        """Ask the service to look at a challenge now; how long it wants to take, in seconds."""
        return _retry_after(await self._post(challenge.url, {}))

    def shown_for(self, token: str) -> str:
        """What the host must show for a challenge's token (RFC 8555, 8.1)."""
        return f"{token}.{b64encode(self._key.thumbprint()).decode('ascii')}"

    async def finalize(self, order: OrderAnswer, csr: bytes) -> OrderAnswer:
        """Hand in the certificate request (DER)."""
        encoded = b64encode(csr).decode("ascii")
        response = await self._post(order.finalize, {"csr": encoded})
        return _parsed(response.body, OrderAnswer)

    async def certificate(self, order: OrderAnswer) -> bytes:
        """The certificate (DER) of a valid order: the first of the chain, as in the reference."""
        response = await self._post(order.certificate, None)
        end = b"-----END CERTIFICATE-----"
        first, found, _rest = response.body.partition(end)
        if not found:
            raise _malformed("it sent no certificate")
        return first.strip() + b"\n" + end + b"\n"

    async def renewal_window(self, certificate: Certificate) -> RenewalWindow | None:
        """When the service suggests to renew; None if it doesn't."""
        base, name = (await self.directory()).renewal_info, renewal_name(certificate)
        if not base or not name:
            return None
        response = await self._fetch("GET", f"{base.rstrip('/')}/{name}")
        window = _parsed(response.body, _RenewalInfo).suggested_window
        if window.start.tzinfo is None or window.end.tzinfo is None or window.end < window.start:
            raise _malformed("its suggested window is none")
        return RenewalWindow(window.start, window.end, _retry_after(response))

    # ---- requests

    async def _post(self, url: str, payload: Mapping[str, object] | None) -> FetchedResponse:
        """POST a signed payload, or POST-as-GET without one; a refused nonce is replaced."""
        data = b"" if payload is None else json.dumps(payload).encode()
        for attempt in range(1, _NONCE_ATTEMPTS + 1):
            body = self._signed(url, data, await self._take_nonce())
            try:
                return await self._fetch("POST", url, body)
            except AcmeRefusal as refusal:
                if refusal.kind != "badNonce" or attempt == _NONCE_ATTEMPTS:
                    raise
        raise AssertionError  # the last attempt returned or raised

    async def _take_nonce(self) -> bytes:
        if self._nonce is None:
            await self._fetch("HEAD", (await self.directory()).new_nonce)
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            raise _malformed("it gave no nonce")
        return nonce

    async def _fetch(self, method: str, url: str, body: bytes = b"") -> FetchedResponse:
        self._require_here(url)
        headers = [("User-Agent", self.user_agent)]
        if method == "POST":
            headers.append(("Content-Type", "application/jose+json"))
        try:
            response = await self._fetcher.fetch(
                method, url, headers=headers, body=body, timeout=TIMEOUT, max_body=MAX_ANSWER
            )
        except PostroadError as error:
            raise AcmeRefusal(f"the certification service: {error.message}") from error
        self._keep_nonce(response)
        if 200 <= response.status < 300:
            return response
        raise _refusal(response)

    def _keep_nonce(self, response: FetchedResponse) -> None:
        text = response.header("replay-nonce")
        if text is not None:
            try:
                self._nonce = b64decode(text)
            except (ValueError, TypeError) as error:
                raise _malformed("its nonce is not base64url") from error

    def _signed(self, url: str, payload: bytes, nonce: bytes) -> bytes:
        try:
            signed = JWS.sign(
                payload, key=self._key, alg=RS256, nonce=nonce, url=url, kid=self._account or None
            )
        except JoseError as error:
            raise _malformed("what it said can't be signed") from error
        text: str = signed.json_dumps()
        return text.encode()

    def _binding(self, external: ExternalAccount, url: str) -> object:
        key = json.dumps(self._key.public_key().to_json()).encode()
        mac = JWKOct(key=external.mac_key)
        bound = JWS.sign(key, key=mac, alg=HS256, nonce=None, url=url, kid=external.kid)
        return json.loads(bound.json_dumps())

    def _require_here(self, url: str) -> None:
        """Refuse an address at another server: it could be any of our own network."""
        if _origin(url) != self._origin:
            raise _malformed(f"it sent us to {url[:200]!r}, which is not its own")


def renewal_name(certificate: Certificate) -> str | None:
    """How renewal information is asked for (RFC 9773, 4.1); None without a key identifier."""
    try:
        extension = certificate.x509.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    issuer = extension.value.key_identifier
    serial = certificate.serial.to_bytes(certificate.serial.bit_length() // 8 + 1, "big")
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (issuer or b"", serial)]
    return None if issuer is None else b".".join(parts).decode("ascii")


def _origin(url: str) -> tuple[str, str]:
    """Scheme and authority; ``MalformedInput`` unless it is http or https."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _malformed("an address can't be read") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise _malformed(f"{url[:200]!r} is no address of the web")
    return parts.scheme, parts.netloc.lower()


def _refusal(response: FetchedResponse) -> AcmeRefusal:
    wait = _retry_after(response)
    try:
        problem = msgspec.json.decode(response.body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return AcmeRefusal(
            f"the certification service answered with status {response.status}", retry_after=wait
        )
    kind = problem.type.rpartition(":")[2]
    return AcmeRefusal(
        f"the certification service refused: {problem.text}", kind=kind, retry_after=wait
    )


def _retry_after(response: FetchedResponse) -> float:
    """Seconds of Retry-After; 0 for none or a date, which nobody needs here."""
    text = (response.header("retry-after") or "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return 0.0
    return min(float(text), MAX_RETRY_AFTER.total_seconds())


def _parsed(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(f"its answer is not ACME: {error}") from error


def _malformed(what: str) -> MalformedInput:
    return MalformedInput(f"the certification service: {what}", code=FaultCode.ACME_FAILED)
