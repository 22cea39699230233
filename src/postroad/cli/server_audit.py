"""Which `postroad server` commands go into the audit log, under which name, with which data?

Event names and data keys are the reference's (``RestApiAuditEvent``, ``RestApiAuditProperty``,
signer-console); events that only Postroad has are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from postroad.adapters.audit_log import AuditLog
from postroad.cli.audit_lines import told_in
from postroad.errors import PostroadError
from postroad.identifiers import parse_client_id
from postroad.securityserver.settings import audit_log_path

if TYPE_CHECKING:
    from postroad.adapters.audit_log import AuditValue

_CLIENT_PARTS: Final = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
_Chosen = Callable[[Mapping[str, Any]], str | None]


@dataclass(frozen=True, slots=True)
class Audited:
    """One command: its event, and the names that its parameters have in the audit log."""

    event: str | _Chosen
    """A function of the parameters where they decide; None for nothing worth a line."""
    data: Mapping[str, str] = field(default_factory=dict)


def _either(name: str, if_set: str | None, otherwise: str | None) -> _Chosen:
    return lambda given: if_set if given.get(name) else otherwise


def _made_request(given: Mapping[str, Any]) -> str | None:
    is_other = given.get("show_fields") or click.get_current_context().invoked_subcommand
    return None if is_other else "Generate CSR"


def _maintenance(given: Mapping[str, Any]) -> str:
    verb = "Enable" if given["state"] == "on" else "Disable"
    return f"{verb} maintenance mode of the security server"


_TOKEN: Final = {"token_id": "tokenId"}
_KEY: Final = {"key_id": "keyId"}
_CERT: Final = {"certificate_hash": "certHash"}
_CLIENT: Final = {"client_id": "clientIdentifier"}
_DESCRIPTION: Final = {"client": "clientIdentifier", "url": "url"}

AUDITED: Final[dict[str, Audited]] = {
    "init": Audited(
        "Initialize server configuration", {"owner": "ownerIdentifier", "code": "serverCode"}
    ),
    "token init": Audited("Initialize the software token"),
    "token login": Audited("Log in to token", _TOKEN),
    "token logout": Audited("Log out from token", _TOKEN),
    "token change-pin": Audited("Change token pin", _TOKEN),
    "token rename": Audited("Set friendly name to token", _TOKEN | {"name": "tokenFriendlyName"}),
    "token forget": Audited("Delete token", _TOKEN),
    "key generate": Audited("Generate key", _TOKEN | {"label": "keyLabel", "usage": "keyUsage"}),
    "key rename": Audited("Set friendly name to key", _KEY | {"name": "keyFriendlyName"}),
    "key delete": Audited("Delete key from token and configuration", _KEY),
    "csr": Audited(
        _made_request,
        _KEY
        | {
            "usage": "keyUsage",
            "member": "clientIdentifier",
            "ca": "certificationServiceName",
            "form": "csrFormat",
        },
    ),
    "csr again": Audited("Generate CSR", {"request_id": "csrId", "form": "csrFormat"}),
    "csr delete": Audited("Delete CSR", {"request_id": "csrId"}),
    "cert import": Audited(
        _either("from_token", "Import certificate from token", "Import certificate from file"),
        {"from_token": "tokenId", "file": "certFileName"},
    ),
    "cert order": Audited(
        "Acme order certificate",
        {
            "ca": "certificationServiceName",
            "usage": "keyUsage",
            "member": "clientIdentifier",
            "token": "tokenId",
        },
    ),
    "cert activate": Audited("Enable certificate", _CERT),
    "cert deactivate": Audited("Disable certificate", _CERT),
    "cert delete": Audited("Delete certificate", _CERT),
    "cert mark-deleted": Audited("Skip unregistration of authentication certificate", _CERT),
    "cert unregister": Audited("Unregister authentication certificate", {"sha256": "certHash"}),
    "register": Audited(
        _either("test", None, "Register authentication certificate"),
        {"address": "address", "fingerprint": "certHash"},
    ),
    "client register": Audited("Register client", _CLIENT),
    "client unregister": Audited("Unregister client", _CLIENT),
    "client disable": Audited("Disable client", _CLIENT),
    "client enable": Audited("Enable client", _CLIENT),
    "client rename": Audited("Rename subsystem", _CLIENT | {"name": "subsystemName"}),
    "client delete": Audited("Delete client", _CLIENT),
    "change-owner": Audited("Change owner", {"member_id": "clientIdentifier"}),
    "change-address": Audited("Edit security server address", {"address": "address"}),
    "maintenance": Audited(_maintenance, {"message": "message"}),
    "service-description add": Audited(
        "Add service description", _DESCRIPTION | {"kind": "serviceType", "code": "serviceCode"}
    ),
    "service-description refresh": Audited(
        "Refresh service description", _DESCRIPTION | {"new_url": "urlNew"}
    ),
    "service-description enable": Audited("Enable service description", _DESCRIPTION),
    "service-description disable": Audited(
        "Disable service description", _DESCRIPTION | {"notice": "disabledNotice"}
    ),
    "service-description delete": Audited("Delete service description", _DESCRIPTION),
    "backup create": Audited("Back up configuration"),
    "backup delete": Audited("Delete backup file", {"name": "backupFileName"}),
    "backup restore": Audited("Restore configuration", {"file": "backupFileName"}),
    # Events that the reference doesn't have.
    "apply": Audited("Apply declaration", {"file": "file"}),
    "import-keyconf": Audited("Import key configuration", {"directory": "directory"}),
    "log-key add": Audited("Add message log key", {"key_id": "logKeyId"}),
    "archive make-key": Audited("Generate archive key"),
    "export": Audited("Export messages", {"query_id": "queryId"}),
}
UNAUDITED: Final = frozenset(
    {
        *("run", "status", "settings", "diff", "requests", "internal-certificate"),
        *("token status", "token list", "key list", "csr list", "cert show", "cert list"),
        *("client list", "service list", "service-description list", "log-key list"),
        *("backup list", "backup verify", "backup key"),
        # What the server does by itself, too, as its settings tell it.
        *("archive now", "archive status", "follow-registrations"),
    }
)
"""Commands that change nothing, and show no messages."""


def audit(group: click.Group, *, prefix: str = "") -> None:
    """Let the audited commands of a group write their lines."""
    for name, command in group.commands.items():
        path = f"{prefix}{name}"
        entry = AUDITED.get(path)
        if entry is not None and command.callback is not None:
            audited = partial(_run, command.callback, entry)
            command.callback = update_wrapper(audited, command.callback)
        if isinstance(command, click.Group):
            audit(command, prefix=f"{path} ")


def note(**data: AuditValue) -> None:
    """Add what only the command finds out to the line of the command that runs."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta.setdefault(__name__, {}).update(data)


def _run(callback: Callable[..., Any], entry: Audited, *positional: Any, **given: Any) -> Any:
    event = entry.event if isinstance(entry.event, str) else entry.event(given)
    if event is None:
        return callback(*positional, **given)
    data = {
        key: _value(key, given[name])
        for name, key in entry.data.items()
        if given.get(name) not in (None, "")
    }
    home = Path(given["home"])
    with told_in(AuditLog(audit_log_path(home)), home, event, data):
        try:
            return callback(*positional, **given)
        finally:
            data |= click.get_current_context().meta.get(__name__, {})


def _value(key: str, value: object) -> AuditValue:
    if key == "clientIdentifier":
        return _client(str(value))
    return value if isinstance(value, (bool, int)) else str(value)


def _client(text: str) -> Mapping[str, str] | str:
    """An identifier in the reference's form; as it was given if it is none."""
    try:
        identifier = parse_client_id(text)
    except PostroadError:
        return text
    return dict(zip(_CLIENT_PARTS, identifier.parts, strict=False))
