"""Which TLS is spoken on which side: one recipe for each.

Between servers it is exactly what the protocol demands: TLS 1.2 and three CBC suites, client
certificate required, no names checked (PR-MESSTRANSP 2.1; reference: ``SSLContextUtil``). Who the
peer is gets decided from the global configuration, after the handshake and before any HTTP byte.
Keys come from memory and never touch a disk.
"""

from __future__ import annotations

import base64
import os
import ssl
from typing import TYPE_CHECKING, Final

from postroad.adapters.tls_any_client import accept_any_client_certificate
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVER_TO_SERVER_CIPHERS: Final = (
    "ECDHE-RSA-AES256-SHA384:DHE-RSA-AES256-SHA256:ECDHE-ECDSA-AES256-SHA384"
)
INFORMATION_SYSTEM_CIPHERS: Final = ":".join(
    f"{exchange}-{cipher}"
    for exchange in ("ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA")
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256")
) + (":ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:DHE-RSA-AES128-SHA256")

MANAGEMENT_SERVICE_CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)

_NOT_TLS: Final = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"})
"""OpenSSL's reasons for what isn't a TLS client at all."""
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python doesn't name."""
_TRUSTED_FOR_TLS: Final = bytes.fromhex("3016301406082b0601050507030206082b06010505070301")
"""OpenSSL's CertAux: trusted for client and server authentication, key usages notwithstanding."""
_FFDHE2048: Final = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""Group ffdhe2048 of RFC 7919, for the DHE suites."""


def encode_pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    """Return DER as PEM."""
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


class _MemoryFile:
    """A file in memory with a path that OpenSSL can open, and no name that others could."""

    def __init__(self, data: bytes) -> None:
        self._descriptor = os.memfd_create("postroad-tls", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(data)
        self.path = f"/proc/self/fd/{self._descriptor}"

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def load_certificate_chain(context: ssl.SSLContext, key_pkcs8_pem: bytes, chain_pem: bytes) -> None:
    """Give a context its own key and certificates (end-entity first) without touching a disk.

    Raises ``ConfigurationError`` when they don't parse or don't belong together.
    """
    with _MemoryFile(key_pkcs8_pem.rstrip(b"\n") + b"\n") as key, _MemoryFile(chain_pem) as chain:
        try:
            context.load_cert_chain(chain, key)
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError(
                f"the TLS key and certificate can't be used: {error}",
                code=FaultCode.INCORRECT_CERTIFICATE,
            ) from error


class _AlertingObject(ssl.SSLObject):
    """The server's end of a handshake that tells the client why it failed.

    OpenSSL writes an alert when it refuses a client, but the event loop drops what is written once
    the handshake has failed. So the failure is held back for one round: the alert leaves, and the
    error comes with the client's next move (or with the handshake's deadline).
    """

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if error.reason in _NOT_TLS:
                raise
            self._failure = error
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "an alert must leave") from error


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _AlertingObject
    return context


def _harden(context: ssl.SSLContext) -> ssl.SSLContext:
    context.options |= (
        ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    return context


def _exactly_tls12(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SERVER_TO_SERVER_CIPHERS)
    return _harden(context)


def _load_dh_group(context: ssl.SSLContext) -> None:
    with _MemoryFile(_FFDHE2048) as path:
        context.load_dh_params(path)


def _trust(context: ssl.SSLContext, pem: bytes) -> None:
    if not pem:
        return
    with _MemoryFile(pem) as path:
        try:
            context.load_verify_locations(cafile=path)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"the certificates to trust can't be used: {error}",
                code=FaultCode.INCORRECT_CERTIFICATE,
            ) from error


def peer_server_context(
    key_pkcs8_pem: bytes, chain_pem: bytes, ca_certificates: Iterable[bytes]
) -> ssl.SSLContext:
    """Build the context of the server port (5500): a client certificate of an approved CA, always.

    ``ca_certificates`` are the approved CAs of all instances (DER), intermediate ones as good as
    roots. Whether the certificate is registered is for the message flow to judge.
    """
    context = _exactly_tls12(_server_context())
    _load_dh_group(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    _trust(context, b"".join(encode_pem(der) for der in ca_certificates))
    load_certificate_chain(context, key_pkcs8_pem, chain_pem)
    return context


def peer_client_context(key_pkcs8_pem: bytes, chain_pem: bytes) -> ssl.SSLContext:
    """Build the context for calls to other security servers.

    The handshake accepts any certificate; the caller's ``verify_peer`` judges it before HTTP.
    """
    context = _unverified_client()
    _exactly_tls12(context)
    load_certificate_chain(context, key_pkcs8_pem, chain_pem)
    return context


def information_system_context(
    key_pkcs8_pem: bytes,
    chain_pem: bytes,
    known_certificates: Iterable[bytes] = (),
    *,
    any_certificate: bool = True,
) -> ssl.SSLContext:
    """Build the context of the port for information systems (8443): a client certificate is wanted.

    Any certificate passes the handshake; the message flow compares it with the registered ones.
    Where OpenSSL can't be told so (``tls_any_client``), or with ``any_certificate`` off, only
    ``known_certificates`` pass (DER: all registered certificates of information systems and our own
    internal one), each its own trust anchor, whatever its issuer, purpose or dates say. Then a new
    context has to be switched to when registrations change, and strangers are told by an alert.
    """
    context = _harden(_server_context())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(INFORMATION_SYSTEM_CIPHERS)
    _load_dh_group(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    if not (any_certificate and accept_any_client_certificate(context)):
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags |= _NO_CHECK_TIME
        pems = [
            encode_pem(der + _TRUSTED_FOR_TLS, "TRUSTED CERTIFICATE") for der in known_certificates
        ]
        _trust(context, b"".join(pems))
    load_certificate_chain(context, key_pkcs8_pem, chain_pem)
    return context


def management_service_context(
    key_pkcs8_pem: bytes, chain_pem: bytes, client_certificates: Iterable[bytes] = ()
) -> ssl.SSLContext:
    """Build the context of the Central Server's ports for management requests (4001, 4002).

    With ``client_certificates`` (DER) a client must show one of them, whatever its dates and
    purpose say; the caller compares, for one that is an authority would vouch for others here.
    """
    context = _harden(_server_context())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(MANAGEMENT_SERVICE_CIPHERS)
    known = [
        encode_pem(der + _TRUSTED_FOR_TLS, "TRUSTED CERTIFICATE") for der in client_certificates
    ]
    if known:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags |= _NO_CHECK_TIME
        _trust(context, b"".join(known))
    load_certificate_chain(context, key_pkcs8_pem, chain_pem)
    return context


def management_api_context(key_pkcs8_pem: bytes, chain_pem: bytes) -> ssl.SSLContext:
    """Build the context of the Central Server's management interface (4000): browsers, programs."""
    context = _harden(_server_context())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(MANAGEMENT_SERVICE_CIPHERS)
    load_certificate_chain(context, key_pkcs8_pem, chain_pem)
    return context


def provider_client_context(key_pkcs8_pem: bytes = b"", chain_pem: bytes = b"") -> ssl.SSLContext:
    """Build the context for calls to service providers: our internal certificate is offered.

    The handshake accepts any certificate; where the service asks for verification, the caller pins
    it to the provider's registered certificates (``verify_peer``).
    """
    context = _harden(_unverified_client())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if key_pkcs8_pem:
        load_certificate_chain(context, key_pkcs8_pem, chain_pem)
    return context


def web_client_context() -> ssl.SSLContext:
    """Build the context for web servers: authorities of the system, host name checked."""
    return ssl.create_default_context()


def _unverified_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
