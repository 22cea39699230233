"""How are distinguished names compared, quoted and built?

Names are compared as RFC 5280 7.1 wants: letter case, spacing and string type set aside, so that
an issuer finds its authority however each was encoded. They're quoted as RFC 2253 says, since
signatures carry that text (XMLDSIG ``X509IssuerName``).
"""

from __future__ import annotations

import string
import unicodedata
import warnings
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.x509.name import _ASN1Type

from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import asn1crypto.core
    import asn1crypto.x509

NameKey: TypeAlias = tuple[frozenset[tuple[str, str]], ...]
"""A distinguished name in the form that two equal names share."""

MAX_ATTRIBUTES: Final = 30

ATTRIBUTE_OIDS: Final = {
    "C": "2.5.4.6",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "CN": "2.5.4.3",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "serialNumber": "2.5.4.5",
    "businessCategory": "2.5.4.15",
    "organizationIdentifier": "2.5.4.97",
}
"""Attribute types that certificate profiles use, by their usual short names."""

_PRINTABLE: Final = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")
_RFC2253_KEYWORDS: Final = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}


def name_key(name: asn1crypto.x509.Name) -> NameKey:
    """The form of a name that equal names share."""
    return tuple(
        frozenset((oid, _folded(value)) for oid, value, _ in pairs) for pairs in _rdns(name)
    )


def name_values(name: asn1crypto.x509.Name, oid: str) -> tuple[str, ...]:
    """Every value of one attribute type in a name, in order of appearance."""
    return tuple(value for pairs in _rdns(name) for kind, value, _ in pairs if kind == oid)


def name_text(name: asn1crypto.x509.Name) -> str:
    """Quote a name as RFC 2253 says: last part first, unlisted types as ``oid=#hex``."""
    return ",".join(
        "+".join(
            f"{_RFC2253_KEYWORDS[oid]}={_escaped(value)}"
            if oid in _RFC2253_KEYWORDS
            else f"{oid}=#{encoded.hex()}"
            for oid, value, encoded in pairs
        )
        for pairs in reversed(list(_rdns(name)))
    )


def build_name(fields: Sequence[tuple[str, str]]) -> x509.Name:
    """Build a name, one part for each ``(type, value)``; types are short names or dotted OIDs.

    Values may be longer than X.520 says: the Ejbca profile puts instance names into the country.
    Raises ``ConfigurationError`` (``csr_failed``) for unknown types and blank values.
    """
    if not 0 < len(fields) <= MAX_ATTRIBUTES:
        raise _impossible(f"a name of {len(fields)} parts")
    attributes = []
    for kind, value in fields:
        if not value.strip():
            raise _impossible(f"blank value of {kind}")
        attributes.append(_attribute(kind, value))
    return x509.Name(attributes)


def _attribute(kind: str, value: str) -> x509.NameAttribute[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            oid = x509.ObjectIdentifier(ATTRIBUTE_OIDS.get(kind, kind))
            plain = all(char in _PRINTABLE for char in value)
            # Countries and serial numbers are PrintableStrings where their letters allow it.
            encoding = None if plain else _ASN1Type.UTF8String
            return x509.NameAttribute(oid, value, encoding, _validate=False)
        except (ValueError, TypeError) as error:
            raise _impossible(f"{kind}={value!r}: {error}") from error


def _rdns(name: asn1crypto.x509.Name) -> Iterator[list[tuple[str, str, bytes]]]:
    """Each part of a name as its attributes: type, value as text, value as DER."""
    for rdn in name.chosen:
        yield [
            (pair["type"].dotted, _text(pair["value"]), bytes(pair["value"].dump())) for pair in rdn
        ]


def _text(value: asn1crypto.core.Asn1Value) -> str:
    native = value.native
    return native if isinstance(native, str) else f"#{value.dump().hex()}"


def _folded(value: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def _escaped(value: str) -> str:
    out = "".join("\\" + char if char in ',+"\\<>;' else char for char in value)
    if out[:1] in ("#", " "):
        out = "\\" + out
    if len(value) > 1 and value.endswith(" "):
        out = out[:-1] + "\\ "
    return out


def _impossible(what: str) -> ConfigurationError:
    return ConfigurationError(f"no subject can be made with {what}", code=FaultCode.CSR_FAILED)
