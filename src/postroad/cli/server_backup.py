"""`postroad server backup`: the backups of a Security Server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.cli.backups import backup_commands
from postroad.cli.server_context import home_option
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.adapters.backups.service import BackedUp


def _backed_up(home: Path) -> BackedUp:
    from postroad.securityserver.backups import backed_up

    return backed_up(home)


backup = backup_commands(_backed_up, lambda home: load_settings(home).backup.keep_days, home_option)
