"""What can go wrong, by who is to blame, and the closed list of fault codes.

The tree::

    PostroadError
    ├── MalformedInput       bytes from outside don't parse: tell the peer which rule
    ├── TrustError           it parses, but the proof doesn't hold
    ├── RefusedRequest       the proof holds, a rule says no
    ├── UnavailablePeer      another party didn't answer in time
    ├── ConfigurationError   our own settings or state forbid it: tell the administrator
    └── RemoteFault          a peer's fault, kept as it came

Explanations and the older spelling of each code are in ``postroad.fault_table``.
Source of the codes: reference ``ErrorCode`` and ``ErrorCodes`` at 7.8.0.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self


class FaultCode(StrEnum):
    """The last part of a fault code, in the spelling of 7.8 (wire form: ``prefix.tail``)."""

    INTERNAL_ERROR = "internal_error"
    IO_ERROR = "io_error"
    NETWORK_ERROR = "network_error"
    UNKNOWN_HOST = "unknown_host"
    HTTP_ERROR = "http_error"
    DATABASE_ERROR = "database_error"
    BAD_REQUEST = "bad_request"
    NOT_FOUND = "not_found"
    INVALID_RESPONSE = "invalid_response"
    INVALID_REQUEST = "invalid_request"
    INVALID_HTTP_METHOD = "invalid_http_method"
    INVALID_CONTENT_TYPE = "invalid_content_type"
    INVALID_SOAP_ACTION = "invalid_soap_action"
    MIME_PARSING_FAILED = "mime_parsing_failed"
    INVALID_MESSAGE = "invalid_message"
    INVALID_SOAP = "invalid_soap"
    INVALID_XML = "invalid_xml"
    MISSING_HEADER = "missing_header"
    MISSING_HEADER_FIELD = "missing_header_field"
    DUPLICATE_HEADER_FIELD = "duplicate_header_field"
    MISSING_BODY = "missing_body"
    INVALID_BODY = "invalid_body"
    INCONSISTENT_HEADERS = "inconsistent_headers"
    INVALID_PROTOCOL_VERSION = "invalid_protocol_version"
    MISSING_SOAP = "missing_soap"
    MISSING_REST = "missing_rest"
    MISSING_SIGNATURE = "missing_signature"
    INCONSISTENT_RESPONSE = "inconsistent_response"
    INVALID_CLIENT_IDENTIFIER = "invalid_client_identifier"
    UNKNOWN_MEMBER = "unknown_member"
    INVALID_SECURITY_SERVER = "invalid_security_server"
    MAINTENANCE_MODE = "maintenance_mode"
    CLIENT_PROXY_VERSION_NOT_SUPPORTED = "client_proxy_version_not_supported"
    SSL_AUTHENTICATION_FAILED = "ssl_authentication_failed"
    INVALID_REST = "invalid_rest"
    ACCESS_DENIED = "access_denied"
    UNKNOWN_SERVICE = "unknown_service"
    SERVICE_TYPE = "service_type"
    SERVICE_DISABLED = "service_disabled"
    SERVICE_MISSING_URL = "service_missing_url"
    SERVICE_MALFORMED_URL = "service_malformed_url"
    SERVICE_FAILED = "service_failed"
    CANNOT_CREATE_SIGNATURE = "cannot_create_signature"
    SIGNATURE_VERIFICATION = "signature_verification"
    MALFORMED_SIGNATURE = "malformed_signature"
    INVALID_SIGNATURE_VALUE = "invalid_signature_value"
    INVALID_REFERENCE = "invalid_reference"
    INCORRECT_CERTIFICATE = "incorrect_certificate"
    CERT_VALIDATION = "cert_validation"
    MISSING_VALIDATION_INFO = "missing_validation_info"
    CERT_VALIDITY_TIME = "cert_validity_time"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    INCORRECT_VALIDATION_INFO = "incorrect_validation_info"
    CANNOT_CREATE_CERT_PATH = "cannot_create_cert_path"
    INVALID_CERT_PATH = "invalid_cert_path"
    INVALID_HASH_CHAIN = "invalid_hash_chain"
    MALFORMED_HASH_CHAIN = "malformed_hash_chain"
    HASHCHAIN_UNUSED_INPUTS = "hashchain_unused_inputs"
    INVALID_HASH_CHAIN_REF = "invalid_hash_chain_ref"
    LOGGING_FAILED = "logging_failed"
    TIMESTAMPING_FAILED = "timestamping_failed"
    TIMESTAMPER_FAILED = "timestamper_failed"
    MLOG_NO_TIMESTAMPING_PROVIDER_FOUND = "mlog.no_timestamping_provider_found"
    MLOG_TSP_CERTIFICATE_NOT_FOUND = "mlog.tsp_certificate_not_found"
    MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED = "mlog.timestamp_signer_verification_failed"
    MLOG_TIMESTAMPING_NON_OK_RESPONSE = "mlog.timestamping_non_ok_response"
    MLOG_TIMESTAMP_NON_GRANTED_RESPONSE = "mlog.timestamp_non_granted_response"
    MLOG_TIMESTAMP_REQUEST_TIMED_OUT = "mlog.timestamp_request_timed_out"
    MLOG_TIMESTAMP_PROVIDER_CONNECTION_FAILED = "mlog.timestamp_provider_connection_failed"
    MLOG_TIMESTAMP_RESPONSE_VALIDATION_FAILED = "mlog.timestamp_response_validation_failed"
    MLOG_LOG_MANAGER_UNAVAILABLE = "mlog.log_manager_unavailable"
    MLOG_MESSAGE_LOG_RECORD_NOT_FOUND = "mlog.message_log_record_not_found"
    MLOG_ARCHIVING_FAILED = "mlog.archiving_failed"
    MLOG_ARCHIVE_TRANSFER_FAILED = "mlog.archive_transfer_failed"
    MLOG_INVALID_ARCHIVE = "mlog.invalid_archive"
    GLOBAL_CONF_OUTDATED = "global_conf_outdated"
    MALFORMED_GLOBAL_CONF = "malformed_global_conf"
    MALFORMED_SERVER_CONF = "malformed_server_conf"
    HSM_NON_OPERATIONAL = "hsm_non_operational"
    KEY_NOT_FOUND = "key_not_found"
    CERT_NOT_FOUND = "cert_not_found"
    TOKEN_NOT_ACTIVE = "token_not_active"  # noqa: S105 - a fault code, not a secret
    TOKEN_NOT_INITIALIZED = "token_not_initialized"  # noqa: S105 - a fault code
    TOKEN_NOT_AVAILABLE = "token_not_available"  # noqa: S105 - a fault code
    TOKEN_NOT_FOUND = "token_not_found"  # noqa: S105 - a fault code
    CANNOT_SIGN = "cannot_sign"
    UNSUPPORTED_SIGN_ALGORITHM = "unsupported_sign_algorithm"
    PIN_INCORRECT = "pin_incorrect"
    LOGIN_FAILED = "login_failed"
    CERT_EXISTS = "cert_exists"
    CERT_IMPORT_FAILED = "cert_import_failed"
    WRONG_CERT_USAGE = "wrong_cert_usage"
    ACME_FAILED = "acme_failed"
    CSR_FAILED = "failed_to_generate_certificate_request"
    CSR_NOT_FOUND = "csr_not_found"
    KEY_NOT_AVAILABLE = "key_not_available"
    TOKEN_READONLY = "token_readonly"  # noqa: S105 - a fault code
    CRYPTOGRAPHY_ERROR = "cryptography_error"
    ASIC_INVALID_CONTAINER = "asic_invalid_container"
    ASIC_MIME_TYPE_NOT_FOUND = "asic_mime_type_not_found"
    ASIC_INVALID_MIME_TYPE = "asic_invalid_mime_type"
    ASIC_MESSAGE_NOT_FOUND = "asic_message_not_found"
    ASIC_SIGNATURE_NOT_FOUND = "asic_signature_not_found"
    ASIC_HASH_CHAIN_RESULT_NOT_FOUND = "asic_hash_chain_result_not_found"
    ASIC_HASH_CHAIN_NOT_FOUND = "asic_hash_chain_not_found"
    ASIC_TIMESTAMP_NOT_FOUND = "asic_timestamp_not_found"
    ASIC_MANIFEST_NOT_FOUND = "asic_manifest_not_found"
    GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE = "global_conf_download_url_connection_failure"
    GLOBAL_CONF_GET_VERSION_FAILED = "global_conf_get_version_failed"
    GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE = (
        "global_conf_parsing_downloaded_conf_directory_failure"
    )
    GLOBAL_CONF_MISSING_SIGNED_DATA = "global_conf_missing_signed_data"
    GLOBAL_CONF_MISSING_SIGNED_DATA_EXPIRATION_DATE = (
        "global_conf_missing_signed_data_expiration_date"
    )
    GLOBAL_CONF_HEADER_FIELD_MISSING = "global_conf_header_field_missing"
    GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER = "global_conf_header_field_missing_parameter"
    GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE = "global_conf_header_field_wrong_value"
    GLOBAL_CONF_MISSING_VERIFICATION_CERT = "global_conf_missing_verification_cert"
    GLOBAL_CONF_SIGNATURE_DECODE_FAILURE = "global_conf_signature_decode_failure"
    GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE = "global_conf_signature_verification_failure"
    GLOBAL_CONF_PART_DOWNLOAD_FAILURE = "global_conf_part_download_failure"
    GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE = (
        "global_conf_part_downloaded_file_integrity_failure"
    )
    GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER = "global_conf_part_invalid_instance_identifier"
    GLOBAL_CONF_PART_FILE_SAVE_FAILURE = "global_conf_part_file_save_failure"
    FAILED_TO_SAVE_INSTANCE_IDENTIFIER = "failed_to_save_instance_identifier"
    ANCHOR_FILE_NOT_FOUND = "anchor_file_not_found"
    MALFORMED_ANCHOR = "malformed_anchor"


class PostroadError(Exception):
    """Any refusal, with the fault code a peer would be told and a message for people.

    ``prefix`` holds the leading parts of the code, outermost first.

    >>> error = RefusedRequest("no right", code=FaultCode.ACCESS_DENIED)
    >>> error.within("server", "serverproxy").fault_code
    'server.serverproxy.access_denied'
    """

    default_code: ClassVar[FaultCode] = FaultCode.INTERNAL_ERROR

    def __init__(
        self, message: str, *, code: FaultCode | None = None, prefix: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.prefix = prefix

    @property
    def fault_code(self) -> str:
        """The dotted code in the spelling of 7.8."""
        return ".".join((*self.prefix, self.code.value))

    def within(self, *prefix: str) -> Self:
        """Put ``prefix`` in front of the code, unless it stands there already."""
        if self.prefix[: len(prefix)] != prefix:
            self.prefix = (*prefix, *self.prefix)
        return self


class MalformedInput(PostroadError):
    """Bytes from outside don't parse."""

    default_code = FaultCode.INVALID_MESSAGE


class TrustError(PostroadError):
    """The input parses, but a signature, certificate, time-stamp or configuration doesn't hold."""

    default_code = FaultCode.CERT_VALIDATION


class RefusedRequest(PostroadError):
    """The proof holds, and a rule says no."""

    default_code = FaultCode.ACCESS_DENIED


class UnavailablePeer(PostroadError):
    """Another party didn't answer, or not in time."""

    default_code = FaultCode.NETWORK_ERROR


class ConfigurationError(PostroadError):
    """Our own settings or state forbid it; the administrator can mend it."""

    default_code = FaultCode.INTERNAL_ERROR


class RemoteFault(PostroadError):
    """A fault that a peer sent, kept word for word: its code is relayed, never re-prefixed.

    ``xml`` is the SOAP fault as it came, for those who relay it as it is; empty if there is none.
    """

    def __init__(
        self, code_text: str, string: str, *, actor: str = "", detail: str = "", xml: bytes = b""
    ) -> None:
        super().__init__(string)
        self.code_text = code_text
        self.actor = actor
        self.detail = detail
        self.xml = xml

    @property
    def fault_code(self) -> str:
        """The code exactly as the peer spelled it."""
        return self.code_text

    def within(self, *prefix: str) -> Self:  # noqa: ARG002 - a remote code keeps its own prefix
        """Return the fault unchanged."""
        return self
