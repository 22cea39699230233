from __future__ import annotations

from dataclasses import dataclass

import pytest

from postroad.errors import FaultCode, RefusedRequest
from postroad.securityserver.consumer_authentication import check_consumer

CERT, OTHER, INTERNAL = b"cert", b"other", b"internal"


@dataclass(frozen=True)
class Caller:
    tls: bool
    certificate: bytes | None = None


PLAIN, TLS = Caller(tls=False), Caller(tls=True)


def check(
    caller: Caller, kind: str, known: frozenset[bytes] = frozenset({CERT}), **rules: bool
) -> None:
    check_consumer(
        caller,
        connection_type=kind,
        certificates=known,
        internal_certificate=INTERNAL,
        **rules,
    )


@pytest.mark.parametrize(
    ("caller", "kind"),
    [
        (PLAIN, "NOSSL"),
        (TLS, "NOSSL"),
        (TLS, "SSLNOAUTH"),
        (Caller(tls=True, certificate=OTHER), "SSLNOAUTH"),
        (Caller(tls=True, certificate=CERT), "SSLAUTH"),
        (Caller(tls=True, certificate=INTERNAL), "SSLAUTH"),
    ],
)
def test_accepts_what_the_connection_type_allows(caller: Caller, kind: str) -> None:
    check(caller, kind)


@pytest.mark.parametrize(
    ("caller", "kind"),
    [
        (PLAIN, "SSLNOAUTH"),
        (PLAIN, "SSLAUTH"),
        (TLS, "SSLAUTH"),
        (Caller(tls=True, certificate=OTHER), "SSLAUTH"),
        (Caller(tls=False, certificate=CERT), "SSLAUTH"),
        (TLS, "something new"),
        (Caller(tls=True, certificate=OTHER), "something new"),
    ],
)
def test_refuses_everything_else(caller: Caller, kind: str) -> None:
    with pytest.raises(RefusedRequest) as caught:
        check(caller, kind)
    assert caught.value.code is FaultCode.SSL_AUTHENTICATION_FAILED


def test_no_registered_certificate_means_nobody() -> None:
    with pytest.raises(RefusedRequest):
        check(Caller(tls=True, certificate=CERT), "SSLAUTH", frozenset())


def test_without_verification_tls_is_still_needed() -> None:
    check(TLS, "SSLAUTH", verify_certificate=False)
    with pytest.raises(RefusedRequest):
        check(PLAIN, "SSLAUTH", verify_certificate=False)
