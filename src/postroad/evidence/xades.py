"""How is a signature document written: what is signed, and what is put around the value?

The document is made from a template that is already in canonical form: every element is written
with an end tag, attributes in canonical order, text escaped as Canonical XML escapes it. So the
octets that are digested are known without parsing anything; only the namespace declarations that
C14N puts on the top element of a subset are added. A test proves it with a real canonicaliser.

Order of work: :func:`prepare_signature`, sign ``PreparedSignature.signed_info`` (the signer gets
its digest), then :meth:`PreparedSignature.assemble`. The result has the shape that 7.x makes,
because peers look elements up by their literal names (``ds:Signature``, ``xades:…``). Sources:
ETSI TS 101 903 (XAdES 1.3.2), PR-SIGDOC; reference: SignatureXmlBuilder.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.digests import HASH_CHAIN_RESULT_PART, MESSAGE_PART
from postroad.wire.xml import XMLDSIG, child_elements, escape_attribute, escape_text, qualified
from postroad.wire.xml import parse as parse_xml
from postroad.wire.xml import serialize as serialize_xml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
    from postroad.crypto.certificates import Certificate
    from postroad.wire.xml import Element

XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
ASIC_SIGNATURES: Final = "http://uri.etsi.org/02918/v1.2.1#"
SIGNED_PROPERTIES_TYPE: Final = "http://uri.etsi.org/01903#SignedProperties"
INCLUSIVE_C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"

NAMESPACES: Final = (  # sorted by prefix, as C14N writes them
    f'xmlns:asic="{ASIC_SIGNATURES}" xmlns:ds="{XMLDSIG}" xmlns:xades="{XADES}" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_MIME_TYPES: Final = {
    MESSAGE_PART: "text/xml",  # also for REST messages
    HASH_CHAIN_RESULT_PART: "application/hash-chain-result",
}
POLICY: Final = (
    "<xades:SignaturePolicyIdentifier><xades:SignaturePolicyId><xades:SigPolicyId>"
    '<xades:Identifier Qualifier="OIDAsURN">urn:oid:1.3.6.1.4.1.3516.16.2</xades:Identifier>'
    "<xades:Description>Profile for High Performance Digital Signatures (version 1.2)"
    "</xades:Description></xades:SigPolicyId><xades:SigPolicyHash>"
    '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"></ds:DigestMethod>'
    "<ds:DigestValue>BuO0EDNfkxSVlUbxCzmQPzX1AUF1/xx9ytWHk3/6SAOePxQiniEfDYk+90QeYb3lWpV3Izhuz9"
    "fKaYyE+lTcXw==</ds:DigestValue></xades:SigPolicyHash><xades:SigPolicyQualifiers>"
    "<xades:SigPolicyQualifier><xades:SPURI>https://repo.cyber.ee/dsig-profile-1.2.pdf"
    "</xades:SPURI></xades:SigPolicyQualifier></xades:SigPolicyQualifiers>"
    "</xades:SignaturePolicyId></xades:SignaturePolicyIdentifier>"
)


@dataclass(frozen=True, slots=True)
class PreparedSignature:
    """A signature document that lacks its value.

    ``signed_info`` holds the octets to be signed with ``algorithm``.
    """

    signed_info: bytes
    algorithm: SignatureAlgorithm
    certificate: Certificate
    _signed_info_content: str
    _signed_properties_content: str

    @property
    def digest(self) -> bytes:
        """The digest of :attr:`signed_info`, which is what a signer is given."""
        return self.algorithm.digest.digest(self.signed_info)

    def assemble(
        self,
        signature_value: bytes,
        ocsp_responses: Sequence[bytes],
        intermediates: Sequence[Certificate] = (),
    ) -> bytes:
        """Write the whole document.

        ``signature_value`` is raw ``r || s`` for EC keys. ``ocsp_responses`` are DER OCSPResponse
        values: that of the signing certificate first, then those of ``intermediates``.
        """
        digest = self.algorithm.digest
        return (
            '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
            f'<asic:XAdESSignatures {NAMESPACES}><ds:Signature Id="signature">'
            f"<ds:SignedInfo>{self._signed_info_content}</ds:SignedInfo>"
            f'<ds:SignatureValue Id="signature-value">{_base64(signature_value)}'
            "</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>"
            f"{_base64(self.certificate.der)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
            '<ds:Object><xades:QualifyingProperties Target="#signature">'
            f'<xades:SignedProperties Id="signed-properties">{self._signed_properties_content}'
            "</xades:SignedProperties><xades:UnsignedProperties><xades:UnsignedSignatureProperties>"
            f"{_certificate_values(intermediates, digest)}{_ocsp_values(ocsp_responses)}"
            "</xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
            "</xades:QualifyingProperties></ds:Object></ds:Signature></asic:XAdESSignatures>"
        ).encode()


def prepare_signature(
    *,
    reference_uri: str,
    reference_digest: bytes,
    certificate: Certificate,
    algorithm: SignatureAlgorithm,
    signing_time: datetime,
    mime_type: str | None = None,
) -> PreparedSignature:
    """Prepare a signature over one document, ``/message.xml`` or ``/sig-hashchainresult.xml``.

    ``reference_digest`` is the digest of its octets by ``algorithm.digest``, anything else is a
    ``ValueError``. ``mime_type`` is told by the name if it isn't given.
    """
    digest = algorithm.digest
    if len(reference_digest) != digest.size:
        raise ValueError(f"a {digest.label} digest has {digest.size} bytes")
    properties = (
        "<xades:SignedSignatureProperties>"
        f"<xades:SigningTime>{_timestamp(signing_time)}</xades:SigningTime>"
        f"<xades:SigningCertificate><xades:Cert>{_certificate_identity(certificate, digest)}"
        f"</xades:Cert></xades:SigningCertificate>{POLICY}</xades:SignedSignatureProperties>"
        "<xades:SignedDataObjectProperties>"
        '<xades:DataObjectFormat ObjectReference="#signature-reference-0"><xades:MimeType>'
        f"{escape_text(mime_type or _MIME_TYPES[reference_uri])}</xades:MimeType>"
        "</xades:DataObjectFormat></xades:SignedDataObjectProperties>"
    )
    properties_digest = digest.digest(
        f'<xades:SignedProperties {NAMESPACES} Id="signed-properties">{properties}'
        "</xades:SignedProperties>".encode()
    )
    content = (
        f'<ds:CanonicalizationMethod Algorithm="{INCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{algorithm.uri}"></ds:SignatureMethod>'
        f'<ds:Reference Id="signature-reference-0" URI="{escape_attribute(reference_uri)}">'
        f"{_digest(digest, reference_digest)}</ds:Reference>"
        f'<ds:Reference Id="signature-reference-1" Type="{SIGNED_PROPERTIES_TYPE}" '
        f'URI="#signed-properties">{_digest(digest, properties_digest)}</ds:Reference>'
    )
    return PreparedSignature(
        signed_info=f"<ds:SignedInfo {NAMESPACES}>{content}</ds:SignedInfo>".encode(),
        algorithm=algorithm,
        certificate=certificate,
        _signed_info_content=content,
        _signed_properties_content=properties,
    )


def add_signature_timestamp(signature: bytes, token: bytes) -> bytes:
    """Put a time-stamp token (DER) over the signature value into a signature document.

    The token becomes the first unsigned property, where peers expect it. Nothing that the
    signature covers changes. Raises ``MalformedInput`` (``malformed_signature``) if the document
    has no unsigned properties, or has a time-stamp already.
    """
    root = parse_xml(signature)
    holder = _unsigned_signature_properties(root)
    stamp = parse_xml(
        f'<xades:SignatureTimeStamp xmlns:xades="{XADES}"><xades:EncapsulatedTimeStamp>'
        f"{_base64(token)}</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp>".encode()
    )
    if any(child.tag == stamp.tag for child in holder):
        raise MalformedInput(
            "the signature has a time-stamp already", code=FaultCode.MALFORMED_SIGNATURE
        )
    holder.insert(0, stamp)
    return serialize_xml(root)


def _unsigned_signature_properties(root: Element) -> Element:
    path = (
        qualified(XADES, "QualifyingProperties"),
        qualified(XADES, "UnsignedProperties"),
        qualified(XADES, "UnsignedSignatureProperties"),
    )
    signature_name = qualified(XMLDSIG, "Signature")
    signatures = [root] if root.tag == signature_name else child_elements(root)
    here = [
        child
        for signature in signatures
        if signature.tag == signature_name
        for child in signature
        if child.tag == qualified(XMLDSIG, "Object")
    ]
    for name in path:
        here = [child for element in here for child in element if child.tag == name]
    if len(here) != 1:
        raise MalformedInput(
            "the signature has no place for a time-stamp", code=FaultCode.MALFORMED_SIGNATURE
        )
    return here[0]


def _timestamp(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _digest(algorithm: DigestAlgorithm, value: bytes) -> str:
    return (
        f'<ds:DigestMethod Algorithm="{algorithm.uri}"></ds:DigestMethod>'
        f"<ds:DigestValue>{_base64(value)}</ds:DigestValue>"
    )


@lru_cache(maxsize=128)
def _certificate_identity(certificate: Certificate, algorithm: DigestAlgorithm) -> str:
    return (
        f"<xades:CertDigest>{_digest(algorithm, algorithm.digest(certificate.der))}"
        "</xades:CertDigest><xades:IssuerSerial><ds:X509IssuerName>"
        f"{escape_text(certificate.issuer_rfc2253)}</ds:X509IssuerName>"
        f"<ds:X509SerialNumber>{certificate.serial}</ds:X509SerialNumber></xades:IssuerSerial>"
    )


def _certificate_values(intermediates: Sequence[Certificate], algorithm: DigestAlgorithm) -> str:
    if not intermediates:
        return ""
    # Peers cast the first child of xades:Cert to an element: no white space may stand there.
    references = "".join(
        f'<xades:Cert URI="#encapsulated-cert-{number}">'
        f"{_certificate_identity(certificate, algorithm)}</xades:Cert>"
        for number, certificate in enumerate(intermediates, 1)
    )
    values = "".join(
        f'<xades:EncapsulatedX509Certificate Id="encapsulated-cert-{number}">'
        f"{_base64(certificate.der)}</xades:EncapsulatedX509Certificate>"
        for number, certificate in enumerate(intermediates, 1)
    )
    return (
        '<xades:CompleteCertificateRefs Id="complete-certificate-refs"><xades:CertRefs>'
        f"{references}</xades:CertRefs></xades:CompleteCertificateRefs>"
        f"<xades:CertificateValues>{values}</xades:CertificateValues>"
    )


def _ocsp_values(responses: Sequence[bytes]) -> str:
    values = "".join(
        f'<xades:EncapsulatedOCSPValue Id="ocsp-response-{number}">{_base64(response)}'
        "</xades:EncapsulatedOCSPValue>"
        for number, response in enumerate(responses, 1)
    )
    return (
        f"<xades:RevocationValues><xades:OCSPValues>{values}</xades:OCSPValues>"
        "</xades:RevocationValues>"
    )
