"""Which member does a signature certificate name, and which subject must a request carry?

Every approved certification service names the profile its certificates follow, by the class name
of the reference; only the last part of that name counts here. Authentication certificates are
never decoded: the global configuration binds them by hash. Reference: the classes of
``ee.ria.xroad.common.certificateprofile.impl``.

An attribute that occurs twice with different values is refused: implementations disagree which
one counts, so a subject made that way could name two members.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from postroad.crypto.names import ATTRIBUTE_OIDS
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError
from postroad.identifiers import MemberId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from postroad.crypto.certificates import Certificate
    from postroad.identifiers import ClientId, SecurityServerId


class CertificateProfile(Enum):
    """The profiles that ecosystems use, by the class name of the reference."""

    EJBCA = "EjbcaCertificateProfileInfoProvider"
    FI_VRK = "FiVRKCertificateProfileInfoProvider"
    BASIC = "BasicCertificateProfileInfoProvider"
    BASIC_ACME = "BasicACMECertificateProfileInfoProvider"
    IS = "IsCertificateProfileInfoProvider"
    FO = "FoCertificateProfileInfoProvider"
    SK_KLASS3 = "SkKlass3CertificateProfileInfoProvider"
    SK_ESTEID = "SkEsteIdCertificateProfileInfoProvider"

    @property
    def class_name(self) -> str:
        """The full name, as it stands in shared parameters."""
        return _PACKAGE + self.value

    @classmethod
    def by_class_name(cls, name: str) -> CertificateProfile:
        """Find a profile by its class name; ``ConfigurationError`` if we don't know it."""
        try:
            return cls(name.strip().rpartition(".")[2])
        except ValueError:
            raise ConfigurationError(
                f"unknown certificate profile {name[:200]!r}",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            ) from None


@dataclass(frozen=True, slots=True)
class SubjectField:
    """One field of a request's subject, as an administrator sees it."""

    name: str
    """Attribute type: ``CN``, ``serialNumber`` …, or ``subjectAltName``, an extension."""
    value: str
    editable: bool = False


_PACKAGE: Final = "ee.ria.xroad.common.certificateprofile.impl."
_SUBJECT_ALT_NAME: Final = "subjectAltName"


def member_of_sign_certificate(
    certificate: Certificate, profile: str, context_instance: str
) -> MemberId:
    """Decode the member that a signature certificate names.

    ``profile`` is the class name of the issuing authority's profile. ``context_instance`` is the
    instance of the claimed sender: some profiles certify class and code only. Raises
    ``TrustError`` (``incorrect_certificate``) if the subject doesn't follow the profile.
    """
    decode = _DECODERS[CertificateProfile.by_class_name(profile)]
    try:
        return decode(_Subject(certificate), context_instance)
    except MalformedInput as error:
        raise _incorrect(f"{certificate!r} names no member: {error}") from error


@dataclass(frozen=True, slots=True)
class _Subject:
    certificate: Certificate

    def find(self, name: str) -> str | None:
        """The value of an attribute, None if the subject hasn't got it."""
        values = set(self.certificate.subject_values(ATTRIBUTE_OIDS[name]))
        if len(values) > 1:
            raise _incorrect(f"{self.certificate!r} has several different values of {name}")
        return next(iter(values), None)

    def get(self, name: str) -> str:
        value = self.find(name)
        if value is None:
            raise _incorrect(f"{self.certificate!r} has no {name} in its subject")
        return value

    def country_must_be(self, country: str) -> None:
        if self.get("C") != country:
            raise _incorrect(f"{self.certificate!r} must have the country {country}")


def _decode_ejbca(subject: _Subject, _context: str) -> MemberId:
    return MemberId(subject.get("C"), subject.get("O"), subject.get("CN"))


def _decode_fi_vrk(subject: _Subject, context: str) -> MemberId:
    serial = subject.find("serialNumber")
    if serial is None:
        if subject.find("OU") is None:
            return _decode_ejbca(subject, context)
        subject.country_must_be("FI")
        return MemberId(subject.get("O"), subject.get("OU"), subject.get("CN"))
    subject.country_must_be("FI")
    subject.get("O")
    parts = serial.split("/")
    if len(parts) != 3:
        raise _incorrect(f"serialNumber {serial!r} is not instance/server code/member class")
    return MemberId(parts[0], parts[2], subject.get("CN"))


def _decode_basic(subject: _Subject, context: str) -> MemberId:
    return MemberId(context, subject.get("businessCategory"), subject.get("serialNumber"))


def _decode_is(subject: _Subject, context: str) -> MemberId:
    if subject.find("serialNumber") is None and subject.find("OU") is None:
        return _decode_ejbca(subject, context)
    return _decode_by_country(subject, "IS")


def _decode_fo(subject: _Subject, _context: str) -> MemberId:
    return _decode_by_country(subject, "FO")


def _decode_by_country(subject: _Subject, country: str) -> MemberId:
    subject.country_must_be(country)
    subject.get("serialNumber")
    return MemberId(subject.get("O"), subject.get("OU"), subject.get("CN"))


_SK_PREFIXES: Final = {"NTREE-": "COM", "GO:EE-": "GOV", "NP:EE-": "NGO"}
_SK_CLASSES: Final = {**dict.fromkeys("123456", "COM"), "7": "GOV", **dict.fromkeys("89", "NGO")}


def _decode_sk_klass3(subject: _Subject, context: str) -> MemberId:
    organization = subject.find("organizationIdentifier")
    if organization:
        member_class = _SK_PREFIXES.get(organization[:6])
        if member_class is None:  # registered abroad: the whole identifier keeps codes unique
            return MemberId(context, "NEE", organization)
        return MemberId(context, member_class, organization[6:])
    serial = subject.get("serialNumber")
    if len(serial) != 8 or not (serial.isascii() and serial.isdigit()):
        raise _incorrect(f"serialNumber {serial!r} is not 8 digits long")
    member_class = _SK_CLASSES.get(serial[0])
    if member_class is None:
        raise _incorrect(f"serialNumber {serial!r} begins with no digit of a member class")
    return MemberId(context, member_class, serial)


def _decode_sk_esteid(subject: _Subject, context: str) -> MemberId:
    return MemberId(context, "PERSON", subject.get("serialNumber"))


_DECODERS: Final[Mapping[CertificateProfile, Callable[[_Subject, str], MemberId]]] = {
    CertificateProfile.EJBCA: _decode_ejbca,
    CertificateProfile.FI_VRK: _decode_fi_vrk,
    CertificateProfile.BASIC: _decode_basic,
    CertificateProfile.BASIC_ACME: _decode_basic,
    CertificateProfile.IS: _decode_is,
    CertificateProfile.FO: _decode_fo,
    CertificateProfile.SK_KLASS3: _decode_sk_klass3,
    CertificateProfile.SK_ESTEID: _decode_sk_esteid,
}


_SIGN_FIELDS: Final[Mapping[CertificateProfile, tuple[str, ...]]] = {
    CertificateProfile.EJBCA: ("C={instance}", "O={member_class}", "CN={member_code}"),
    CertificateProfile.FI_VRK: (
        "C=FI",
        "O*={member_name}",
        "serialNumber={instance}/{server_code}/{member_class}",
        "CN={member_code}",
        "subjectAltName*=",
    ),
    CertificateProfile.BASIC: (
        "CN={member_name}",
        "O={member_name}",
        "businessCategory={member_class}",
        "C*=",
        "serialNumber={member_code}",
    ),
    CertificateProfile.BASIC_ACME: (
        "C*=",
        "O={member_name}",
        "businessCategory={member_class}",
        "serialNumber={member_code}",
        "CN={member_name}",
        "subjectAltName*=",
    ),
    CertificateProfile.IS: (
        "C=IS",
        "O={instance}",
        "OU={member_class}",
        "CN={member_code}",
        "serialNumber={server}",
    ),
    CertificateProfile.FO: (
        "C=FO",
        "O={instance}",
        "OU={member_class}",
        "CN={member_code}",
        "serialNumber*={server}",
    ),
    CertificateProfile.SK_KLASS3: ("serialNumber={member_code}", "CN={member_name}"),
    CertificateProfile.SK_ESTEID: (),
}
"""Subject of a signature certificate request; a star marks what the administrator may change."""

_AUTH_FIELDS: Final[Mapping[CertificateProfile, tuple[str, ...]]] = {
    CertificateProfile.EJBCA: ("C={instance}", "CN={server_code}"),
    CertificateProfile.FI_VRK: (
        "C=FI",
        "O*={member_name}",
        "serialNumber={instance}/{server_code}/{member_class}",
        "CN*={dns_name}",
        "subjectAltName*={dns_name}",
    ),
    CertificateProfile.BASIC: (
        "CN*={dns_name}",
        "serialNumber={member_code}",
        "C*=",
        "O={member_name}",
    ),
    CertificateProfile.BASIC_ACME: (
        "C*=",
        "O={member_name}",
        "serialNumber={member_code}",
        "CN*={dns_name}",
        "subjectAltName*={dns_name}",
    ),
    CertificateProfile.IS: ("C=IS", "CN*={dns_name}", "serialNumber={server}"),
    CertificateProfile.FO: ("C=FO", "O={instance}", "CN={server}"),
    CertificateProfile.SK_KLASS3: ("serialNumber={member_code}", "CN={member_name}"),
    CertificateProfile.SK_ESTEID: (),
}
"""Subject of an authentication certificate request, in the same notation."""


def sign_fields(
    profile: str, *, member: ClientId, server: SecurityServerId, member_name: str
) -> tuple[SubjectField, ...]:
    """The subject fields of a signature certificate request, with what we know filled in."""
    owner = member.member
    return _filled(
        _SIGN_FIELDS[CertificateProfile.by_class_name(profile)],
        instance=owner.instance,
        member_class=owner.member_class,
        member_code=owner.member_code,
        server_code=server.server_code,
        server=str(server),
        member_name=member_name,
    )


def auth_fields(
    profile: str, *, server: SecurityServerId, member_name: str, dns_name: str = ""
) -> tuple[SubjectField, ...]:
    """The subject fields of an authentication certificate request, with what we know filled in."""
    return _filled(
        _AUTH_FIELDS[CertificateProfile.by_class_name(profile)],
        instance=server.instance,
        member_class=server.member_class,
        member_code=server.member_code,
        server_code=server.server_code,
        server=str(server),
        member_name=member_name,
        dns_name=dns_name,
    )


def _filled(templates: tuple[str, ...], **values: str) -> tuple[SubjectField, ...]:
    fields = []
    for template in templates:
        name, _, value = template.partition("=")
        fields.append(
            SubjectField(name.rstrip("*"), value.format(**values), editable=name.endswith("*"))
        )
    return tuple(fields)


def fill_fields(
    fields: tuple[SubjectField, ...], values: Mapping[str, str]
) -> tuple[list[tuple[str, str]], str | None]:
    """Put an administrator's values into the editable fields.

    Returns the subject as ``(type, value)`` pairs and the subject alternative name, if one is
    given. Raises ``ConfigurationError`` (``csr_failed``) for a value of a field that isn't there
    or isn't editable, and for a subject field left blank.
    """
    editable = {field.name for field in fields if field.editable}
    for name in values:
        if name not in editable:
            raise ConfigurationError(
                f"subject field {name} cannot be set", code=FaultCode.CSR_FAILED
            )
    filled = [(field.name, values.get(field.name, field.value).strip()) for field in fields]
    subject = [(name, value) for name, value in filled if name != _SUBJECT_ALT_NAME]
    blank = [name for name, value in subject if not value]
    if blank or not subject:
        raise ConfigurationError(
            f"subject fields without a value: {', '.join(blank) or 'all'}",
            code=FaultCode.CSR_FAILED,
        )
    alt_name = dict(filled).get(_SUBJECT_ALT_NAME)
    return subject, alt_name or None


def sign_subject(
    profile: str,
    *,
    member: ClientId,
    server: SecurityServerId,
    member_name: str,
    values: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """The subject of a signature certificate request; ``values`` for the editable fields."""
    fields = sign_fields(profile, member=member, server=server, member_name=member_name)
    return fill_fields(fields, values or {})[0]


def auth_subject(
    profile: str,
    *,
    server: SecurityServerId,
    member_name: str,
    dns_name: str = "",
    values: Mapping[str, str] | None = None,
) -> list[tuple[str, str]]:
    """The subject of an authentication certificate request; ``values`` for editable fields."""
    fields = auth_fields(profile, server=server, member_name=member_name, dns_name=dns_name)
    return fill_fields(fields, values or {})[0]


def _incorrect(message: str) -> TrustError:
    return TrustError(message, code=FaultCode.INCORRECT_CERTIFICATE)
