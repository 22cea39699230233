"""What does a fault code mean, how was it spelled before 7.8, who must act, and what is next.

One table feeds the faults on the wire, ``postroad explain CODE`` and ``docs/fault-codes.md``.
Spellings: snake_case from 7.8, CamelCase up to 7.7 (reference ``ErrorCode`` at 7.8.0 beside
``ErrorCodes`` at 7.5.2). We write one of them as configured and accept both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postroad.errors import FaultCode


class Dialect(Enum):
    """How fault codes are spelled on the wire."""

    SNAKE = "snake"
    CAMEL = "camel"


class Side(Enum):
    """Who must act when a fault with this code is seen."""

    CONSUMER = "the information system that called"
    CLIENT_SERVER = "the operator of the client's Security Server"
    PROVIDER_SERVER = "the operator of the provider's Security Server"
    PROVIDER = "the owner of the service"
    GOVERNANCE = "the operator of the Central Server"
    REPORTER = "the operator of the Security Server that reports it"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A fault code in words: what happened, who must act, what they do next."""

    code: str
    legacy: str
    meaning: str
    side: Side
    next_step: str


def _row(code: FaultCode, meaning: str, side: Side, next_step: str) -> Explanation:
    return Explanation(
        code.value, _LEGACY.get(code.value, _camel(code.value)), meaning, side, next_step
    )


def _camel(tail: str) -> str:
    return ".".join(
        "".join(word[:1].upper() + word[1:] for word in segment.split("_"))
        for segment in tail.split(".")
    )


_LEGACY = {
    FaultCode.IO_ERROR.value: "IOError",
    FaultCode.GLOBAL_CONF_OUTDATED.value: "OutdatedGlobalConf",
    FaultCode.CSR_FAILED.value: "FailedToGenerateCertificateRequest",
    FaultCode.HSM_NON_OPERATIONAL.value: "HSMNonOperational",
    FaultCode.HASHCHAIN_UNUSED_INPUTS.value: "HashChainUnusedInputs",
    FaultCode.MLOG_NO_TIMESTAMPING_PROVIDER_FOUND.value: "MLog.NoTimestampingProviderFound",
    FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND.value: "MLog.TspCertificateNotFound",
    FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED.value: (
        "MLog.TimestampSignerVerificationFailed"
    ),
    FaultCode.MLOG_TIMESTAMPING_NON_OK_RESPONSE.value: "MLog.TimestampingNonOkResponse",
    FaultCode.MLOG_TIMESTAMP_NON_GRANTED_RESPONSE.value: "MLog.TimestampNonGrantedResponse",
}
_PREFIXES = {
    "server": "Server",
    "client": "Client",
    "clientproxy": "ClientProxy",
    "serverproxy": "ServerProxy",
    "signer": "Signer",
    "mlog": "MLog",
}
_PREFIX_MEANING = {
    "client": "The caller's request is at fault",
    "server.clientproxy": "The client's Security Server reports",
    "server.serverproxy": "The provider's Security Server reports",
    "signer": "the signer of that server says",
    "service_failed": "while it was dealing with the other side",
    "signature_verification": "while it was verifying a signature",
    "malformed_signature": "in a signature that isn't well made",
    "cannot_create_signature": "while it was making a signature",
    "logging_failed": "while it was writing the message log",
}

_C = FaultCode
_S = Side

_LOOK_IN_LOG = "Look up the fault's detail (a UUID) in that server's log."
_GLOBAL_CONF = (
    "Check that the server reaches the Central Server (`postroad server status`), and that its "
    "clock is right."
)

_TABLE: tuple[Explanation, ...] = (
    _row(
        _C.INTERNAL_ERROR,
        "Something unexpected happened, or the request line, an identifier or "
        "a header couldn't be read.",
        _S.REPORTER,
        "Check the identifiers and the method of the request; then " + _LOOK_IN_LOG.lower(),
    ),
    _row(
        _C.IO_ERROR,
        "Reading or writing a stream failed in the middle of an exchange.",
        _S.REPORTER,
        "Try again; if it stays, check the network between the servers and the disk.",
    ),
    _row(
        _C.NETWORK_ERROR,
        "No address of the other server could be reached.",
        _S.CLIENT_SERVER,
        "Check the firewall for ports 5500 and 5577, and the provider's address in the registry.",
    ),
    _row(
        _C.UNKNOWN_HOST,
        "A host name has no address.",
        _S.REPORTER,
        "Check the service's URL or the server's registered address, and DNS.",
    ),
    _row(
        _C.HTTP_ERROR,
        "The other side answered with an HTTP status that the protocol doesn't allow.",
        _S.REPORTER,
        "Check that nothing stands between the servers on port 5500.",
    ),
    _row(
        _C.DATABASE_ERROR,
        "A database of the server failed.",
        _S.REPORTER,
        "Check that the database runs and that its disk isn't full.",
    ),
    _row(
        _C.BAD_REQUEST,
        "A parameter of the request is missing or wrong.",
        _S.CONSUMER,
        "Correct the parameters.",
    ),
    _row(_C.NOT_FOUND, "There is no such thing here.", _S.CONSUMER, "Check the identifiers."),
    _row(
        _C.INVALID_REQUEST,
        "The request lacks a content type or a parameter.",
        _S.CONSUMER,
        "Compare the request with the service description.",
    ),
    _row(
        _C.INVALID_HTTP_METHOD,
        "Only POST is allowed here.",
        _S.CONSUMER,
        "REST calls start with /r1/; SOAP messages are sent with POST.",
    ),
    _row(
        _C.INVALID_CONTENT_TYPE,
        "The content type of the message or of a part isn't allowed.",
        _S.CONSUMER,
        "Send text/xml, application/xop+xml or multipart/related.",
    ),
    _row(
        _C.INVALID_SOAP_ACTION,
        "The SOAPAction header is neither empty nor a quoted URI.",
        _S.CONSUMER,
        'Send SOAPAction: "" .',
    ),
    _row(
        _C.MIME_PARSING_FAILED,
        "The multipart structure is broken.",
        _S.REPORTER,
        "If it repeats, something between the servers changes messages.",
    ),
    _row(
        _C.INVALID_MESSAGE,
        "Parts of the message are missing, doubled or out of order.",
        _S.REPORTER,
        "If it repeats, compare the versions of the two servers.",
    ),
    _row(_C.INVALID_SOAP, "This isn't a SOAP 1.1 message.", _S.CONSUMER, "Check the envelope."),
    _row(
        _C.INVALID_XML,
        "The XML isn't well-formed or breaks its schema.",
        _S.CONSUMER,
        "Validate the document.",
    ),
    _row(
        _C.MISSING_HEADER,
        "The SOAP message has no header.",
        _S.CONSUMER,
        "Add the client, service, id and protocolVersion headers.",
    ),
    _row(
        _C.MISSING_HEADER_FIELD,
        "A mandatory SOAP header is missing.",
        _S.CONSUMER,
        "Add the header that the message names.",
    ),
    _row(
        _C.DUPLICATE_HEADER_FIELD,
        "A SOAP header stands there twice.",
        _S.CONSUMER,
        "Send each header once.",
    ),
    _row(_C.MISSING_BODY, "The SOAP message has no body.", _S.CONSUMER, "Add the body."),
    _row(
        _C.INVALID_BODY,
        "The SOAP body must hold exactly one element.",
        _S.CONSUMER,
        "Wrap the request in one element named after the service.",
    ),
    _row(
        _C.INCONSISTENT_HEADERS,
        "The body's element doesn't belong to the service named in the header.",
        _S.CONSUMER,
        "Name the wrapper element after the service code.",
    ),
    _row(
        _C.INVALID_PROTOCOL_VERSION,
        "The message protocol's version must be 4.x.",
        _S.CONSUMER,
        "Send protocolVersion 4.0.",
    ),
    _row(
        _C.MISSING_SOAP, "The message has no SOAP part.", _S.CONSUMER, "Send the SOAP part first."
    ),
    _row(
        _C.MISSING_REST,
        "The message has no REST part.",
        _S.REPORTER,
        "The other server sent an incomplete message; compare versions.",
    ),
    _row(
        _C.MISSING_SIGNATURE,
        "The message carries no signature.",
        _S.REPORTER,
        "The other server failed while it was signing; ask its operator.",
    ),
    _row(
        _C.INCONSISTENT_RESPONSE,
        "The response belongs to another request than the one sent.",
        _S.PROVIDER_SERVER,
        "Ask the provider's operator; nothing was delivered.",
    ),
    _row(
        _C.INVALID_CLIENT_IDENTIFIER,
        "X-Road-Client is missing or isn't an identifier.",
        _S.CONSUMER,
        "Send X-Road-Client: INSTANCE/CLASS/MEMBER/SUBSYSTEM.",
    ),
    _row(
        _C.UNKNOWN_MEMBER,
        "The client isn't registered on this server, or no server offers the provider.",
        _S.CLIENT_SERVER,
        "Check the spelling; see `postroad server client list` and the registry.",
    ),
    _row(
        _C.INVALID_SECURITY_SERVER,
        "The Security Server named in the request isn't one of the provider's.",
        _S.CONSUMER,
        "Correct or leave out X-Road-Security-Server.",
    ),
    _row(
        _C.MAINTENANCE_MODE,
        "Every server of the provider is in maintenance.",
        _S.PROVIDER_SERVER,
        "Try later; the notice says until when.",
    ),
    _row(
        _C.CLIENT_PROXY_VERSION_NOT_SUPPORTED,
        "The provider's server wants a newer client server.",
        _S.CLIENT_SERVER,
        "Upgrade the client's Security Server.",
    ),
    _row(
        _C.SSL_AUTHENTICATION_FAILED,
        "One side couldn't prove who it is over TLS.",
        _S.REPORTER,
        "Consumer to server: register the information system's certificate. Server to server: "
        "check the authentication certificate's registration and its OCSP answer.",
    ),
    _row(
        _C.ACCESS_DENIED,
        "The client has no right to call this service with this method and "
        "path, or the path isn't in its plain form.",
        _S.PROVIDER,
        "Ask the owner of the service for the access right; send plain paths.",
    ),
    _row(
        _C.UNKNOWN_SERVICE,
        "The provider has no such service.",
        _S.CONSUMER,
        "Check the service code; it is case-sensitive.",
    ),
    _row(
        _C.SERVICE_TYPE,
        "A SOAP service was called over REST, or the reverse.",
        _S.CONSUMER,
        "Use the protocol of the service description.",
    ),
    _row(
        _C.SERVICE_DISABLED,
        "The owner has switched the service off.",
        _S.PROVIDER,
        "The notice says why and until when.",
    ),
    _row(
        _C.SERVICE_MISSING_URL,
        "The service has no address configured.",
        _S.PROVIDER_SERVER,
        "Set the service's url.",
    ),
    _row(
        _C.SERVICE_MALFORMED_URL,
        "The service's configured address isn't a URL.",
        _S.PROVIDER_SERVER,
        "Correct the service's url.",
    ),
    _row(
        _C.SERVICE_FAILED,
        "The service behind the provider's server didn't answer properly.",
        _S.PROVIDER,
        "Check that the service runs and answers in time.",
    ),
    _row(
        _C.CANNOT_CREATE_SIGNATURE,
        "There is no usable signing key: logged out, not active, "
        "expired, or without a fresh OCSP answer.",
        _S.REPORTER,
        "Log in the token; see `postroad server token status` and the OCSP status.",
    ),
    _row(
        _C.SIGNATURE_VERIFICATION,
        "The signature of the message doesn't hold.",
        _S.REPORTER,
        "Nothing was delivered. Compare the global configurations of the two servers.",
    ),
    _row(
        _C.MALFORMED_SIGNATURE,
        "The signature isn't made as the profile says.",
        _S.REPORTER,
        "Nothing was delivered. Ask the signer's operator which software made it.",
    ),
    _row(
        _C.INVALID_SIGNATURE_VALUE,
        "A digest or the signature value is wrong: the content was changed after signing.",
        _S.REPORTER,
        "Nothing was delivered. Look for whatever changes messages between the servers.",
    ),
    _row(
        _C.INVALID_REFERENCE,
        "The signature refers to data that isn't there or has changed.",
        _S.REPORTER,
        "Nothing was delivered. Look for whatever changes messages.",
    ),
    _row(
        _C.INCORRECT_CERTIFICATE,
        "The certificate belongs to somebody else than the sender.",
        _S.REPORTER,
        "Check which member's key signs for this client.",
    ),
    _row(
        _C.CERT_VALIDATION,
        "A certificate isn't valid: revoked, unknown or without an OCSP answer.",
        _S.REPORTER,
        "Check the certificate with its CA.",
    ),
    _row(
        _C.INCORRECT_VALIDATION_INFO,
        "An OCSP answer doesn't hold: stale, for another "
        "certificate, or signed by somebody without authority.",
        _S.REPORTER,
        "Check the OCSP responder, the clocks and the freshness limit.",
    ),
    _row(
        _C.CANNOT_CREATE_CERT_PATH,
        "No chain leads from the certificate to an approved CA.",
        _S.REPORTER,
        "The CA must be approved in the member's instance.",
    ),
    _row(
        _C.INVALID_CERT_PATH,
        "The chain to the approved CA is broken or expired.",
        _S.REPORTER,
        "Renew the certificate that has expired.",
    ),
    _row(
        _C.INVALID_HASH_CHAIN,
        "The hash chain leads to another result than the one signed.",
        _S.REPORTER,
        "Nothing was delivered. The content was changed after signing.",
    ),
    _row(
        _C.MALFORMED_HASH_CHAIN,
        "The hash chain isn't well made.",
        _S.REPORTER,
        "Nothing was delivered. Ask the signer's operator which software made it.",
    ),
    _row(
        _C.HASHCHAIN_UNUSED_INPUTS,
        "A part of the message isn't covered by the hash chain.",
        _S.REPORTER,
        "Nothing was delivered. The part may have been added after signing.",
    ),
    _row(
        _C.INVALID_HASH_CHAIN_REF,
        "The hash chain refers to data that differs or is missing.",
        _S.REPORTER,
        "Nothing was delivered. The content was changed after signing.",
    ),
    _row(
        _C.LOGGING_FAILED,
        "The message log refused the message, so it was not exchanged.",
        _S.REPORTER,
        "Check the log writer, its disk and the time-stamping status.",
    ),
    _row(
        _C.TIMESTAMPING_FAILED,
        "Time-stamping has failed for longer than allowed.",
        _S.REPORTER,
        "Check that a time-stamping service answers; exchange resumes by itself.",
    ),
    _row(
        _C.TIMESTAMPER_FAILED,
        "A time-stamp could not be made.",
        _S.REPORTER,
        "Check the time-stamping services.",
    ),
    _row(
        _C.MLOG_NO_TIMESTAMPING_PROVIDER_FOUND,
        "No time-stamping service is configured.",
        _S.REPORTER,
        "Add an approved time-stamping service.",
    ),
    _row(
        _C.MLOG_TSP_CERTIFICATE_NOT_FOUND,
        "The time-stamp was signed by a certificate that isn't approved.",
        _S.GOVERNANCE,
        "Approve the service's present certificate.",
    ),
    _row(
        _C.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED,
        "The time-stamp's signature doesn't hold.",
        _S.REPORTER,
        "Ask the time-stamping service.",
    ),
    _row(
        _C.MLOG_TIMESTAMPING_NON_OK_RESPONSE,
        "The time-stamping service answered with an HTTP error.",
        _S.REPORTER,
        "Check the service's address.",
    ),
    _row(
        _C.MLOG_TIMESTAMP_NON_GRANTED_RESPONSE,
        "The time-stamping service refused.",
        _S.REPORTER,
        "Ask the time-stamping service.",
    ),
    _row(
        _C.GLOBAL_CONF_OUTDATED,
        "The global configuration has expired; nothing is exchanged without a fresh one.",
        _S.REPORTER,
        _GLOBAL_CONF,
    ),
    _row(
        _C.MALFORMED_GLOBAL_CONF,
        "The global configuration can't be read.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator; the last good one stays in use until it expires.",
    ),
    _row(
        _C.MALFORMED_SERVER_CONF,
        "The server's own configuration can't be read.",
        _S.REPORTER,
        "Restore the server's configuration.",
    ),
    _row(
        _C.HSM_NON_OPERATIONAL, "A hardware token doesn't work.", _S.REPORTER, "Check the device."
    ),
    _row(
        _C.KEY_NOT_FOUND,
        "The signer has no such key.",
        _S.REPORTER,
        "See `postroad server key list`.",
    ),
    _row(
        _C.CERT_NOT_FOUND,
        "The signer has no such certificate.",
        _S.REPORTER,
        "See `postroad server cert list`.",
    ),
    _row(
        _C.TOKEN_NOT_ACTIVE,
        "Nobody has logged in to the token since the start.",
        _S.REPORTER,
        "Run `postroad server token login`.",
    ),
    _row(
        _C.TOKEN_NOT_INITIALIZED,
        "The token has no PIN yet.",
        _S.REPORTER,
        "Run `postroad server token init`.",
    ),
    _row(_C.TOKEN_NOT_AVAILABLE, "The token isn't there.", _S.REPORTER, "Check the device."),
    _row(
        _C.TOKEN_NOT_FOUND,
        "There is no such token.",
        _S.REPORTER,
        "See `postroad server token status`.",
    ),
    _row(_C.CANNOT_SIGN, "The key could not sign.", _S.REPORTER, _LOOK_IN_LOG),
    _row(
        _C.UNSUPPORTED_SIGN_ALGORITHM,
        "The key can't sign with that algorithm.",
        _S.REPORTER,
        "Use SHA-256, SHA-384 or SHA-512.",
    ),
    _row(_C.PIN_INCORRECT, "The PIN is wrong.", _S.REPORTER, "Enter the right PIN."),
    _row(_C.LOGIN_FAILED, "Logging in to the token failed.", _S.REPORTER, _LOOK_IN_LOG),
    _row(_C.CERT_EXISTS, "That certificate is there already.", _S.REPORTER, "Nothing to do."),
    _row(
        _C.CERT_IMPORT_FAILED,
        "The certificate could not be imported.",
        _S.REPORTER,
        "Check that it was issued for a key of this server by an approved CA.",
    ),
    _row(
        _C.WRONG_CERT_USAGE,
        "The certificate's key usage doesn't fit.",
        _S.REPORTER,
        "Ask the CA for an authentication or a signing certificate, not both in one.",
    ),
    _row(
        _C.ACME_FAILED,
        "A certification service did not issue a certificate by ACME.",
        _S.REPORTER,
        "Read what the service said; check acme.yml, and that it reaches the challenge port by the "
        "name in the order. The order is continued by itself.",
    ),
    _row(
        _C.CSR_FAILED,
        "The certificate signing request could not be made.",
        _S.REPORTER,
        "Check the subject's fields against the certificate profile.",
    ),
    _row(
        _C.CRYPTOGRAPHY_ERROR,
        "An algorithm isn't known or a computation failed.",
        _S.REPORTER,
        _LOOK_IN_LOG,
    ),
    _row(
        _C.CSR_NOT_FOUND,
        "There is no such certificate signing request.",
        _S.REPORTER,
        "See `postroad server key list`.",
    ),
    _row(
        _C.KEY_NOT_AVAILABLE,
        "The key can't be used now.",
        _S.REPORTER,
        "Log in the token that holds it.",
    ),
    _row(_C.TOKEN_READONLY, "The token can't be changed.", _S.REPORTER, "Use another token."),
    _row(
        _C.MISSING_VALIDATION_INFO,
        "A certificate comes without an OCSP answer.",
        _S.REPORTER,
        "Check the OCSP status of the signer's certificates.",
    ),
    _row(
        _C.CERT_VALIDITY_TIME,
        "A certificate isn't valid yet, or no longer.",
        _S.REPORTER,
        "Renew the certificate; check the clocks.",
    ),
    _row(
        _C.UNSUPPORTED_ALGORITHM,
        "An algorithm isn't known or isn't accepted.",
        _S.REPORTER,
        "Ask the signer's operator to use SHA-256 or stronger.",
    ),
    _row(
        _C.INVALID_RESPONSE,
        "The other side's answer can't be read.",
        _S.REPORTER,
        "Compare the versions of the two servers.",
    ),
    _row(
        _C.INVALID_REST,
        "The REST part of the message can't be read.",
        _S.REPORTER,
        "Compare the versions of the two servers.",
    ),
    _row(
        _C.MLOG_TIMESTAMP_REQUEST_TIMED_OUT,
        "The time-stamping service didn't answer in time.",
        _S.REPORTER,
        "Check the service's address and the network.",
    ),
    _row(
        _C.MLOG_TIMESTAMP_PROVIDER_CONNECTION_FAILED,
        "The time-stamping service can't be reached.",
        _S.REPORTER,
        "Check the service's address and the network.",
    ),
    _row(
        _C.MLOG_TIMESTAMP_RESPONSE_VALIDATION_FAILED,
        "The time-stamping service's answer is for something else.",
        _S.REPORTER,
        "Ask the time-stamping service.",
    ),
    _row(
        _C.MLOG_LOG_MANAGER_UNAVAILABLE,
        "The log writer doesn't answer.",
        _S.REPORTER,
        "Check the log writer's process and its disk.",
    ),
    _row(
        _C.MLOG_MESSAGE_LOG_RECORD_NOT_FOUND,
        "The message log has no such record.",
        _S.CONSUMER,
        "Check the query id and the member.",
    ),
    _row(
        _C.MLOG_ARCHIVING_FAILED,
        "The message log could not be archived. Messages are exchanged all the same, and nothing "
        "is deleted that isn't archived.",
        _S.REPORTER,
        "Do what the text says (room on the disk, a missing key, a missing archive file), then "
        "run `postroad server archive now`.",
    ),
    _row(
        _C.MLOG_ARCHIVE_TRANSFER_FAILED,
        "The command that takes archives away failed. They stay where they are and are tried "
        "again, in their order.",
        _S.REPORTER,
        "Run the command by hand with the file that the text names.",
    ),
    _row(
        _C.MLOG_INVALID_ARCHIVE,
        "An archive of the message log isn't as it was written: it, or one before it, was "
        "changed, renamed or taken away.",
        _S.REPORTER,
        "Fetch the archive from another copy; keep the odd one as evidence.",
    ),
    _row(
        _C.FAILED_TO_SAVE_INSTANCE_IDENTIFIER,
        "The instance's identifier can't be stored.",
        _S.REPORTER,
        "Check the disk and the directory's permissions.",
    ),
    _row(
        _C.ASIC_INVALID_CONTAINER,
        "The container can't be read.",
        _S.CONSUMER,
        "Check that the file is whole.",
    ),
    _row(
        _C.ASIC_MIME_TYPE_NOT_FOUND,
        "This isn't an ASiC container.",
        _S.CONSUMER,
        "Check that the file is whole.",
    ),
    _row(
        _C.ASIC_INVALID_MIME_TYPE,
        "The container is of another kind.",
        _S.CONSUMER,
        "Only ASiC-E containers of message logs are judged.",
    ),
    _row(
        _C.ASIC_MESSAGE_NOT_FOUND,
        "The container holds no message.",
        _S.CONSUMER,
        "Fetch the container again.",
    ),
    _row(
        _C.ASIC_SIGNATURE_NOT_FOUND,
        "The container holds no signature.",
        _S.CONSUMER,
        "Fetch the container again.",
    ),
    _row(
        _C.ASIC_HASH_CHAIN_RESULT_NOT_FOUND,
        "The container has a hash chain without a result.",
        _S.CONSUMER,
        "Fetch the container again.",
    ),
    _row(
        _C.ASIC_HASH_CHAIN_NOT_FOUND,
        "The container has a hash chain result without a chain.",
        _S.CONSUMER,
        "Fetch the container again.",
    ),
    _row(
        _C.ASIC_TIMESTAMP_NOT_FOUND,
        "The container's time-stamp is empty.",
        _S.CONSUMER,
        "Fetch the container again once it is time-stamped.",
    ),
    _row(
        _C.ASIC_MANIFEST_NOT_FOUND,
        "The container's manifest is empty.",
        _S.CONSUMER,
        "Fetch the container again.",
    ),
    _row(
        _C.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE,
        "The configuration source can't be reached.",
        _S.REPORTER,
        _GLOBAL_CONF,
    ),
    _row(
        _C.GLOBAL_CONF_GET_VERSION_FAILED,
        "The configuration source didn't say which versions it has.",
        _S.REPORTER,
        _GLOBAL_CONF,
    ),
    _row(
        _C.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE,
        "The configuration directory can't be read.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_MISSING_SIGNED_DATA,
        "The configuration directory is empty.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_MISSING_SIGNED_DATA_EXPIRATION_DATE,
        "The configuration directory is cut off or doesn't say when it expires.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_HEADER_FIELD_MISSING,
        "A header is missing in the configuration directory.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_HEADER_FIELD_MISSING_PARAMETER,
        "A header's parameter is missing in the configuration directory.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_HEADER_FIELD_WRONG_VALUE,
        "A header has a wrong value in the configuration directory.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_MISSING_VERIFICATION_CERT,
        "The configuration was signed with a key that the anchor doesn't know.",
        _S.GOVERNANCE,
        "Get the present anchor, compare its fingerprint by another way, and import it.",
    ),
    _row(
        _C.GLOBAL_CONF_SIGNATURE_DECODE_FAILURE,
        "The configuration's signature can't be read.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_SIGNATURE_VERIFICATION_FAILURE,
        "The configuration's signature doesn't hold.",
        _S.GOVERNANCE,
        "Don't import it. Somebody may have changed it on the way.",
    ),
    _row(
        _C.GLOBAL_CONF_PART_DOWNLOAD_FAILURE,
        "A part of the configuration can't be downloaded.",
        _S.GOVERNANCE,
        _GLOBAL_CONF,
    ),
    _row(
        _C.GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE,
        "A part of the configuration isn't the one that was signed.",
        _S.GOVERNANCE,
        "Don't import it. Somebody may have changed it on the way.",
    ),
    _row(
        _C.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER,
        "A part of the configuration is for another instance.",
        _S.GOVERNANCE,
        "Ask the Central Server's operator.",
    ),
    _row(
        _C.GLOBAL_CONF_PART_FILE_SAVE_FAILURE,
        "The configuration can't be stored.",
        _S.REPORTER,
        "Check the disk and the directory's permissions.",
    ),
    _row(
        _C.ANCHOR_FILE_NOT_FOUND,
        "There is no configuration anchor.",
        _S.REPORTER,
        "Import the anchor that the Central Server's operator gave you.",
    ),
    _row(
        _C.MALFORMED_ANCHOR,
        "The configuration anchor can't be read.",
        _S.REPORTER,
        "Get the anchor again and compare its fingerprint.",
    ),
)

EXPLANATIONS: dict[str, Explanation] = {row.code: row for row in _TABLE}
"""Every code's explanation, by its tail in the spelling of 7.8."""

_TO_SNAKE = {row.legacy: row.code for row in _TABLE} | {
    legacy: snake for snake, legacy in _PREFIXES.items()
}


def spell(fault_code: str, dialect: Dialect) -> str:
    """Write a snake_case fault code in the wanted spelling.

    >>> spell("server.serverproxy.access_denied", Dialect.CAMEL)
    'Server.ServerProxy.AccessDenied'
    """
    if dialect is Dialect.SNAKE:
        return fault_code
    return ".".join(_spell_segment(segment) for segment in fault_code.split("."))


def _spell_segment(segment: str) -> str:
    if segment in _PREFIXES:
        return _PREFIXES[segment]
    row = EXPLANATIONS.get(segment)
    return row.legacy if row is not None else _camel(segment)


def to_snake(fault_code: str) -> str:
    """Read a fault code in either spelling; an unknown segment is converted by its capitals.

    >>> to_snake("Server.ClientProxy.OutdatedGlobalConf")
    'server.clientproxy.global_conf_outdated'
    """
    return ".".join(_snake_segment(segment) for segment in fault_code.split("."))


def _snake_segment(segment: str) -> str:
    known = _TO_SNAKE.get(segment)
    if known is not None:
        return known
    out: list[str] = []
    for index, char in enumerate(segment):
        if char.isupper() and index and not segment[index - 1].isupper():
            out.append("_")
        out.append(char.lower())
    return "".join(out)


@dataclass(frozen=True, slots=True)
class ExplainedFault:
    """A whole fault code in words."""

    code: str
    """The code in the spelling of 7.8."""
    legacy: str
    where: tuple[str, ...]
    """What each prefix says, outermost first."""
    explanation: Explanation | None
    """None when the last part isn't a code of the protocol."""


def explain(fault_code: str) -> ExplainedFault:
    """Explain a fault code in either spelling, prefixes and all.

    >>> explain("Server.ServerProxy.AccessDenied").explanation.side.value
    'the owner of the service'
    """
    segments = to_snake(fault_code.strip()).split(".")
    explanation: Explanation | None = None
    rest = segments
    for length in (2, 1):
        row = EXPLANATIONS.get(".".join(segments[-length:]))
        if row is not None and len(segments) >= length:
            explanation, rest = row, segments[:-length]
            break
    where: list[str] = []
    while rest:
        pair = ".".join(rest[:2])
        if pair in _PREFIX_MEANING:
            where.append(_PREFIX_MEANING[pair])
            rest = rest[2:]
            continue
        if rest[0] in _PREFIX_MEANING:
            where.append(_PREFIX_MEANING[rest[0]])
        elif rest[0] in EXPLANATIONS:
            where.append(EXPLANATIONS[rest[0]].meaning.rstrip("."))
        rest = rest[1:]
    code = ".".join(segments)
    return ExplainedFault(code, spell(code, Dialect.CAMEL), tuple(where), explanation)
