"""What belongs to the backup of a Security Server?

Everything that can't be made or fetched again: settings, anchor, keys as they are (their PIN still
protects them), and the server configuration. Not the message log and its archives, as in the
reference. Source: reference ``backup_xroad_proxy_configuration.sh``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.adapters.backups.service import BackedUp, disposing
from postroad.adapters.database import create_engine
from postroad.securityserver.serverconf.models import Base
from postroad.securityserver.serverconf.repository import MIGRATIONS
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy.engine import Engine

    from postroad.securityserver.settings import Settings

FILE_NAME: Final = "server.toml"
_LEFT_OUT: Final = frozenset({"globalconf", "ocsp", "spool", "run", "db", "archive", "log"})


def backed_up(home: Path) -> BackedUp:
    """The Security Server in a home directory; without settings it is a new one."""
    settings = load_settings(home) if (home / FILE_NAME).exists() else None
    recipients = settings.backup.recipients_file if settings is not None else ""
    return BackedUp(
        label="" if settings is None else f"security/{settings.server_id.encoded()}",
        kind="ss",
        home=home,
        left_out=_LEFT_OUT | _archives(settings),
        settings_file=FILE_NAME,
        lock=home / "run" / "server.lock",
        metadata=Base.metadata,
        migrations=MIGRATIONS,
        open_database=lambda: _database(home),
        begin_anew=lambda: (home / "run" / "serverconf.snapshot").unlink(missing_ok=True),
        recipients_file=home / recipients if recipients else None,
    )


def _database(home: Path) -> AbstractContextManager[Engine]:
    return disposing(create_engine(load_settings(home).serverconf_url))


def _archives(settings: Settings | None) -> frozenset[str]:
    """Archives in another directory of the home; they are evidence, and large."""
    if settings is None or not settings.archive_path.is_relative_to(settings.home_path):
        return frozenset()
    return frozenset(settings.archive_path.relative_to(settings.home_path).parts[:1])
