"""What stands in the reference's key configuration, `keyconf.xml`?

Read only to move to Postroad; it is never written. Source: keyconf.xsd of the reference: elements
have no namespace but the root and identifiers, `active` is true when absent, a status may be
missing. Older files with the root `deviceConf` are refused: the reference reads them no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.signer_protocol import CertificateStatus, KeyUsage
from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf import elements
from postroad.wire import xml

if TYPE_CHECKING:
    from postroad.identifiers import ClientId
    from postroad.wire.xml import Element

SOFTWARE_DEVICE = "softToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredCertificate:
    """A certificate of a key."""

    der: bytes
    member: ClientId | None
    active: bool
    status: CertificateStatus
    renewed_by: str | None = None
    renewal_error: str | None = None
    next_renewal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredRequest:
    """A certificate request that waits for its certificate."""

    member: ClientId | None
    subject: tuple[tuple[str, str], ...] | None
    """None when the subject's text can't be understood."""
    subject_alt_name: str | None
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredKey:
    """A key, without its private half."""

    id: str
    friendly_name: str
    label: str
    usage: KeyUsage | None
    public_key: bytes | None
    certificates: tuple[ConfiguredCertificate, ...]
    requests: tuple[ConfiguredRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredDevice:
    """A token: the software token, or one of a hardware module."""

    kind: str
    """`softToken`, or the name of the module's section in devices.ini."""
    id: str
    friendly_name: str
    keys: tuple[ConfiguredKey, ...]


def parse_keyconf(data: bytes) -> tuple[ConfiguredDevice, ...]:
    """Read a key configuration; raises `MalformedInput` that says what is wrong with it."""
    try:
        root = xml.parse(data)
        if root.tag != xml.qualified(xml.XROAD, "keyConf"):
            raise MalformedInput(f"the root is <{xml.local_name(root)}>, not <keyConf>")
        return tuple(_device(device) for device in root.findall("device"))
    except MalformedInput as error:
        raise MalformedInput(f"keyconf.xml: {error}", code=FaultCode.INVALID_XML) from error


def _device(element: Element) -> ConfiguredDevice:
    kind = _text(element, "deviceType")
    token_id = _text(element, "id")
    return ConfiguredDevice(
        kind=kind,
        id=token_id,
        friendly_name=_optional(element, "friendlyName") or token_id,
        keys=tuple(_key(key) for key in element.findall("key")),
    )


def _key(element: Element) -> ConfiguredKey:
    usage = element.get("usage")
    if usage is not None and usage not in KeyUsage.__members__:
        raise MalformedInput(f"a key has the unknown usage {usage[:40]!r}")
    key_id = (_optional(element, "keyId") or "").upper()
    name = _optional(element, "friendlyName") or key_id
    return ConfiguredKey(
        id=key_id,
        friendly_name=name,
        label=_optional(element, "label") or name,
        usage=None if usage is None else KeyUsage[usage],
        public_key=elements.optional_bytes(element, "publicKey"),
        certificates=tuple(_certificate(cert) for cert in element.findall("cert")),
        requests=tuple(_request(request) for request in element.findall("certRequest")),
    )


def _certificate(element: Element) -> ConfiguredCertificate:
    status = _optional(element, "status")
    try:
        known = CertificateStatus.SAVED if status is None else CertificateStatus(status)
    except ValueError:
        raise MalformedInput(f"a certificate has the unknown status {status!r:.40}") from None
    active = element.get("active", "true").strip()
    if active not in {"true", "1", "false", "0"}:
        raise MalformedInput(f"a certificate is neither active nor not: {active[:40]!r}")
    return ConfiguredCertificate(
        der=elements.bytes_of(elements.required(element, "contents")),
        member=_member(element),
        active=active in {"true", "1"},
        status=known,
        renewed_by=_optional(element, "renewedCertHash"),
        renewal_error=_optional(element, "renewalError"),
        next_renewal=_optional(element, "nextRenewalTime"),
    )


def _request(element: Element) -> ConfiguredRequest:
    return ConfiguredRequest(
        member=_member(element),
        subject=_subject(_text(element, "subjectName")),
        subject_alt_name=_optional(element, "subjectAlternativeName"),
        profile=_optional(element, "certificateProfile") or "",
    )


def _subject(text: str) -> tuple[tuple[str, str], ...] | None:
    """`C=EE, O=GOV, CN=1` as the profiles write it; None for any other form."""
    parts = [part.partition("=") for part in text.split(", ")]
    if "\\" in text or '"' in text or not all(name and equals for name, equals, _ in parts):
        return None
    return tuple((name.strip(), value) for name, _, value in parts)


def _member(element: Element) -> ClientId | None:
    found = element.find("memberId")
    return None if found is None else elements.client_of(found)


def _text(element: Element, name: str) -> str:
    return elements.text(element, name).strip()


def _optional(element: Element, name: str) -> str | None:
    found = elements.optional_text(element, name)
    return None if found is None else found.strip() or None
