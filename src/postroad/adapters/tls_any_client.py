"""How can a TLS port take any client certificate and leave the judgement to the message flow?

The protocol wants it so for information systems: the certificate is compared with those registered
for the client that the message names, and that name comes after the handshake (PR-MESS; reference:
``ClientProxy`` trusts all at TLS level). Python's ``ssl`` can't say it: a certificate is either not
asked for or checked by OpenSSL, and a failed check ends the handshake. OpenSSL itself has the call
(``SSL_CTX_set_cert_verify_callback``), so it is made through ``ctypes`` on the library that
Python's own ``_ssl`` has loaded. The context's pointer is the first field of the object in every
CPython named below; that it is one is proven before use, by asking OpenSSL for the options and the
verify mode behind it and comparing them with what Python says, twice.

Proof of possession stays: the handshake's signature by the client's key is always checked.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from functools import cache
from typing import Final

_KNOWN_LAYOUTS: Final = frozenset({(3, 11), (3, 12), (3, 13), (3, 14)})
_PROBE: Final = ssl.OP_CIPHER_SERVER_PREFERENCE
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_accept: Final = _Callback(lambda _store, _argument: 1)
"""Kept for the life of the process: contexts hold its address."""


@cache
def _library() -> ctypes.CDLL | None:
    """Return OpenSSL as loaded by this Python, or None if it can't be reached safely."""
    module = sys.modules.get("_ssl")
    path = getattr(module, "__file__", None)
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in _KNOWN_LAYOUTS:
        return None
    if path is None:
        return None
    try:
        library = ctypes.CDLL(path)
        library.SSL_CTX_get_options.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_get_options.restype = ctypes.c_uint64
        library.SSL_CTX_get_verify_mode.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_set_cert_verify_callback.argtypes = [
            ctypes.c_void_p,
            _Callback,
            ctypes.c_void_p,
        ]
        library.SSL_CTX_set_cert_verify_callback.restype = None
    except (OSError, AttributeError):
        return None
    return library


def _pointer(context: ssl.SSLContext, library: ctypes.CDLL) -> int | None:
    """Return the address of OpenSSL's context, proven to be one."""
    address = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if address is None:
        return None
    before = context.options
    try:
        for options in (before, before ^ _PROBE):
            context.options = options
            if library.SSL_CTX_get_options(address) != int(context.options):
                return None
            if library.SSL_CTX_get_verify_mode(address) != int(context.verify_mode):
                return None
    finally:
        context.options = before
    return address


def accept_any_client_certificate(context: ssl.SSLContext) -> bool:
    """Let a server context with ``CERT_OPTIONAL`` accept whatever certificate a client shows.

    False, and nothing changed, where this Python's OpenSSL can't be reached.
    """
    library = _library()
    address = None if library is None else _pointer(context, library)
    if library is None or address is None:
        return False
    library.SSL_CTX_set_cert_verify_callback(address, _accept, None)
    return True
