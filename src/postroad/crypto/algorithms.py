"""Which digest and signature algorithms exist, under which names, and does a signature verify?

One table joins the three names an algorithm has on the wire (label, XML security URI, Java style
name) with its implementation and with our policy. Sources: RFC 6931 for the URIs, RFC 4050 §3.3
for the raw form of ECDSA values, PR-MESSTRANSP and PR-GCONF for where each form is used.

Policy. SHA-1 and SHA-224 signatures and RSA keys under 2048 bits are refused, unless the caller
judges old evidence and says so (``allow_legacy``). MD5 does not exist here at all. RSA keys above
8192 bits are refused always: their only use would be to make a verifier work hard.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
MIN_LEGACY_RSA_BITS: Final = 1024

_DSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
_DSIG_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_DSIG_2007: Final = "http://www.w3.org/2007/05/xmldsig-more#"
_XMLENC: Final = "http://www.w3.org/2001/04/xmlenc#"
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class RunningDigest(Protocol):
    """A digest being computed while data streams by, as ``hashlib`` objects are."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more data."""
        ...

    def digest(self) -> bytes:
        """Give the digest of everything taken in so far."""
        ...


class DigestAlgorithm(Enum):
    """A digest algorithm of the protocol, by its label (``x-hash-algorithm``, PR-MESSTRANSP).

    >>> DigestAlgorithm.by_name("sha-512").size
    64
    >>> DigestAlgorithm.SHA256.uri
    'http://www.w3.org/2001/04/xmlenc#sha256'
    """

    SHA1 = "SHA-1"
    SHA224 = "SHA-224"
    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"

    __hash__ = object.__hash__  # members are unique; Enum's own is a function written in Python

    @property
    def label(self) -> str:
        """The name used in headers: ``SHA-512``."""
        return self.value

    @property
    def uri(self) -> str:
        """The XML security identifier (RFC 6931)."""
        return _DIGEST_URIS[self]

    @property
    def size(self) -> int:
        """Length of a digest in bytes."""
        return _DIGEST_HASHES[self].digest_size

    @property
    def primitive(self) -> hashes.HashAlgorithm:
        """The same algorithm for the ``cryptography`` library."""
        return _DIGEST_HASHES[self]

    def new(self) -> RunningDigest:
        """Start a digest over a stream."""
        return _DIGEST_STARTS[self]()

    def digest(self, data: bytes) -> bytes:
        """Digest of ``data`` at once."""
        return _DIGEST_STARTS[self](data).digest()

    @classmethod
    def by_uri(cls, uri: str) -> DigestAlgorithm:
        """The algorithm a URI names; ``MalformedInput`` if we don't know it."""
        try:
            return _DIGESTS_BY_URI[uri]
        except KeyError:
            raise MalformedInput(
                f"unknown digest algorithm {uri[:100]!r}", code=FaultCode.CRYPTOGRAPHY_ERROR
            ) from None

    @classmethod
    def by_name(cls, label: str) -> DigestAlgorithm:
        """The algorithm a label names, in any letter case; ``MalformedInput`` if unknown."""
        algorithm = _DIGESTS_BY_NAME.get(label.lower())
        if algorithm is None:
            raise MalformedInput(
                f"unknown digest algorithm {label[:100]!r}", code=FaultCode.CRYPTOGRAPHY_ERROR
            )
        return algorithm


def _started(name: str) -> Callable[..., RunningDigest]:
    return lambda data=b"": hashlib.new(name, data, usedforsecurity=False)


_DIGEST_URIS: Final = {
    DigestAlgorithm.SHA1: _DSIG + "sha1",
    DigestAlgorithm.SHA224: _DSIG_MORE + "sha224",
    DigestAlgorithm.SHA256: _XMLENC + "sha256",
    DigestAlgorithm.SHA384: _DSIG_MORE + "sha384",
    DigestAlgorithm.SHA512: _XMLENC + "sha512",
}
_DIGESTS_BY_URI: Final = {uri: algorithm for algorithm, uri in _DIGEST_URIS.items()}
_DIGESTS_BY_NAME: Final = {algorithm.label.lower(): algorithm for algorithm in DigestAlgorithm}
_DIGEST_HASHES: Final[dict[DigestAlgorithm, hashes.HashAlgorithm]] = {
    DigestAlgorithm.SHA1: hashes.SHA1(),  # noqa: S303 - old archives and OCSP CertIDs only
    DigestAlgorithm.SHA224: hashes.SHA224(),
    DigestAlgorithm.SHA256: hashes.SHA256(),
    DigestAlgorithm.SHA384: hashes.SHA384(),
    DigestAlgorithm.SHA512: hashes.SHA512(),
}
_DIGEST_STARTS: Final[dict[DigestAlgorithm, Callable[..., RunningDigest]]] = {
    DigestAlgorithm.SHA1: _started("sha1"),
    DigestAlgorithm.SHA224: hashlib.sha224,
    DigestAlgorithm.SHA256: hashlib.sha256,
    DigestAlgorithm.SHA384: hashlib.sha384,
    DigestAlgorithm.SHA512: hashlib.sha512,
}


class SignatureAlgorithm(Enum):
    """A signature algorithm of the protocol: key family, digest, URI and Java style name.

    >>> SignatureAlgorithm.RSA_SHA512.uri
    'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512'
    >>> SignatureAlgorithm.by_jca_name("SHA512withECDSA").family
    'EC'
    """

    RSA_SHA1 = ("RSA", DigestAlgorithm.SHA1, _DSIG + "rsa-sha1")
    RSA_SHA224 = ("RSA", DigestAlgorithm.SHA224, _DSIG_MORE + "rsa-sha224")
    RSA_SHA256 = ("RSA", DigestAlgorithm.SHA256, _DSIG_MORE + "rsa-sha256")
    RSA_SHA384 = ("RSA", DigestAlgorithm.SHA384, _DSIG_MORE + "rsa-sha384")
    RSA_SHA512 = ("RSA", DigestAlgorithm.SHA512, _DSIG_MORE + "rsa-sha512")
    RSA_PSS_SHA256 = ("RSA-PSS", DigestAlgorithm.SHA256, _DSIG_2007 + "sha256-rsa-MGF1")
    RSA_PSS_SHA384 = ("RSA-PSS", DigestAlgorithm.SHA384, _DSIG_2007 + "sha384-rsa-MGF1")
    RSA_PSS_SHA512 = ("RSA-PSS", DigestAlgorithm.SHA512, _DSIG_2007 + "sha512-rsa-MGF1")
    ECDSA_SHA1 = ("EC", DigestAlgorithm.SHA1, _DSIG_MORE + "ecdsa-sha1")
    ECDSA_SHA224 = ("EC", DigestAlgorithm.SHA224, _DSIG_MORE + "ecdsa-sha224")
    ECDSA_SHA256 = ("EC", DigestAlgorithm.SHA256, _DSIG_MORE + "ecdsa-sha256")
    ECDSA_SHA384 = ("EC", DigestAlgorithm.SHA384, _DSIG_MORE + "ecdsa-sha384")
    ECDSA_SHA512 = ("EC", DigestAlgorithm.SHA512, _DSIG_MORE + "ecdsa-sha512")

    __hash__ = object.__hash__

    def __init__(self, family: str, digest: DigestAlgorithm, uri: str) -> None:
        self.family = family
        """``RSA`` (PKCS#1 v1.5), ``RSA-PSS`` or ``EC``."""
        self.digest = digest
        """The digest that is signed; for RSA-PSS also the MGF1 digest and the salt length."""
        self.uri = uri
        """The XML security identifier (RFC 6931)."""

    @property
    def jca_name(self) -> str:
        """The Java style name used by the reference's settings: ``SHA512withRSA``."""
        return self.digest.label.replace("-", "") + _JCA_SUFFIXES[self.family]

    @property
    def accepted(self) -> bool:
        """Whether new messages may be signed so; the rest is for old archives only."""
        return self.digest not in _LEGACY_DIGESTS

    @classmethod
    def by_uri(cls, uri: str) -> SignatureAlgorithm:
        """The algorithm a URI names; ``MalformedInput`` if we don't know it."""
        try:
            return _SIGNATURES_BY_URI[uri]
        except KeyError:
            raise MalformedInput(
                f"unknown signature algorithm {uri[:100]!r}", code=FaultCode.CRYPTOGRAPHY_ERROR
            ) from None

    @classmethod
    def by_jca_name(cls, name: str) -> SignatureAlgorithm:
        """The algorithm a Java style name means, in any letter case; ``MalformedInput`` if none."""
        try:
            return _SIGNATURES_BY_JCA_NAME[name.lower()]
        except KeyError:
            raise MalformedInput(
                f"unknown signature algorithm {name[:100]!r}", code=FaultCode.CRYPTOGRAPHY_ERROR
            ) from None

    @classmethod
    def by_oid(cls, oid: str) -> SignatureAlgorithm:
        """The algorithm a certificate, OCSP response or token names by its object identifier.

        RSA-PSS isn't listed: there the digest is a parameter, see :meth:`with_digest`. Raises
        ``MalformedInput`` for identifiers we don't know, MD5 among them.
        """
        try:
            return _SIGNATURES_BY_OID[oid]
        except KeyError:
            raise MalformedInput(
                f"unknown signature algorithm {oid}", code=FaultCode.CRYPTOGRAPHY_ERROR
            ) from None

    @classmethod
    def with_digest(cls, family: str, digest: DigestAlgorithm) -> SignatureAlgorithm:
        """The algorithm of a family with a digest; ``MalformedInput`` if there is none."""
        try:
            return _SIGNATURES_BY_DIGEST[family, digest]
        except KeyError:
            raise MalformedInput(
                f"unknown signature algorithm {family} with {digest.label}",
                code=FaultCode.CRYPTOGRAPHY_ERROR,
            ) from None

    @classmethod
    def for_key(
        cls, public_key: PublicKey, digest: DigestAlgorithm = DigestAlgorithm.SHA512
    ) -> SignatureAlgorithm:
        """The algorithm a software key signs with: PKCS#1 v1.5 for RSA, ECDSA for EC keys."""
        is_rsa = isinstance(public_key, rsa.RSAPublicKey)
        return cls.with_digest("RSA" if is_rsa else "EC", digest)


_JCA_SUFFIXES: Final = {"RSA": "withRSA", "RSA-PSS": "withRSAandMGF1", "EC": "withECDSA"}
_LEGACY_DIGESTS: Final = frozenset({DigestAlgorithm.SHA1, DigestAlgorithm.SHA224})
_SIGNATURES_BY_URI: Final = {algorithm.uri: algorithm for algorithm in SignatureAlgorithm}
_SIGNATURES_BY_DIGEST: Final = {
    (algorithm.family, algorithm.digest): algorithm for algorithm in SignatureAlgorithm
}
_SIGNATURES_BY_JCA_NAME: Final = {
    algorithm.jca_name.lower(): algorithm for algorithm in SignatureAlgorithm
}
_SIGNATURES_BY_OID: Final = {
    "1.2.840.113549.1.1.5": SignatureAlgorithm.RSA_SHA1,
    "1.2.840.113549.1.1.14": SignatureAlgorithm.RSA_SHA224,
    "1.2.840.113549.1.1.11": SignatureAlgorithm.RSA_SHA256,
    "1.2.840.113549.1.1.12": SignatureAlgorithm.RSA_SHA384,
    "1.2.840.113549.1.1.13": SignatureAlgorithm.RSA_SHA512,
    "1.2.840.10045.4.1": SignatureAlgorithm.ECDSA_SHA1,
    "1.2.840.10045.4.3.1": SignatureAlgorithm.ECDSA_SHA224,
    "1.2.840.10045.4.3.2": SignatureAlgorithm.ECDSA_SHA256,
    "1.2.840.10045.4.3.3": SignatureAlgorithm.ECDSA_SHA384,
    "1.2.840.10045.4.3.4": SignatureAlgorithm.ECDSA_SHA512,
}


def ecdsa_der_to_raw(signature: bytes, curve_bytes: int) -> bytes:
    """Rewrite an ECDSA value from DER to ``r || s``, each half ``curve_bytes`` long.

    Raises ``MalformedInput`` for anything that isn't a DER pair of such numbers.
    """
    try:
        r, s = decode_dss_signature(signature)
        return r.to_bytes(curve_bytes, "big") + s.to_bytes(curve_bytes, "big")
    except (ValueError, OverflowError):
        raise MalformedInput(
            "ECDSA signature is not a DER pair of numbers of the curve",
            code=FaultCode.INVALID_SIGNATURE_VALUE,
        ) from None


def ecdsa_raw_to_der(signature: bytes) -> bytes:
    """Rewrite an ECDSA value from ``r || s`` to DER, splitting in the middle.

    Peers trim the halves to their shortest common length, so any even length is read. Raises
    ``MalformedInput`` for an odd or empty value.
    """
    half, odd = divmod(len(signature), 2)
    if odd or not half:
        raise MalformedInput(
            f"raw ECDSA signature of {len(signature)} bytes has no two equal halves",
            code=FaultCode.INVALID_SIGNATURE_VALUE,
        )
    r, s = signature[:half], signature[half:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def curve_size(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> int:
    """Bytes of one half of a raw signature by this key: 32, 48 or 66."""
    return (key.curve.key_size + 7) // 8


def check_key_strength(key: PublicKey | PrivateKey, *, allow_legacy: bool = False) -> None:
    """Refuse (``TrustError``) keys that are too small, absurdly large or on a foreign curve."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        smallest = MIN_LEGACY_RSA_BITS if allow_legacy else MIN_RSA_BITS
        if not smallest <= key.key_size <= MAX_RSA_BITS:
            raise TrustError(
                f"RSA key of {key.key_size} bits is outside {smallest}..{MAX_RSA_BITS}",
                code=FaultCode.INVALID_SIGNATURE_VALUE,
            )
    elif key.curve.name not in _CURVES:
        raise TrustError(
            f"elliptic curve {key.curve.name} is not one of {', '.join(_CURVES)}",
            code=FaultCode.INVALID_SIGNATURE_VALUE,
        )


def verify_signature(
    public_key: PublicKey,
    algorithm: SignatureAlgorithm,
    signature: bytes,
    data: bytes,
    *,
    ecdsa_raw: bool,
    either_form: bool = False,
    allow_legacy: bool = False,
) -> None:
    """Return quietly if ``signature`` over ``data`` was made with the private half of the key.

    ``ecdsa_raw`` tells the form of ECDSA values: raw ``r || s`` in XML signatures, DER in signed
    configuration directories. ``either_form`` also takes the other one, which some archives hold.
    Raises ``TrustError`` (``invalid_signature_value``) whenever the proof doesn't hold: another
    key family, a refused algorithm or key, a wrong value.
    """
    if not (algorithm.accepted or allow_legacy):
        raise TrustError(
            f"signature algorithm {algorithm.jca_name} is not accepted any more",
            code=FaultCode.INVALID_SIGNATURE_VALUE,
        )
    check_key_strength(public_key, allow_legacy=allow_legacy)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        _verify_ecdsa(
            public_key, algorithm, signature, data, raw=ecdsa_raw, either_form=either_form
        )
    else:
        _verify_rsa(public_key, algorithm, signature, data)


def _verify_rsa(
    public_key: rsa.RSAPublicKey, algorithm: SignatureAlgorithm, signature: bytes, data: bytes
) -> None:
    if algorithm.family == "EC":
        raise _wrong_family("RSA", algorithm)
    try:
        public_key.verify(signature, data, _rsa_padding(algorithm), algorithm.digest.primitive)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise _wrong_value(algorithm) from None


def _verify_ecdsa(
    public_key: ec.EllipticCurvePublicKey,
    algorithm: SignatureAlgorithm,
    signature: bytes,
    data: bytes,
    *,
    raw: bool,
    either_form: bool,
) -> None:
    if algorithm.family != "EC":
        raise _wrong_family("EC", algorithm)
    scheme = ec.ECDSA(algorithm.digest.primitive)
    for as_raw in (raw, not raw) if either_form else (raw,):
        if as_raw and (len(signature) % 2 or not 0 < len(signature) <= 2 * curve_size(public_key)):
            continue
        try:
            der = ecdsa_raw_to_der(signature) if as_raw else signature
            public_key.verify(der, data, scheme)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            continue
        return
    raise _wrong_value(algorithm)


def sign_digest(
    private_key: PrivateKey, algorithm: SignatureAlgorithm, digest: bytes, *, ecdsa_raw: bool
) -> bytes:
    """Sign a digest computed before; raw ECDSA values have halves of the curve's full length.

    Raises ``ConfigurationError`` (``cannot_sign``) if our own key, algorithm or digest do not fit
    together or are too weak for new signatures.
    """
    is_ec = isinstance(private_key, ec.EllipticCurvePrivateKey)
    fits = (algorithm.family == "EC") == is_ec and len(digest) == algorithm.digest.size
    if not fits or not algorithm.accepted:
        raise ConfigurationError(
            f"cannot sign {len(digest)} bytes of digest with {algorithm.jca_name} and this key",
            code=FaultCode.CANNOT_SIGN,
        )
    try:
        check_key_strength(private_key)
    except TrustError as weak:
        raise ConfigurationError(str(weak), code=FaultCode.CANNOT_SIGN) from weak
    prehashed = Prehashed(algorithm.digest.primitive)
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        der = private_key.sign(digest, ec.ECDSA(prehashed))
        return ecdsa_der_to_raw(der, curve_size(private_key)) if ecdsa_raw else der
    return private_key.sign(digest, _rsa_padding(algorithm), prehashed)


def sign_data(
    private_key: PrivateKey, algorithm: SignatureAlgorithm, data: bytes, *, ecdsa_raw: bool
) -> bytes:
    """Digest ``data`` and sign it; see :func:`sign_digest`."""
    return sign_digest(private_key, algorithm, algorithm.digest.digest(data), ecdsa_raw=ecdsa_raw)


def _rsa_padding(algorithm: SignatureAlgorithm) -> padding.PKCS1v15 | padding.PSS:
    if algorithm.family == "RSA":
        return padding.PKCS1v15()
    primitive = algorithm.digest.primitive
    return padding.PSS(mgf=padding.MGF1(primitive), salt_length=primitive.digest_size)


def _wrong_family(family: str, algorithm: SignatureAlgorithm) -> TrustError:
    return TrustError(
        f"{algorithm.jca_name} signature cannot be made with an {family} key",
        code=FaultCode.INVALID_SIGNATURE_VALUE,
    )


def _wrong_value(algorithm: SignatureAlgorithm) -> TrustError:
    return TrustError(
        f"{algorithm.jca_name} signature value does not verify",
        code=FaultCode.INVALID_SIGNATURE_VALUE,
    )
