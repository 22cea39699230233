"""What does an instance tell its own servers: federated instances, management service, intervals?

Source: PR-GCONF annex B (part ``PRIVATE-PARAMETERS``); reference: ``PrivateParameters``. The
schema has been the same since version 3, which only allows unknown elements at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroad.globalconf import elements
from postroad.globalconf.anchor import Anchor, parse_anchor_element, write_anchor_content
from postroad.globalconf.elements import XmlText, malformed
from postroad.globalconf.shared_parameters import SUPPORTED_VERSIONS
from postroad.identifiers import ClientId  # noqa: TC001 - dataclass field

_NEWEST_SCHEMA = 3
MAX_TRUSTED_ANCHORS = 1000


@dataclass(frozen=True, slots=True)
class ManagementService:
    """Where registration requests go, which TLS certificate answers there, and who provides."""

    registration_address: str
    provider: ClientId
    registration_certificate: bytes | None = None
    """DER of the registration service's TLS certificate, pinned by equality."""


@dataclass(frozen=True, slots=True)
class PrivateParameters:
    """The private parameters of one instance."""

    instance: str
    management_service: ManagementService
    trusted_anchors: tuple[Anchor, ...] = ()
    timestamping_interval_seconds: int = 60

    @classmethod
    def parse(cls, data: bytes, version: int) -> PrivateParameters:
        """Read a part of the given configuration version.

        Raises ``MalformedInput`` when the part breaks the schema of its version.
        """
        root = elements.parse_document(data, _schema(version))
        anchors = root.findall("configurationAnchor")
        if len(anchors) > MAX_TRUSTED_ANCHORS:
            raise malformed(f"{len(anchors)} trusted anchors; at most {MAX_TRUSTED_ANCHORS}")
        service = elements.required(root, "managementService")
        provider = elements.required(service, "managementRequestServiceProviderId")
        return cls(
            instance=elements.text(root, "instanceIdentifier"),
            management_service=ManagementService(
                elements.text(service, "authCertRegServiceAddress"),
                elements.client_of(provider),
                elements.optional_bytes(service, "authCertRegServiceCert"),
            ),
            trusted_anchors=tuple(parse_anchor_element(anchor) for anchor in anchors),
            timestamping_interval_seconds=elements.seconds(root, "timeStampingIntervalSeconds"),
        )

    def encode(self, version: int) -> bytes:
        """Write the part; ``ConfigurationError`` when it would break the schema."""
        service = self.management_service
        out = XmlText()
        with out.root("conf"):
            out.leaf("instanceIdentifier", self.instance)
            for anchor in self.trusted_anchors:
                with out.element("configurationAnchor"):
                    write_anchor_content(out, anchor)
            with out.element("managementService"):
                out.leaf("authCertRegServiceAddress", service.registration_address)
                out.data("authCertRegServiceCert", service.registration_certificate)
                out.client("managementRequestServiceProviderId", service.provider)
            out.leaf("timeStampingIntervalSeconds", str(self.timestamping_interval_seconds))
        return out.encode_readable(
            PrivateParameters.parse, version=version, what="private parameters"
        )


def _schema(version: int) -> str:
    if version not in SUPPORTED_VERSIONS:
        raise malformed(f"configuration version {version} is not one of {SUPPORTED_VERSIONS}")
    return f"private-parameters-v{min(version, _NEWEST_SCHEMA)}.xsd"
