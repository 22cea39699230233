"""Is a request to the lab's ACME endpoint signed as RFC 8555, 6.2 to 6.5 asks?

Strict where clients go wrong: the protected header names an algorithm of the list, this very
address, one nonce that was given out and not used yet, and either the key or the account.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from josepy.b64 import b64decode
from josepy.errors import Error as JoseError
from josepy.jwa import ES256, ES384, HS256, RS256
from josepy.jwk import JWK, JWKEC, JWKRSA

from postroad.crypto.unreadable import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from josepy.jwa import JWASignature

MIN_RSA_BITS: Final = 2048
_UNREADABLE_KEY: Final[tuple[type[Exception], ...]] = (JoseError, AssertionError, *UNREADABLE)
_ALGORITHMS: Final = {
    "RS256": RS256,
    "ES256": ES256,
    "ES384": ES384,
}
_MEMBERS: Final = {"protected", "payload", "signature"}


class AcmeProblem(Exception):
    """A refusal: a problem document (RFC 7807) of the ACME name space."""

    def __init__(self, kind: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.status = status

    def document(self) -> dict[str, object]:
        """The problem document."""
        return {
            "type": f"urn:ietf:params:acme:error:{self.kind}",
            "detail": self.detail,
            "status": self.status,
        }


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request whose signature was verified."""

    jwk: JWK
    kid: str | None
    """The account's address; None when the key itself was given."""
    payload: bytes
    """Empty for POST-as-GET."""

    def document(self) -> dict[str, object]:
        """The payload as a JSON object."""
        return _object(self.payload, "the payload")

    def require_empty(self) -> None:
        """Refuse a payload where POST-as-GET is meant."""
        if self.payload:
            raise malformed("a resource is read by a POST with an empty payload")


def read_signed(
    body: bytes,
    *,
    url: str,
    use_nonce: Callable[[str], bool],
    key_of: Callable[[str], JWK | None],
) -> SignedRequest:
    """Read and verify a flattened JWS; raises ``AcmeProblem``.

    ``use_nonce`` takes a nonce out of use and tells whether it was good; ``key_of`` gives the key
    of an account by its address.
    """
    outer = _object(body, "the body")
    if set(outer) != _MEMBERS or not all(isinstance(outer[name], str) for name in _MEMBERS):
        raise malformed("the body is not a flattened JWS with a protected header only")
    protected, payload, signature = (
        _decoded(str(outer[name])) for name in ("protected", "payload", "signature")
    )
    header = _object(protected, "the protected header")
    algorithm = _ALGORITHMS.get(str(header.get("alg")))
    if algorithm is None:
        raise AcmeProblem("badSignatureAlgorithm", f"use one of {', '.join(_ALGORITHMS)}")
    if not use_nonce(str(header.get("nonce"))):
        raise AcmeProblem("badNonce", "the nonce was not given out here, or was used before")
    if header.get("url") != url:
        raise AcmeProblem("unauthorized", "the signed url is not the address of this request", 403)
    jwk, kid = _key(header, key_of)
    signed = f"{outer['protected']}.{outer['payload']}".encode("ascii")
    if not _verifies(algorithm, jwk, signed, signature):
        raise malformed("the signature does not verify")
    return SignedRequest(jwk, kid, payload)


def verify_binding(binding: object, *, jwk: JWK, url: str, keys: dict[str, bytes]) -> str:
    """The key identifier of an external account binding (RFC 8555, 7.3.4) that holds.

    ``keys`` are the MAC keys by identifier.
    """
    if not isinstance(binding, dict) or set(binding) != _MEMBERS:
        raise malformed("the external account binding is not a flattened JWS")
    protected, payload, signature = (
        _decoded(str(binding[name])) for name in ("protected", "payload", "signature")
    )
    header = _object(protected, "the header of the external account binding")
    kid = str(header.get("kid"))
    if header.get("alg") != "HS256" or header.get("url") != url or "nonce" in header:
        raise malformed("the external account binding wants HS256, this address and no nonce")
    key = keys.get(kid)
    signed = f"{binding['protected']}.{binding['payload']}".encode("ascii")
    if key is None or not HS256.verify(key, signed, signature):
        raise AcmeProblem("unauthorized", "the external account binding does not verify", 403)
    bound = _jwk(_object(payload, "the bound key"))
    if bound.thumbprint() != jwk.thumbprint():
        raise malformed("the external account binding is for another key")
    return kid


def malformed(detail: str) -> AcmeProblem:
    """The problem ``malformed``."""
    return AcmeProblem("malformed", detail)


def _key(header: dict[str, object], key_of: Callable[[str], JWK | None]) -> tuple[JWK, str | None]:
    if ("jwk" in header) == ("kid" in header):
        raise malformed("the header holds either jwk or kid")
    if "kid" in header:
        kid = str(header["kid"])
        known = key_of(kid)
        if known is None:
            raise AcmeProblem("accountDoesNotExist", "there is no such account")
        return known, kid
    return _jwk(header["jwk"]), None


def _jwk(value: object) -> JWK:
    try:
        jwk = JWK.from_json(value if isinstance(value, dict) else {})
    except _UNREADABLE_KEY as error:
        raise AcmeProblem("badPublicKey", "the key can't be read") from error
    if isinstance(jwk, JWKRSA):
        if jwk.key.key_size < MIN_RSA_BITS:
            raise AcmeProblem("badPublicKey", f"RSA keys have {MIN_RSA_BITS} bits at least")
    elif not isinstance(jwk, JWKEC):
        raise AcmeProblem("badPublicKey", "the key is neither RSA nor EC")
    return jwk.public_key()


def _verifies(algorithm: JWASignature, jwk: JWK, signed: bytes, signature: bytes) -> bool:
    try:
        return bool(algorithm.verify(jwk.key, signed, signature))
    except _UNREADABLE_KEY:  # a key of another kind, for one
        return False


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text)
    except (ValueError, TypeError) as error:
        raise malformed("a part of the JWS is not base64url") from error


def _object(data: bytes, what: str) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise malformed(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a JSON object")
    return value
