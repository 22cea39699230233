"""What each state of a token, a key and a certificate allows."""

from __future__ import annotations

import pytest

from postroad.adapters.signer_protocol import (
    CertificateRecord,
    CertificateStatus,
    KeyRecord,
    KeyUsage,
    TokenInfo,
    TokenRecord,
    TokenStatus,
)
from postroad.errors import ConfigurationError
from postroad.securityserver.possible_actions import (
    Action,
    certificate_actions,
    key_actions,
    require_action,
    token_actions,
)

CERTIFICATE = CertificateRecord(der=b"x", status=CertificateStatus.SAVED)
KEY = KeyRecord(id="K", label="k", friendly_name="k", algorithm="EC-P256", public_key=b"")


def token(**changes: object) -> TokenInfo:
    values: dict[str, object] = {"active": True, "available_keys": frozenset({"K"})} | changes
    return TokenInfo(
        token=TokenRecord(), status=TokenStatus.OK, **values
    )  # the values are those above


@pytest.mark.parametrize(
    ("info", "actions"),
    [
        (token(), {Action.GENERATE_KEY, Action.LOGOUT, Action.TOKEN_CHANGE_PIN}),
        (token(read_only=True), {Action.LOGOUT, Action.TOKEN_CHANGE_PIN}),
        (token(active=False), {Action.LOGIN}),
        (token(active=False, available=False, kind="hsm"), {Action.TOKEN_DELETE}),
        (token(active=False, available=False), set()),
    ],
)
def test_token(info: TokenInfo, actions: set[Action]) -> None:
    assert token_actions(info) == actions | {Action.EDIT_FRIENDLY_NAME}


@pytest.mark.parametrize(
    ("info", "usage", "actions"),
    [
        (token(), None, {Action.DELETE, Action.GENERATE_AUTH_CSR, Action.GENERATE_SIGN_CSR}),
        (token(), KeyUsage.SIGNING, {Action.DELETE, Action.GENERATE_SIGN_CSR}),
        (token(), KeyUsage.AUTHENTICATION, {Action.DELETE, Action.GENERATE_AUTH_CSR}),
        (token(kind="hsm"), None, {Action.DELETE, Action.GENERATE_SIGN_CSR}),
        (token(kind="hsm", read_only=True), None, {Action.GENERATE_SIGN_CSR}),
        (token(available_keys=frozenset()), None, {Action.DELETE}),
        (token(active=False), None, set()),
    ],
)
def test_key(info: TokenInfo, usage: KeyUsage | None, actions: set[Action]) -> None:
    record = KeyRecord(
        id="K", label="k", friendly_name="k", algorithm="EC-P256", public_key=b"", usage=usage
    )
    assert key_actions(info, record) == actions | {Action.EDIT_FRIENDLY_NAME}


def test_key_with_a_certificate_asks_for_no_other_unless_allowed() -> None:
    record = KeyRecord(
        id="K",
        label="k",
        friendly_name="k",
        algorithm="EC-P256",
        public_key=b"",
        usage=KeyUsage.SIGNING,
        certificates=(CERTIFICATE,),
    )
    assert Action.GENERATE_SIGN_CSR not in key_actions(token(), record)
    assert Action.GENERATE_SIGN_CSR in key_actions(token(), record, csr_with_certificate=True)


@pytest.mark.parametrize(
    ("usage", "status", "actions"),
    [
        (KeyUsage.AUTHENTICATION, CertificateStatus.SAVED, {Action.DELETE, Action.REGISTER}),
        (
            KeyUsage.AUTHENTICATION,
            CertificateStatus.REGISTRATION_IN_PROGRESS,
            {Action.UNREGISTER},
        ),
        (KeyUsage.AUTHENTICATION, CertificateStatus.REGISTERED, {Action.UNREGISTER}),
        (KeyUsage.AUTHENTICATION, CertificateStatus.DELETION_IN_PROGRESS, {Action.DELETE}),
        (KeyUsage.AUTHENTICATION, CertificateStatus.GLOBAL_ERROR, {Action.DELETE}),
        (KeyUsage.SIGNING, CertificateStatus.REGISTERED, {Action.DELETE}),
    ],
)
@pytest.mark.parametrize("active", [True, False])
def test_certificate(
    usage: KeyUsage, status: CertificateStatus, actions: set[Action], active: bool
) -> None:
    key = KeyRecord(
        id="K", label="k", friendly_name="k", algorithm="EC-P256", public_key=b"", usage=usage
    )
    record = CertificateRecord(der=b"x", status=status, active=active)
    switch = Action.DISABLE if active else Action.ACTIVATE
    assert certificate_actions(key, record) == actions | {switch}


def test_what_is_not_possible_is_refused_with_advice() -> None:
    require_action({Action.DELETE}, Action.DELETE, "no")
    with pytest.raises(ConfigurationError, match="unregister it first"):
        require_action({Action.UNREGISTER}, Action.DELETE, "unregister it first")
