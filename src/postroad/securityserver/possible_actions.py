"""What may an administrator do with a token, a key or a certificate in its present state?

One answer for every front door, so that none offers what another refuses. Rules and words are those
of the reference (``PossibleActionsRuleEngine``); one is stricter: a read-only token makes no keys.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import (
    SOFTWARE,
    CertificateRecord,
    CertificateStatus,
    KeyRecord,
    KeyUsage,
    TokenInfo,
)
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Action(StrEnum):
    """The reference's words."""

    DELETE = "DELETE"
    ACTIVATE = "ACTIVATE"
    DISABLE = "DISABLE"
    LOGIN = "LOGIN"
    LOGOUT = "LOGOUT"
    REGISTER = "REGISTER"
    UNREGISTER = "UNREGISTER"
    GENERATE_KEY = "GENERATE_KEY"
    GENERATE_AUTH_CSR = "GENERATE_AUTH_CSR"
    GENERATE_SIGN_CSR = "GENERATE_SIGN_CSR"
    EDIT_FRIENDLY_NAME = "EDIT_FRIENDLY_NAME"
    TOKEN_CHANGE_PIN = "TOKEN_CHANGE_PIN"  # noqa: S105 - an action
    TOKEN_DELETE = "TOKEN_DELETE"  # noqa: S105 - an action


_KNOWN_TO_THE_REGISTRY: Final = frozenset(
    {CertificateStatus.REGISTERED, CertificateStatus.REGISTRATION_IN_PROGRESS}
)


def token_actions(info: TokenInfo) -> frozenset[Action]:
    """What may be done with a token."""
    found = {Action.EDIT_FRIENDLY_NAME}
    if info.active:
        found |= {Action.LOGOUT, Action.TOKEN_CHANGE_PIN}
        if not info.read_only:
            found.add(Action.GENERATE_KEY)
    elif info.available:
        found.add(Action.LOGIN)
    elif info.kind != SOFTWARE:
        found.add(Action.TOKEN_DELETE)
    return frozenset(found)


def key_actions(
    info: TokenInfo, key: KeyRecord, *, csr_with_certificate: bool = False
) -> frozenset[Action]:
    """What may be done with a key of a token.

    ``csr_with_certificate``: whether a key that has a certificate may ask for another one.
    """
    found = {Action.EDIT_FRIENDLY_NAME}
    if info.active and not info.read_only:
        found.add(Action.DELETE)
    may_ask = csr_with_certificate or not key.certificates
    if info.active and key.id in info.available_keys and may_ask:
        if key.usage is not KeyUsage.SIGNING and info.kind == SOFTWARE:
            found.add(Action.GENERATE_AUTH_CSR)
        if key.usage is not KeyUsage.AUTHENTICATION:
            found.add(Action.GENERATE_SIGN_CSR)
    return frozenset(found)


def certificate_actions(key: KeyRecord, certificate: CertificateRecord) -> frozenset[Action]:
    """What may be done with a certificate of a key."""
    found = {Action.DISABLE if certificate.active else Action.ACTIVATE}
    authentication = key.usage is KeyUsage.AUTHENTICATION
    if authentication and certificate.status in _KNOWN_TO_THE_REGISTRY:
        found.add(Action.UNREGISTER)
    else:
        found.add(Action.DELETE)
    if authentication and certificate.status is CertificateStatus.SAVED:
        found.add(Action.REGISTER)
    return frozenset(found)


def require_action(possible: AbstractSet[Action], action: Action, refusal: str) -> None:
    """Raise ``ConfigurationError`` with what to do instead, unless the action is possible."""
    if action not in possible:
        raise ConfigurationError(refusal, code=FaultCode.BAD_REQUEST)
