"""Keys that sign the configuration. Source: reference ``SigningKeysApiController``.

Unlike there, a key is not activated before clients can have learnt of it, unless the caller asks to
ignore that warning.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.refusals import ApiRefusal, validation_failure
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.registry.change import details_of
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.sources import (
    ANNOUNCEMENT,
    SourceType,
    active_key,
    find_source,
    load_signing_key,
)
from postroad.centralserver.roles import Permission
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.centralserver.token_login import TOKEN_ID

if TYPE_CHECKING:
    from postroad.centralserver.models.system import ConfigurationSigningKey as KeyRow


class KeyLabel(Payload):
    """What people call a key."""

    label: str


class ConfigurationSigningKey(Payload):
    """A key that signs, or is announced to sign one day."""

    id: str
    label: KeyLabel
    created_at: datetime
    active: bool
    available: bool
    possible_actions: list[str]
    token_id: str
    source_type: str
    key_algorithm: str


class ConfigurationSigningKeyAdd(Payload):
    """A key to be made."""

    key_label: Text
    token_id: str | int
    """A number too: the reference's clients send one."""


class IgnoreWarnings(msgspec.Struct, frozen=True):
    """Whether warnings stop the operation."""

    ignore_warnings: bool = False


def source_type_of(call: Call) -> SourceType:
    """The source that the path names."""
    try:
        return SourceType(call.path["configuration_type"].lower())
    except ValueError:
        raise validation_failure("configuration_type", "INTERNAL or EXTERNAL") from None


def key_payload(call: Call, row: KeyRow) -> ConfigurationSigningKey:
    """A signing key, and what can be done with it now."""
    is_open = call.services.login.is_active
    actions = []
    if is_open and not row.is_active:
        actions.append("DELETE")
        published = call.node.published_at(row.key_identifier)
        if published is not None and call.node.clock.now() >= published + ANNOUNCEMENT:
            actions.append("ACTIVATE")
    return ConfigurationSigningKey(
        id=row.key_identifier,
        label=KeyLabel(label=row.label or row.source.source_type),
        created_at=row.generated_at,
        active=row.is_active,
        available=is_open,
        possible_actions=actions,
        token_id=TOKEN_ID,
        source_type=row.source.source_type.upper(),
        key_algorithm=row.algorithm,
    )


def add_key(call: Call) -> ConfigurationSigningKey:
    """Make a key of the kind that the source has, and announce it."""
    body: ConfigurationSigningKeyAdd = call.body
    source_type = source_type_of(call)
    call.events.append(f"Generate {source_type.value} configuration signing key")
    call.audited.update(tokenId=str(body.token_id), keyLabel=body.key_label)
    if str(body.token_id) != TOKEN_ID:
        raise ApiRefusal(404, "token_not_found")
    with call.reading() as session:
        active = active_key(find_source(session, source_type, call.node_name))
        algorithm = KeyAlgorithm(active.algorithm) if active else KeyAlgorithm.RSA
    token = call.services.login.token
    key_id = call.node.generate_key(token, source_type, algorithm, call.actor, label=body.key_label)
    call.audited["keyId"] = key_id
    with call.reading() as session:
        return key_payload(call, load_signing_key(session, key_id))


def activate_key(call: Call) -> None:
    """Let an announced key sign from now on."""
    query: IgnoreWarnings = call.query
    key_id = call.path["sign_key_id"]
    _name_event(call, "Activate", key_id)
    _require_action(call, key_id)
    try:
        for entry in call.node.activate_key(key_id, call.actor, force=query.ignore_warnings):
            call.audited.update(details_of(entry))
    except RegistryRefusal as refusal:
        if refusal.problem is not Problem.SIGNING_KEY_NOT_ANNOUNCED:
            raise
        raise ApiRefusal(
            400,
            "warnings_detected",
            (refusal.message,),
            warnings=(refusal.problem.value,),
        ) from refusal


def delete_key(call: Call) -> None:
    """Delete a key that doesn't sign."""
    key_id = call.path["sign_key_id"]
    _name_event(call, "Delete", key_id)
    _require_action(call, key_id)
    call.node.delete_key(call.services.login.token, key_id, call.actor)


def _name_event(call: Call, verb: str, key_id: str) -> None:
    call.audited.update(tokenId=TOKEN_ID, keyId=key_id)
    with call.reading() as session:
        source_type = load_signing_key(session, key_id).source.source_type
    call.events.append(f"{verb} {source_type} configuration signing key")


def _require_action(call: Call, key_id: str) -> None:
    """Only keys of this node, that don't sign, while its token is open."""
    with call.reading() as session:
        row = load_signing_key(session, key_id)
        is_ours = row.source.node_name == call.node_name
        is_active = row.is_active
    if is_active or not is_ours or not call.services.login.is_active:
        raise ApiRefusal(400, "signing_key_action_not_possible")


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/configuration-sources/{configuration_type}/signing-keys",
        name="addKey",
        handler=add_key,
        needs=any_of(Permission.GENERATE_SIGNING_KEY),
        body=ConfigurationSigningKeyAdd,
        answer=ConfigurationSigningKey,
        event="Generate key",
    ),
    Operation(
        method="PUT",
        path="/signing-keys/{sign_key_id}/activate",
        name="activateKey",
        handler=activate_key,
        needs=any_of(Permission.ACTIVATE_SIGNING_KEY),
        status=204,
        query=IgnoreWarnings,
        event="Activate signing key",
    ),
    Operation(
        method="DELETE",
        path="/signing-keys/{sign_key_id}",
        name="deleteKey",
        handler=delete_key,
        needs=any_of(Permission.DELETE_SIGNING_KEY),
        status=204,
        event="Delete signing key",
    ),
)
