"""Why does the registry say no, in words for people and a code for programs?

The codes are the tails that the management interface answers with.
"""

from __future__ import annotations

from enum import StrEnum

from postroad.errors import FaultCode, RefusedRequest


class Problem(StrEnum):
    """What was wrong with an operation on the registry."""

    ALREADY_INITIALIZED = "already_initialized"
    NOT_INITIALIZED = "not_initialized"
    INVALID_IDENTIFIER = "invalid_identifier"
    INVALID_VALUE = "invalid_value"
    CONFLICT = "conflict"
    INVALID_CERTIFICATE = "invalid_certificate"
    FOREIGN_INSTANCE = "foreign_instance"
    MEMBER_CLASS_NOT_FOUND = "member_class_not_found"
    MEMBER_CLASS_EXISTS = "member_class_exists"
    MEMBER_CLASS_IN_USE = "member_class_is_in_use"
    MEMBER_NOT_FOUND = "member_not_found"
    MEMBER_EXISTS = "member_exists"
    SUBSYSTEM_NOT_FOUND = "subsystem_not_found"
    SUBSYSTEM_EXISTS = "subsystem_exists"
    SUBSYSTEM_REGISTERED = "subsystem_registered_and_cannot_be_deleted"
    SECURITY_SERVER_NOT_FOUND = "security_server_not_found"
    SECURITY_SERVER_HOSTS_PROVIDER = "mr_forbidden_enable_maintenance_mode_for_management_service"
    CERTIFICATE_ALREADY_REGISTERED = "certificate_already_registered"
    CERTIFICATE_OF_OTHER_KEY = "certificate_of_another_key"
    CERTIFICATE_IN_USE = "certificate_already_in_use"
    INVALID_DISTINGUISHED_NAME = "invalid_distinguished_name"
    CERTIFICATE_NOT_FOUND = "certificate_not_found"
    CANNOT_REGISTER_OWNER = "management_request_cannot_register_owner"
    CLIENT_NOT_REGISTERED = "management_request_server_client_not_found"
    FORBIDDEN_DISABLE_PROVIDER = "mr_forbidden_disable_management_service_client"
    MAINTENANCE_ALREADY_ON = "management_request_server_already_in_maintenance_mode"
    MAINTENANCE_ALREADY_OFF = "management_request_server_not_in_maintenance_mode"
    GLOBAL_GROUP_NOT_FOUND = "global_group_not_found"
    GLOBAL_GROUP_EXISTS = "global_group_exists"
    OWNERS_GROUP = "owners_group_cannot_be_edited"
    GLOBAL_GROUP_MEMBER_NOT_FOUND = "global_group_member_not_found"
    CERTIFICATION_SERVICE_NOT_FOUND = "certification_service_not_found"
    UNKNOWN_PROFILE = "unknown_certificate_profile"
    INTERMEDIATE_CA_NOT_FOUND = "intermediate_ca_not_found"
    OCSP_RESPONDER_NOT_FOUND = "ocsp_responder_not_found"
    TIMESTAMPING_SERVICE_NOT_FOUND = "timestamping_service_not_found"
    UNKNOWN_PARAMETER = "unknown_system_parameter"
    PARAMETER_IS_FIXED = "system_parameter_is_fixed"
    TOO_MANY_SIGNING_KEYS = "maximum_number_of_signing_keys_reached"
    SIGNING_KEY_NOT_FOUND = "signing_key_not_found"
    SIGNING_KEY_ACTIVE = "active_signing_key_cannot_be_deleted"
    SIGNING_KEY_NOT_ANNOUNCED = "signing_key_not_announced_yet"
    ANCHOR_NOT_FOUND = "configuration_anchor_not_found"
    UNKNOWN_CONFIGURATION_PART = "unknown_configuration_part"
    MALFORMED_ANCHOR = "malformed_anchor"
    TRUSTED_ANCHOR_NOT_FOUND = "trusted_anchor_not_found"
    TRUSTED_ANCHOR_OF_OWN_INSTANCE = "trusted_anchor_of_own_instance"
    TRUSTED_ANCHOR_OLDER = "trusted_anchor_older"
    TRUSTED_ANCHOR_NOT_VERIFIED = "trusted_anchor_verification_failed"
    TOO_MANY_TRUSTED_ANCHORS = "maximum_number_of_trusted_anchors_reached"
    REQUEST_NOT_FOUND = "management_request_not_found"
    REQUEST_EXISTS = "management_request_exists"
    REQUEST_STATE = "management_request_invalid_state"
    REQUEST_APPROVAL_STATE = "management_request_invalid_state_for_approval"
    REQUEST_AUTH_CERTIFICATE = "management_request_invalid_auth_certificate"
    REQUEST_CERTIFICATE_REGISTERED = "management_request_security_server_exists"
    REQUEST_OWNER_NOT_FOUND = "management_request_server_owner_not_found"
    REQUEST_SERVER_NOT_FOUND = "management_request_server_not_found"
    REQUEST_MEMBER_NOT_FOUND = "management_request_member_not_found"
    REQUEST_CLIENT_REGISTERED = "management_request_client_already_registered"
    REQUEST_REGISTRATION_NOT_FOUND = "management_request_client_registration_not_found"
    REQUEST_OWNER_NOT_MEMBER = "management_request_owner_must_be_member"
    REQUEST_OWNER_NOT_CLIENT = "management_request_owner_must_be_client"
    REQUEST_ALREADY_OWNER = "management_request_client_already_owner"
    REQUEST_SERVER_CODE_EXISTS = "management_request_server_code_exists"
    PROVIDER_NOT_SET = "management_service_provider_not_set"
    PROVIDER_REGISTERED = "subsystem_already_registered_to_security_server"
    ADMINISTRATOR_EXISTS = "administrator_exists"
    ADMINISTRATOR_NOT_FOUND = "administrator_not_found"
    WEAK_PASSWORD = "administrator_password_weak"  # noqa: S105 - a problem, not a secret
    UNKNOWN_ROLE = "unknown_role"
    MISSING_ROLE = "missing_role"
    API_KEY_NOT_FOUND = "api_key_not_found"
    REQUEST_RENAMES_MEMBER = "management_request_only_subsystem_rename_allowed"

    @property
    def http_status(self) -> int:
        """The status that the management interface answers with: 404, 409 or 400."""
        if self in _BAD_REQUESTS:
            return 400
        if "exists" in self.value or "already" in self.value or self in _CONFLICTS:
            return 409
        return 404 if self.value.endswith("not_found") else 400


_CONFLICTS = frozenset(
    {
        Problem.CONFLICT,
        Problem.SUBSYSTEM_REGISTERED,
        Problem.MEMBER_CLASS_IN_USE,
        Problem.CLIENT_NOT_REGISTERED,
        Problem.FORBIDDEN_DISABLE_PROVIDER,
        Problem.SECURITY_SERVER_HOSTS_PROVIDER,
        Problem.MAINTENANCE_ALREADY_OFF,
        Problem.REQUEST_MEMBER_NOT_FOUND,
    }
)
_BAD_REQUESTS = frozenset({Problem.PROVIDER_REGISTERED, Problem.REQUEST_ALREADY_OWNER})


class RegistryRefusal(RefusedRequest):
    """An operation that a rule of the registry forbids; ``problem`` says which.

    ``http_status`` is the problem's own, but for the few that are told with two statuses.

    >>> RegistryRefusal(Problem.MEMBER_NOT_FOUND, "no member EE/GOV/1").fault_code
    'not_found'
    """

    def __init__(self, problem: Problem, message: str, *, http_status: int | None = None) -> None:
        missing = problem.value.endswith("not_found")
        super().__init__(
            message, code=FaultCode.NOT_FOUND if missing else FaultCode.INVALID_REQUEST
        )
        self.problem = problem
        self.http_status = http_status or problem.http_status
