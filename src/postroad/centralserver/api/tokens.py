"""The token of the signing keys. Source: reference ``TokensApiController``."""

from __future__ import annotations

import time
from typing import Final

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.api.signing_keys import ConfigurationSigningKey, key_payload
from postroad.centralserver.registry.sources import MAX_KEYS, SourceType, list_signing_keys
from postroad.centralserver.roles import Permission
from postroad.centralserver.token_login import TOKEN_ID, TOKEN_NAME


class Token(Payload):
    """A token and what can be done with it now."""

    id: str
    name: str
    active: bool
    available: bool
    logged_in: bool
    status: str
    possible_actions: list[str]
    configuration_signing_keys: list[ConfigurationSigningKey]


class TokenPassword(Payload):
    """The PIN of a token."""

    password: Text

    def __repr__(self) -> str:
        return "TokenPassword([redacted])"


def list_tokens(call: Call) -> list[Token]:
    """All tokens: the software token."""
    return [_payload(call)]


def login(call: Call) -> Token:
    """Open a token with its PIN."""
    body: TokenPassword = call.body
    _require_token(call)
    opened = call.services.login
    if opened.is_active or not opened.is_initialized:
        raise ApiRefusal(400, "token_action_not_possible")
    if not call.services.pin_attempts.admit(call.caller.name, time.monotonic()):
        raise ApiRefusal(429, "too_many_login_attempts")
    opened.login(body.password)
    return _payload(call)


def logout(call: Call) -> Token:
    """Close a token; nothing is published until it's open again."""
    _require_token(call)
    if not call.services.login.is_active:
        raise ApiRefusal(400, "token_action_not_possible")
    call.services.login.logout()
    return _payload(call)


def _require_token(call: Call) -> None:
    if call.path["token_id"] != TOKEN_ID:
        raise ApiRefusal(404, "token_not_found")
    call.audited.update(tokenId=TOKEN_ID, tokenFriendlyName=TOKEN_NAME)


def _payload(call: Call) -> Token:
    opened = call.services.login
    with call.reading() as session:
        rows = list_signing_keys(session, call.node_name)
        keys = [key_payload(call, row) for row in rows]
        counts = {
            source_type: sum(row.source.source_type == source_type.value for row in rows)
            for source_type in SourceType
        }
    actions = []
    if opened.is_active:
        actions = ["LOGOUT"]
        if counts[SourceType.INTERNAL] < MAX_KEYS:
            actions.append("GENERATE_INTERNAL_KEY")
        if counts[SourceType.EXTERNAL] < MAX_KEYS:
            actions.append("GENERATE_EXTERNAL_KEY")
    elif opened.is_initialized:
        actions = ["LOGIN"]
    return Token(
        id=TOKEN_ID,
        name=TOKEN_NAME,
        active=opened.is_active,
        available=True,
        logged_in=opened.is_active,
        status="OK" if opened.is_initialized else "NOT_INITIALIZED",
        possible_actions=actions,
        configuration_signing_keys=keys,
    )


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/tokens",
        name="getTokens",
        handler=list_tokens,
        needs=any_of(
            Permission.VIEW_INTERNAL_CONFIGURATION_SOURCE,
            Permission.VIEW_EXTERNAL_CONFIGURATION_SOURCE,
        ),
        answer=list[Token],
    ),
    Operation(
        method="PUT",
        path="/tokens/{token_id}/login",
        name="loginToken",
        handler=login,
        needs=any_of(Permission.ACTIVATE_TOKEN),
        body=TokenPassword,
        answer=Token,
        event="Log in to token",
    ),
    Operation(
        method="PUT",
        path="/tokens/{token_id}/logout",
        name="logoutToken",
        handler=logout,
        needs=any_of(Permission.DEACTIVATE_TOKEN),
        answer=Token,
        event="Log out from token",
    ),
)
