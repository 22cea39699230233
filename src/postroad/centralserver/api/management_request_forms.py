"""How does a caller write each of the eleven kinds of management requests?

The field ``type`` tells them apart. Source: the schemas below ``ManagementRequest`` in the
reference's OpenAPI document.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from postroad.centralserver.api.schemas import (
    EncodedId,
    Payload,
    Text,
    parse_client_id,
)
from postroad.centralserver.registry.requests import type_name
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    AuthCertRegistration,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRegistration,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    ManagementRequest,
    OwnerChange,
    ServiceCode,
)

if TYPE_CHECKING:
    from postroad.identifiers import SecurityServerId

_Name = Annotated[str, msgspec.Meta(max_length=255)]


class RequestType(StrEnum):
    """The kinds of requests, as the management interface calls them."""

    AUTH_CERT_REGISTRATION_REQUEST = "AUTH_CERT_REGISTRATION_REQUEST"
    AUTH_CERT_DELETION_REQUEST = "AUTH_CERT_DELETION_REQUEST"
    CLIENT_REGISTRATION_REQUEST = "CLIENT_REGISTRATION_REQUEST"
    CLIENT_DELETION_REQUEST = "CLIENT_DELETION_REQUEST"
    CLIENT_DISABLE_REQUEST = "CLIENT_DISABLE_REQUEST"
    CLIENT_ENABLE_REQUEST = "CLIENT_ENABLE_REQUEST"
    CLIENT_RENAME_REQUEST = "CLIENT_RENAME_REQUEST"
    OWNER_CHANGE_REQUEST = "OWNER_CHANGE_REQUEST"
    ADDRESS_CHANGE_REQUEST = "ADDRESS_CHANGE_REQUEST"
    MAINTENANCE_MODE_ENABLE_REQUEST = "MAINTENANCE_MODE_ENABLE_REQUEST"
    MAINTENANCE_MODE_DISABLE_REQUEST = "MAINTENANCE_MODE_DISABLE_REQUEST"

    @classmethod
    def of(cls, registry_name: str) -> RequestType:
        """The kind of a request that the registry calls so.

        >>> RequestType.of("ClientRegRequest").value
        'CLIENT_REGISTRATION_REQUEST'
        """
        return _TYPES[registry_name]

    @property
    def registry_name(self) -> str:
        """What the registry calls it.

        >>> RequestType.CLIENT_REGISTRATION_REQUEST.registry_name
        'ClientRegRequest'
        """
        return next(name for name, kind in _TYPES.items() if kind is self)


_TYPES = dict(
    zip(
        map(
            type_name,
            (
                ServiceCode.AUTH_CERT_REGISTRATION,
                ServiceCode.AUTH_CERT_DELETION,
                ServiceCode.CLIENT_REGISTRATION,
                ServiceCode.CLIENT_DELETION,
                ServiceCode.CLIENT_DISABLING,
                ServiceCode.CLIENT_ENABLING,
                ServiceCode.CLIENT_RENAMING,
                ServiceCode.OWNER_CHANGE,
                ServiceCode.ADDRESS_CHANGE,
                ServiceCode.MAINTENANCE_START,
                ServiceCode.MAINTENANCE_END,
            ),
        ),
        RequestType,
        strict=True,
    )
)


class _Form(Payload, tag_field="type"):
    """What all kinds have in common."""

    origin: Literal["CENTER", "SECURITY_SERVER"]
    security_server_id: EncodedId


class AuthenticationCertificateRegistrationRequest(_Form, tag="AUTH_CERT_REGISTRATION_REQUEST"):
    """Register an authentication certificate (DER or PEM, in base64)."""

    authentication_certificate: bytes
    server_address: Text

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return AuthCertRegistration(server, self.authentication_certificate, self.server_address)


class AuthenticationCertificateDeletionRequest(_Form, tag="AUTH_CERT_DELETION_REQUEST"):
    """Remove an authentication certificate (DER, in base64)."""

    authentication_certificate: bytes

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return AuthCertDeletion(server, self.authentication_certificate)


class ClientRegistrationRequest(_Form, tag="CLIENT_REGISTRATION_REQUEST"):
    """Register a client."""

    client_id: EncodedId
    subsystem_name: _Name | None = None

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return ClientRegistration(server, parse_client_id(self.client_id), self.subsystem_name)


class ClientDeletionRequest(_Form, tag="CLIENT_DELETION_REQUEST"):
    """End the registration of a client."""

    client_id: EncodedId

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return ClientDeletion(server, parse_client_id(self.client_id))


class ClientDisableRequest(_Form, tag="CLIENT_DISABLE_REQUEST"):
    """Take a client out of service."""

    client_id: EncodedId

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return ClientDisabling(server, parse_client_id(self.client_id))


class ClientEnableRequest(_Form, tag="CLIENT_ENABLE_REQUEST"):
    """Take a client back into service."""

    client_id: EncodedId

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return ClientEnabling(server, parse_client_id(self.client_id))


class ClientRenameRequest(_Form, tag="CLIENT_RENAME_REQUEST"):
    """Give a subsystem another name."""

    client_id: EncodedId
    subsystem_name: Text

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return ClientRenaming(server, parse_client_id(self.client_id), self.subsystem_name)


class OwnerChangeRequest(_Form, tag="OWNER_CHANGE_REQUEST"):
    """Make a client the owner."""

    client_id: EncodedId

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return OwnerChange(server, parse_client_id(self.client_id))


class AddressChangeRequest(_Form, tag="ADDRESS_CHANGE_REQUEST"):
    """Change the address of a server."""

    server_address: Text

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return AddressChange(server, self.server_address)


class MaintenanceModeEnableRequest(_Form, tag="MAINTENANCE_MODE_ENABLE_REQUEST"):
    """Begin maintenance."""

    message: _Name | None = None

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return MaintenanceStart(server, self.message)


class MaintenanceModeDisableRequest(_Form, tag="MAINTENANCE_MODE_DISABLE_REQUEST"):
    """End maintenance."""

    def read(self, server: SecurityServerId) -> ManagementRequest:
        """The request itself."""
        return MaintenanceEnd(server)


NewManagementRequest: TypeAlias = (
    AuthenticationCertificateRegistrationRequest
    | AuthenticationCertificateDeletionRequest
    | ClientRegistrationRequest
    | ClientDeletionRequest
    | ClientDisableRequest
    | ClientEnableRequest
    | ClientRenameRequest
    | OwnerChangeRequest
    | AddressChangeRequest
    | MaintenanceModeEnableRequest
    | MaintenanceModeDisableRequest
)


def type_of(form: NewManagementRequest) -> RequestType:
    """The kind of a request."""
    return RequestType(str(form.__struct_config__.tag))
