"""How does the lab issue certificates, and what does it know about them?

:class:`TrustLab` is a whole trust hierarchy in one object: a root, an issuing authority, OCSP
responders and a time-stamping authority. It does no I/O: moments are arguments, answers are bytes.
In a test a hierarchy is one line, and so is each certificate, OCSP response and time-stamp::

    lab = TrustLab.create(at=NOW)
    signer = lab.sign_certificate(member)
    response = lab.ocsp(signer.certificate, at=NOW)
    token = lab.timestamp(b"data", at=NOW)

Keys are EC P-256 unless RSA is asked for. The keys are for tests and trials and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.names import build_name
from postroad.crypto.ocsp import CertificateStatus
from postroad.crypto.profiles import CertificateProfile, auth_subject, sign_subject
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.identifiers import SecurityServerId
from postroad.trustlab import responders
from postroad.trustlab.issuing import (
    CA_DAYS,
    DEFAULT_DAYS,
    Identity,
    KeyKind,
    issue,
    read_request,
    self_signed,
)
from postroad.trustlab.profiles import CertificateKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from postroad.crypto.algorithms import PrivateKey
    from postroad.crypto.certificates import Certificate
    from postroad.identifiers import ClientId

__all__ = ["Authority", "Identity", "KeyKind", "TrustLab"]


@dataclass(frozen=True, slots=True)
class Authority:
    """A certification authority: its own identity and that of its OCSP responder."""

    identity: Identity
    ocsp_responder: Identity

    @property
    def certificate(self) -> Certificate:
        """The authority's certificate."""
        return self.identity.certificate


@dataclass(slots=True)
class TrustLab:
    """A trust hierarchy for tests and trials; see the top of this module."""

    root: Authority
    issuing: Authority
    tsa: Identity
    at: datetime
    """The moment of calls that name none."""
    profile: str = CertificateProfile.FI_VRK.class_name
    """Class name of the certificate profile that subjects follow."""
    keys: KeyKind = KeyKind.EC_P256
    revoked: dict[int, datetime] = field(default_factory=dict)
    """Serial numbers of revoked certificates, with the moment."""
    issued: dict[int, Certificate] = field(default_factory=dict)
    """Certificates that the OCSP responder knows, by serial number."""

    @classmethod
    def create(
        cls,
        *,
        at: datetime,
        name: str = "Postroad Lab",
        keys: KeyKind = KeyKind.EC_P256,
        intermediate: bool = True,
        profile: CertificateProfile = CertificateProfile.FI_VRK,
    ) -> Self:
        """Make a hierarchy; without ``intermediate`` the root issues everything itself."""
        root = _authority(None, f"{name} Root CA", name, keys, at)
        issuing = (
            _authority(root.identity, f"{name} Issuing CA", name, keys, at)
            if intermediate
            else root
        )
        tsa_key = keys.generate()
        subject = build_name([("O", name), ("CN", f"{name} TSA")])
        tsa = issue(issuing.identity, subject, tsa_key.public_key(), CertificateKind.TSA, at=at)
        lab = cls(
            root=root,
            issuing=issuing,
            tsa=Identity(tsa, tsa_key),
            at=at,
            profile=profile.class_name,
            keys=keys,
        )
        for certificate in lab.service_certificates:
            lab.issued[certificate.serial] = certificate
        return lab

    @property
    def ca_certificate(self) -> Certificate:
        """The authority that issues member certificates."""
        return self.issuing.certificate

    @property
    def ca_certificates(self) -> tuple[Certificate, ...]:
        """All authorities, the root first."""
        return tuple(dict.fromkeys((self.root.certificate, self.issuing.certificate)))

    @property
    def ocsp_certificate(self) -> Certificate:
        """The responder that answers for member certificates."""
        return self.issuing.ocsp_responder.certificate

    @property
    def tsa_certificate(self) -> Certificate:
        """The time-stamping authority's certificate."""
        return self.tsa.certificate

    @property
    def service_certificates(self) -> tuple[Certificate, ...]:
        """Certificates of the lab's own services."""
        responders_of = (self.root.ocsp_responder, self.issuing.ocsp_responder)
        return tuple(
            dict.fromkeys(
                (
                    *self.ca_certificates,
                    *(responder.certificate for responder in responders_of),
                    self.tsa.certificate,
                )
            )
        )

    def sign_certificate(
        self,
        member: ClientId,
        *,
        at: datetime | None = None,
        days: int = DEFAULT_DAYS,
        server: SecurityServerId | None = None,
        keys: KeyKind | None = None,
        key: PrivateKey | None = None,
        values: Mapping[str, str] | None = None,
    ) -> Identity:
        """Make a key and a signature certificate that names ``member`` by the lab's profile."""
        owner = member.member
        server = server or SecurityServerId(
            owner.instance, owner.member_class, owner.member_code, "server"
        )
        subject = sign_subject(
            self.profile,
            member=owner,
            server=server,
            member_name=f"Member {owner.member_code}",
            values=self._with_country(values),
        )
        return self._new_identity(subject, CertificateKind.SIGN, at, days, key or self._key(keys))

    def auth_certificate(
        self,
        server: SecurityServerId,
        *,
        at: datetime | None = None,
        days: int = DEFAULT_DAYS,
        dns_name: str = "localhost",
        keys: KeyKind | None = None,
        key: PrivateKey | None = None,
        values: Mapping[str, str] | None = None,
    ) -> Identity:
        """Make a key and an authentication certificate for a security server."""
        subject = auth_subject(
            self.profile,
            server=server,
            member_name=f"Member {server.member_code}",
            dns_name=dns_name,
            values=self._with_country(values),
        )
        return self._new_identity(
            subject,
            CertificateKind.AUTH,
            at,
            days,
            key or self._key(keys),
            alt_name=x509.SubjectAlternativeName([x509.DNSName(dns_name)]),
        )

    def sign_request(
        self,
        request: bytes,
        kind: CertificateKind,
        *,
        at: datetime | None = None,
        lifetime: timedelta | None = None,
    ) -> Certificate:
        """Issue a certificate for a PKCS#10 request (PEM or DER), its subject kept as it is.

        Raises ``MalformedInput`` (``csr_failed``) for an unreadable request, one whose signature
        doesn't verify, or a key that is too weak. Authentication certificates also keep the
        subject alternative names of the request.
        """
        subject, key, alt_name = read_request(request)
        certificate = issue(
            self.issuing.identity,
            subject,
            key,
            kind,
            at=at or self.at,
            days=DEFAULT_DAYS if lifetime is None else lifetime / timedelta(days=1),
            alt_name=alt_name if kind is CertificateKind.AUTH else None,
        )
        self.issued[certificate.serial] = certificate
        return certificate

    def revoke(self, serial: int, *, at: datetime | None = None) -> None:
        """Revoke a certificate that this lab issued; ``ConfigurationError`` if it didn't."""
        if serial not in self.issued:
            raise ConfigurationError(
                f"the lab issued no certificate of serial {serial:x}", code=FaultCode.CERT_NOT_FOUND
            )
        self.revoked[serial] = at or self.at

    def ocsp(
        self,
        certificate: Certificate,
        *,
        at: datetime | None = None,
        status: CertificateStatus | None = None,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        responder: Identity | None = None,
        issuer: Certificate | None = None,
        cert_id_digest: DigestAlgorithm = DigestAlgorithm.SHA1,
        embedded: Sequence[Certificate] | None = None,
        by_key: bool = False,
    ) -> bytes:
        """An OCSP response about one of the lab's certificates; everything can be bent.

        By default it's what the responder would say at ``at``: the true status, signed by the
        delegated responder of the issuer, whose certificate is sent along.
        """
        at = at or self.at
        authority = self._authority_of(certificate)
        responder = responder or authority.ocsp_responder
        status = status or self.status_of(certificate.serial)
        issuer = issuer or authority.certificate
        single = responders.SingleStatus(
            cert_id=responders.cert_id(issuer, certificate.serial, cert_id_digest),
            status=status,
            this_update=this_update or at,
            next_update=next_update,
            revoked_at=self.revoked.get(certificate.serial, at),
        )
        return responders.build_ocsp_response(
            [single],
            responder=responder.certificate,
            sign=responders.signer(responder.private_key),
            produced_at=at,
            embedded=(responder.certificate,) if embedded is None else embedded,
            by_key=by_key,
        )

    def status_of(self, serial: int) -> CertificateStatus:
        """What the register says: unknown unless the lab issued it."""
        if serial in self.revoked:
            return CertificateStatus.REVOKED
        return CertificateStatus.GOOD if serial in self.issued else CertificateStatus.UNKNOWN

    def timestamp(
        self,
        data: bytes,
        *,
        at: datetime | None = None,
        algorithm: DigestAlgorithm = DigestAlgorithm.SHA512,
        tsa: Identity | None = None,
        serial: int | None = None,
    ) -> bytes:
        """A time-stamp token over ``data``, without certificates inside."""
        tsa = tsa or self.tsa
        return responders.build_token(
            algorithm.digest(data),
            algorithm,
            tsa=tsa.certificate,
            sign=responders.signer(tsa.private_key),
            at=at or self.at,
            serial=x509.random_serial_number() if serial is None else serial,
        )

    def answer_ocsp(
        self,
        request: bytes,
        *,
        at: datetime,
        this_update: datetime | None = None,
        force: CertificateStatus | None = None,
        foreign: bool = False,
    ) -> bytes:
        """Answer an OCSP request as the lab's responder.

        ``force`` makes it say the same of all, ``foreign`` speak of certificates nobody asked for.
        """
        try:
            question = responders.read_ocsp_request(request)
        except MalformedInput:
            return responders.ocsp_failure("malformed_request")
        statuses = []
        answering: Authority | None = None
        for identifier in question.cert_ids:
            authority = next(
                (
                    candidate
                    for candidate in (self.issuing, self.root)
                    if responders.names_issuer(identifier, candidate.certificate)
                ),
                None,
            )
            answering = answering or authority
            serial = identifier["serial_number"].native
            known = CertificateStatus.UNKNOWN if authority is None else self.status_of(serial)
            statuses.append(
                responders.SingleStatus(
                    cert_id=(
                        responders.cert_id((authority or self.issuing).certificate, serial ^ 1)
                        if foreign
                        else identifier
                    ),
                    status=force or known,
                    this_update=this_update or at,
                    revoked_at=self.revoked.get(serial, at),
                )
            )
        responder = (answering or self.issuing).ocsp_responder
        return responders.build_ocsp_response(
            statuses,
            responder=responder.certificate,
            sign=responders.signer(responder.private_key),
            produced_at=at,
            embedded=(responder.certificate,),
            nonce=question.nonce,
        )

    def answer_timestamp(self, request: bytes, *, at: datetime, foreign: bool = False) -> bytes:
        """Answer a time-stamp request as the lab's authority, or as one that nobody approved."""
        signer = self.issuing.ocsp_responder if foreign else self.tsa
        return responders.answer_timestamp(
            request,
            tsa=signer.certificate,
            sign=responders.signer(signer.private_key),
            at=at,
            serial=x509.random_serial_number(),
        )

    def _authority_of(self, certificate: Certificate) -> Authority:
        if certificate.issuer_key == self.root.certificate.subject_key:
            return self.root
        return self.issuing

    def _key(self, keys: KeyKind | None) -> PrivateKey:
        return (keys or self.keys).generate()

    def _with_country(self, values: Mapping[str, str] | None) -> Mapping[str, str]:
        if "Basic" in self.profile:  # leaves the country to the administrator
            return {"C": "EE", **(values or {})}
        return values or {}

    def _new_identity(
        self,
        subject: Sequence[tuple[str, str]],
        kind: CertificateKind,
        at: datetime | None,
        days: int,
        key: PrivateKey,
        *,
        alt_name: x509.SubjectAlternativeName | None = None,
    ) -> Identity:
        certificate = issue(
            self.issuing.identity,
            build_name(subject),
            key.public_key(),
            kind,
            at=at or self.at,
            days=days,
            alt_name=alt_name,
        )
        self.issued[certificate.serial] = certificate
        return Identity(certificate, key)


def _authority(
    parent: Identity | None, common_name: str, organization: str, keys: KeyKind, at: datetime
) -> Authority:
    key = keys.generate()
    subject = build_name([("O", organization), ("CN", common_name)])
    if parent is None:
        certificate = self_signed(subject, key, CertificateKind.ROOT, at=at, days=CA_DAYS)
    else:
        certificate = issue(
            parent, subject, key.public_key(), CertificateKind.ISSUING, at=at, days=CA_DAYS
        )
    identity = Identity(certificate, key)
    ocsp_key = keys.generate()
    ocsp = issue(
        identity,
        build_name([("O", organization), ("CN", f"{common_name} OCSP")]),
        ocsp_key.public_key(),
        CertificateKind.OCSP,
        at=at,
        days=CA_DAYS,
    )
    return Authority(identity, Identity(ocsp, ocsp_key))
