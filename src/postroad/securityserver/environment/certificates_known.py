"""Which certificates does this server know as its own or its information systems'?"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from postroad.crypto.certificates import Certificate
from postroad.errors import PostroadError
from postroad.securityserver.environment.sensors import CertificateInfo
from postroad.securityserver.internal_tls import internal_tls_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from postroad.ports import KeyCertificate
    from postroad.securityserver.serverconf.snapshot import ServerConfView

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


def known_certificates(
    home: Path, keys: Sequence[KeyCertificate], serverconf: ServerConfView | None
) -> Iterator[CertificateInfo]:
    """Them all (blocking); one that can't be read is left out."""
    for key in keys:
        yield from _readable(key.der, "AUTH_OR_SIGN", active=key.active)
    with suppress(OSError):  # there is none before the first proxy worker has made it
        pem = internal_tls_path(home).read_bytes()
        certificate = pem[max(pem.find(_BEGIN), 0) :]  # the key before it is none of our business
        yield from _readable(certificate, "SECURITY_SERVER_TLS", active=True)
    for client in () if serverconf is None else serverconf.clients:
        for der in sorted(client.certificates):
            yield from _readable(der, "INTERNAL_IS_CLIENT_TLS", active=True)


def _readable(der: bytes, kind: str, *, active: bool) -> Iterator[CertificateInfo]:
    try:
        yield CertificateInfo(Certificate.from_pem_or_der(der), kind, active)
    except PostroadError:
        return
