"""How does a private key in a hardware token look to the rest of the program?

As a private key of the ``cryptography`` library that can sign and nothing else, so that requests,
message signatures and configuration signatures are made by the same code for every kind of token.
What a token answers is verified with the public key before anybody gets it: a device that errs must
not put an unprovable signature into evidence. Mechanisms: PKCS#11 v2.40; DigestInfo: RFC 8017 9.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from postroad.crypto.algorithms import curve_size, ecdsa_raw_to_der
from postroad.errors import ConfigurationError, FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Callable

    SignByToken = Callable[[str, str, bytes], bytes]
    """Mechanism (``CKM_…``), name of the digest, data as the mechanism takes it -> its answer."""

_DIGEST_INFO: Final = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


class _StaysInside:
    """What nobody can do with a key of a hardware token."""

    def decrypt(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise _stays_inside()

    def exchange(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise _stays_inside()

    def private_numbers(self) -> NoReturn:
        """Refused."""
        raise _stays_inside()

    def private_bytes(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        raise _stays_inside()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class TokenRsaKey(_StaysInside, rsa.RSAPrivateKey):
    """An RSA key that never leaves its token."""

    def __init__(self, public: rsa.RSAPublicKey, by_token: SignByToken) -> None:
        self._public = public
        self._by_token = by_token

    @property
    def key_size(self) -> int:
        """Bits of the modulus."""
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """The public half."""
        return self._public

    def sign(
        self,
        data: Any,
        padding: Any,
        algorithm: Any,
    ) -> bytes:
        """Sign with PKCS#1 v1.5 or PSS, as ``padding`` says."""
        name, digest = _digested(data, algorithm)
        if _is_pss(padding):
            value = self._by_token("CKM_RSA_PKCS_PSS", name, digest)
        else:
            prefix = _DIGEST_INFO.get(name)
            if prefix is None:
                raise _unsupported(name)
            value = self._by_token("CKM_RSA_PKCS", name, prefix + digest)
        try:
            self._public.verify(value, digest, padding, Prehashed(_HASHES[name]))
        except (InvalidSignature, ValueError):
            raise _wrong_answer() from None
        return value


class TokenEcKey(_StaysInside, ec.EllipticCurvePrivateKey):
    """An EC key that never leaves its token."""

    def __init__(self, public: ec.EllipticCurvePublicKey, by_token: SignByToken) -> None:
        self._public = public
        self._by_token = by_token

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        """Sign with ECDSA; the value is DER, as everywhere in the library."""
        name, digest = _digested(data, signature_algorithm.algorithm)
        # ECDSA uses the leftmost bits only; some devices refuse to cut a longer digest themselves.
        value = self._by_token("CKM_ECDSA", name, digest[: curve_size(self._public)])
        try:
            der = ecdsa_raw_to_der(value)
            self._public.verify(der, digest, ec.ECDSA(Prehashed(_HASHES[name])))
        except (InvalidSignature, MalformedInput, ValueError):
            raise _wrong_answer() from None
        return der


_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    algorithm.name: algorithm
    for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())  # noqa: S303 - the policy on SHA-1 is crypto.algorithms'
}


def _is_pss(scheme: object) -> bool:
    return isinstance(scheme, padding.PSS)


def _digested(data: bytes, algorithm: Prehashed | hashes.HashAlgorithm) -> tuple[str, bytes]:
    """The digest's name and value; data that are one already stay as they are."""
    if isinstance(algorithm, Prehashed):
        name = algorithm._algorithm.name  # noqa: SLF001 - nothing public tells it
        digest = bytes(data)
    else:
        name = algorithm.name
        hasher = hashes.Hash(algorithm)
        hasher.update(data)
        digest = hasher.finalize()
    if name not in _HASHES:
        raise _unsupported(name)
    return name, digest


def _unsupported(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"hardware tokens don't sign with {name}", code=FaultCode.UNSUPPORTED_SIGN_ALGORITHM
    )


def _wrong_answer() -> ConfigurationError:
    return ConfigurationError(
        "the token's signature doesn't verify with the key's public half",
        code=FaultCode.HSM_NON_OPERATIONAL,
    )


def _stays_inside() -> ConfigurationError:
    return ConfigurationError(
        "a key of a hardware token never leaves it", code=FaultCode.KEY_NOT_AVAILABLE
    )
