"""What does a signature document say? Nothing in the answer is proved yet.

The structure is read strictly and along fixed paths, so that there is no second place where
another signature, certificate or set of properties could hide: exactly one signature, unique
identifiers, no comments inside, every element in its place. What the proof amounts to is judged
in ``xades_verification``.

Read are the documents that 7.x makes and the variants it accepts: root ``asic:XAdESSignatures`` or
``ds:Signature``, any prefixes, several references in any order, inclusive or exclusive C14N,
SigningCertificate or SigningCertificateV2, no policy, older time-stamps without an inner element.
Sources: XML Signature, ETSI TS 101 903 and EN 319 132; reference: Signature, SignatureVerifier.
"""

from __future__ import annotations

import binascii
from abc import ABC, abstractmethod
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.xades import XADES
from postroad.wire.xml import (
    XMLDSIG,
    XmlLimits,
    canonicalize,
    child_elements,
    namespace_of,
    parse,
    qualified,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.wire.xml import Element

SIGNATURE_LIMITS: Final = XmlLimits(max_bytes=4 * 1024 * 1024, max_depth=32, max_elements=10_000)
MAX_REFERENCES: Final = 100
"""Peers stop at 30 references; each one costs a digest."""
MAX_OCSP_RESPONSES: Final = 20
MAX_CERTIFICATES: Final = 20
_EXCLUSIVE_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_CANONICAL_FORMS: Final = {  # URI: (exclusive, with comments)
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": (False, False),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments": (False, True),
    _EXCLUSIVE_C14N: (True, False),
    _EXCLUSIVE_C14N + "WithComments": (True, True),
}
_ASIC_NAMESPACES: Final = frozenset(  # the older one stands in archives of 6.x
    {"http://uri.etsi.org/02918/v1.1.1#", "http://uri.etsi.org/02918/v1.2.1#"}
)


def _ds(name: str) -> str:
    return qualified(XMLDSIG, name)


def _xades(name: str) -> str:
    return qualified(XADES, name)


@dataclass(frozen=True, slots=True)
class CanonicalForm:
    """One of the canonicalisation methods, with its parameter."""

    exclusive: bool = False
    with_comments: bool = False
    inclusive_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignatureReference:
    """One reference of SignedInfo: what is signed and by which digest."""

    uri: str
    transform: CanonicalForm | None
    algorithm: DigestAlgorithm
    value: bytes


@dataclass(frozen=True, slots=True)
class CertificateDigest:
    """The digest by which signed properties name a certificate."""

    algorithm: DigestAlgorithm
    value: bytes

    def matches(self, certificate: Certificate) -> bool:
        """Whether ``certificate`` is the one that is named."""
        return _certificate_digest_value(certificate, self.algorithm) == self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFacts(ABC):
    """What a signature document says, however it was read; nothing of it is verified."""

    algorithm: SignatureAlgorithm
    references: tuple[SignatureReference, ...]
    value: bytes
    certificate: Certificate
    signing_time: datetime | None
    signing_certificates: tuple[CertificateDigest, ...]
    ocsp_responses: tuple[bytes, ...]
    extra_certificates: tuple[Certificate, ...]
    timestamps: tuple[bytes, ...]

    def references_to(self, uri: str) -> tuple[SignatureReference, ...]:
        """The references with exactly this URI."""
        return tuple([reference for reference in self.references if reference.uri == uri])

    @property
    @abstractmethod
    def properties_identifier(self) -> str | None:
        """The Id of the signed properties that the facts were read from."""

    @abstractmethod
    def signed_info_octets(self) -> bytes:
        """The octets that the signature value is over."""

    @abstractmethod
    def element_octets(self, identifier: str, form: CanonicalForm) -> bytes:
        """The octets of the element with this Id; ``MalformedInput`` if there isn't one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSignature(SignatureFacts):
    """A signature document as an XML parser sees it: elements, where their octets matter."""

    root: Element
    signature: Element
    signed_info: Element
    signed_properties: Element
    canonical_form: CanonicalForm

    @property
    def properties_identifier(self) -> str | None:
        """The Id of the signed properties."""
        return self.signed_properties.get("Id")

    def signed_info_octets(self) -> bytes:
        """The canonical form of SignedInfo, by the method that it names."""
        return _canonical(self.signed_info, self.canonical_form)

    def element_octets(self, identifier: str, form: CanonicalForm) -> bytes:
        """The canonical form of one element inside the signature."""
        if identifier == self.properties_identifier:
            return _canonical(self.signed_properties, form)
        found = [e for e in self.signature.iterdescendants() if e.get("Id") == identifier]
        if len(found) != 1:
            raise malformed(f"there is no element {identifier[:100]!r} inside the signature")
        return _canonical(found[0], form)


@lru_cache(maxsize=512)
def _certificate_digest_value(certificate: Certificate, algorithm: DigestAlgorithm) -> bytes:
    """Remember digests of certificates: the same ones come with every message."""
    return algorithm.digest(certificate.der)


def malformed(message: str) -> MalformedInput:
    """Build the refusal of a signature document that breaks its structure."""
    return MalformedInput(f"signature: {message}", code=FaultCode.MALFORMED_SIGNATURE)


def parse_signature(data: bytes) -> ParsedSignature:
    """Parse a signature document.

    Raises ``MalformedInput``: ``invalid_xml`` if it isn't XML, ``malformed_signature`` for
    everything else that isn't as it must be.
    """
    root = parse(data, limits=SIGNATURE_LIMITS)
    signature = _only_signature(root)
    _check_nodes(root)
    children = _Children(signature)
    signed_info = children.take(_ds("SignedInfo"))
    value = _base64(children.take(_ds("SignatureValue")))
    certificate = _signing_certificate(children.take(_ds("KeyInfo")))
    objects = children.take_all(_ds("Object"))
    children.end()
    qualifying = _only(
        [c for o in objects for c in child_elements(o) if c.tag == _xades("QualifyingProperties")],
        "xades:QualifyingProperties",
    )
    # Old documents leave out the signature's own Id; then there's still only one signature.
    if signature.get("Id") and qualifying.get("Target") != f"#{signature.get('Id')}":
        raise malformed("the qualifying properties are about another signature")
    signed_properties = _only(
        _path([qualifying], _xades("SignedProperties")), "xades:SignedProperties"
    )
    info = _Children(signed_info)
    canonical_form = _canonical_form(info.take(_ds("CanonicalizationMethod")))
    algorithm = _signature_algorithm(info.take(_ds("SignatureMethod")))
    references = info.take_all(_ds("Reference"))
    info.end()
    if not 0 < len(references) <= MAX_REFERENCES:
        raise malformed(f"{len(references)} references; 1 to {MAX_REFERENCES} are accepted")
    if len({reference.get("URI") for reference in references}) != len(references):
        # Each time would cost its canonical form again.
        raise malformed("it refers more than once to the same thing")
    signed = _path([signed_properties], _xades("SignedSignatureProperties"))
    unsigned = _path(
        [qualifying], _xades("UnsignedProperties"), _xades("UnsignedSignatureProperties")
    )
    return ParsedSignature(
        root=root,
        signature=signature,
        signed_info=signed_info,
        signed_properties=signed_properties,
        canonical_form=canonical_form,
        algorithm=algorithm,
        references=tuple(_reference(reference) for reference in references),
        value=value,
        certificate=certificate,
        signing_time=_signing_time(signed),
        signing_certificates=_certificate_digests(signed),
        ocsp_responses=_ocsp_responses(unsigned),
        extra_certificates=_extra_certificates(unsigned),
        timestamps=_timestamps(unsigned),
    )


class _Children:
    """The element children of an element, taken in the order in which they must stand."""

    def __init__(self, parent: Element) -> None:
        self._name = parent.tag
        self._left = child_elements(parent)

    def take(self, name: str) -> Element:
        if not self._left or self._left[0].tag != name:
            raise malformed(f"{self._name} lacks {name}")
        return self._left.pop(0)

    def take_all(self, name: str) -> list[Element]:
        taken = []
        while self._left and self._left[0].tag == name:
            taken.append(self._left.pop(0))
        return taken

    def end(self) -> None:
        if self._left:
            raise malformed(f"{self._left[0].tag} does not belong into {self._name}")


def _only_signature(root: Element) -> Element:
    if root.tag == _ds("Signature"):
        signatures = [root]
    elif root.tag == qualified(namespace_of(root), "XAdESSignatures") and (
        namespace_of(root) in _ASIC_NAMESPACES
    ):
        signatures = child_elements(root)
    else:
        raise malformed(f"the document element {root.tag} is no signature")
    everywhere = list(root.iter(_ds("Signature")))
    if len(signatures) != 1 or signatures != everywhere:
        raise malformed("there must be exactly one signature, and nothing beside it")
    return signatures[0]


def _check_nodes(root: Element) -> None:
    """Refuse what could make two readers see different things: comments, repeated identifiers."""
    seen: set[str] = set()
    for node in root.iter():
        if not isinstance(node.tag, str):
            raise malformed("comments and processing instructions are not accepted")
        for name, identifier in node.attrib.items():
            if str(name).rpartition("}")[2].lower() != "id":
                continue
            if identifier in seen:
                raise malformed(f"the identifier {str(identifier)[:100]!r} is used twice")
            seen.add(str(identifier))


def _canonical_form(method: Element) -> CanonicalForm:
    uri = method.get("Algorithm", "")
    if uri not in _CANONICAL_FORMS:
        raise malformed(f"transform {uri[:100]!r} is not accepted")
    exclusive, with_comments = _CANONICAL_FORMS[uri]
    prefixes: list[str] = []
    for child in child_elements(method):
        if not exclusive or child.tag != qualified(_EXCLUSIVE_C14N, "InclusiveNamespaces"):
            raise malformed(f"{child.tag} does not belong into {method.tag}")
        prefixes += child.get("PrefixList", "").split()
    return CanonicalForm(exclusive, with_comments, tuple(prefixes))


def _signature_algorithm(method: Element) -> SignatureAlgorithm:
    if child_elements(method):
        raise malformed("a signature method with parameters is not accepted")
    try:
        return SignatureAlgorithm.by_uri(method.get("Algorithm", ""))
    except MalformedInput as error:
        raise malformed(error.message) from error


def _reference(element: Element) -> SignatureReference:
    uri = element.get("URI")
    if not uri:
        raise malformed("a reference must say what it refers to")
    children = _Children(element)
    transforms = [
        transform
        for holder in children.take_all(_ds("Transforms"))
        for transform in child_elements(holder)
    ]
    if len(transforms) > 1 or any(t.tag != _ds("Transform") for t in transforms):
        raise malformed("a reference has at most one transform")
    algorithm, value = _digest(children)
    children.end()
    return SignatureReference(
        uri, _canonical_form(transforms[0]) if transforms else None, algorithm, value
    )


def _digest(children: _Children) -> tuple[DigestAlgorithm, bytes]:
    method = children.take(_ds("DigestMethod"))
    try:
        algorithm = DigestAlgorithm.by_uri(method.get("Algorithm", ""))
    except MalformedInput as error:
        raise malformed(error.message) from error
    return algorithm, _base64(children.take(_ds("DigestValue")))


def _signing_certificate(key_info: Element) -> Certificate:
    # The first one, as the reference takes it; the signed properties must name it.
    found = _path([key_info], _ds("X509Data"), _ds("X509Certificate"))
    if not found:
        raise malformed("there is no signing certificate")
    return _certificate(found[0])


def _signing_time(signed: Sequence[Element]) -> datetime | None:
    found = _path(signed, _xades("SigningTime"))
    if not found:
        return None
    text = _text(_only(found, "xades:SigningTime"))
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise malformed(f"{text[:50]!r} is no moment") from error


def _certificate_digests(signed: Sequence[Element]) -> tuple[CertificateDigest, ...]:
    certs = [
        *_path(signed, _xades("SigningCertificate"), _xades("Cert")),
        *_path(signed, _xades("SigningCertificateV2"), _xades("Cert")),
    ]
    return tuple(_certificate_digest(cert) for cert in certs[:MAX_CERTIFICATES])


def _certificate_digest(cert: Element) -> CertificateDigest:
    holder = _only(_path([cert], _xades("CertDigest")), "xades:CertDigest")
    return CertificateDigest(*_digest(_Children(holder)))


def _ocsp_responses(unsigned: Sequence[Element]) -> tuple[bytes, ...]:
    values = _path(
        unsigned,
        _xades("RevocationValues"),
        _xades("OCSPValues"),
        _xades("EncapsulatedOCSPValue"),
    )
    if len(values) > MAX_OCSP_RESPONSES:
        raise malformed(f"more than {MAX_OCSP_RESPONSES} OCSP responses")
    return tuple(_base64(value) for value in values)


def _extra_certificates(unsigned: Sequence[Element]) -> tuple[Certificate, ...]:
    """Read the certificates that help to build a path; each must match its signed-off digest."""
    values = {
        element.get("Id"): element
        for element in _path(
            unsigned, _xades("CertificateValues"), _xades("EncapsulatedX509Certificate")
        )
    }
    certs = _path(unsigned, _xades("CompleteCertificateRefs"), _xades("CertRefs"), _xades("Cert"))
    if max(len(certs), len(values)) > MAX_CERTIFICATES:
        raise malformed(f"more than {MAX_CERTIFICATES} certificates")
    found = []
    for cert in certs:
        uri = cert.get("URI", "")
        value = values.get(uri[1:]) if uri.startswith("#") and len(uri) > 1 else None
        if value is None:
            raise malformed(f"there is no certificate for the reference {uri[:100]!r}")
        certificate = _certificate(value)
        if not _certificate_digest(cert).matches(certificate):
            raise malformed(f"the certificate {uri[:100]!r} differs from its digest")
        found.append(certificate)
    return tuple(found)


def _timestamps(unsigned: Sequence[Element]) -> tuple[bytes, ...]:
    tokens = []
    for holder in _path(unsigned, _xades("SignatureTimeStamp")):
        inner = _path([holder], _xades("EncapsulatedTimeStamp"))
        tokens += [_base64(element) for element in (inner or [holder])]
    return tuple(tokens)


def _path(start: Sequence[Element], *names: str) -> list[Element]:
    here = list(start)
    for name in names:
        here = [child for element in here for child in child_elements(element) if child.tag == name]
    return here


def _only(elements: Sequence[Element], name: str) -> Element:
    if len(elements) != 1:
        raise malformed(f"there must be exactly one {name}, not {len(elements)}")
    return elements[0]


def _text(element: Element) -> str:
    if len(element):
        raise malformed(f"{element.tag} holds text only")
    return (element.text or "").strip()


def _base64(element: Element) -> bytes:
    try:
        return b64decode("".join(_text(element).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"{element.tag} is not base64") from error


def _certificate(element: Element) -> Certificate:
    try:
        return Certificate.from_der(_base64(element))
    except MalformedInput as error:
        raise malformed(error.message) from error


def _canonical(element: Element, form: CanonicalForm) -> bytes:
    return canonicalize(
        element,
        exclusive=form.exclusive,
        inclusive_prefixes=form.inclusive_prefixes,
        with_comments=form.with_comments,
    )
