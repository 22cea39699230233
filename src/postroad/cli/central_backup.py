"""`postroad central backup`: the backups of a node, and the lines about them in its audit log.

They change no registry, whose log remembers the other commands. Event names and data keys are the
reference's (``RestApiAuditEvent``, ``RestApiAuditProperty``).
"""

from __future__ import annotations

from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from postroad.adapters.audit_log import AuditLog
from postroad.centralserver.backups import backed_up
from postroad.centralserver.settings import load_settings
from postroad.cli.audit_lines import told_in
from postroad.cli.backups import backup_commands
from postroad.cli.central_context import home_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.adapters.audit_log import AuditValue

_EVENTS: Final = {
    "create": ("Back up configuration", None),
    "delete": ("Delete backup file", "name"),
    "restore": ("Restore configuration", "file"),
}
"""The event of a command, and its parameter that names the backup."""


def _run(
    callback: Callable[..., Any], event: str, named_by: str | None, *positional: Any, **given: Any
) -> Any:
    home = Path(given["home"])
    data: dict[str, AuditValue] = {}
    if named_by is not None and given.get(named_by):
        data["backupFileName"] = str(given[named_by])
    with told_in(AuditLog(load_settings(home).audit_log_path), home, event, data):
        return callback(*positional, **given)


backup = backup_commands(backed_up, lambda home: load_settings(home).backup.keep_days, home_option)
for _name, (_event, _named_by) in _EVENTS.items():
    _command = backup.commands[_name]
    if _command.callback is not None:
        _audited = partial(_run, _command.callback, _event, _named_by)
        _command.callback = update_wrapper(_audited, _command.callback)
