"""What belongs to the backup of a Central Server's node?

Everything that can't be made again: settings, token, certificates, and the registry with its change
log. What is published is generated again, and hardware tokens keep their keys. Source: reference
``backup_xroad_center_configuration.sh``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.adapters.backups.service import BackedUp, disposing
from postroad.adapters.database import create_engine, snapshot
from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.models.schema import registry_metadata
from postroad.centralserver.node import MIGRATIONS
from postroad.centralserver.registry.nodes import list_nodes
from postroad.centralserver.registry.system import instance_status
from postroad.centralserver.settings import FILE_NAME, database_password, load_settings
from postroad.errors import ConfigurationError, PostroadError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy.engine import Engine

_SILENT: Final = timedelta(minutes=3)
"""How long a node hasn't generated that counts as stopped."""

LEFT_OUT: Final = frozenset({"public", "globalconf", "run", "db", "log"})


def backed_up(home: Path) -> BackedUp:
    """The Central Server in a home directory, initialised or not."""
    settings = load_settings(home)
    recipients = settings.backup.recipients_file
    return BackedUp(
        label=_label(home),
        kind="cs",
        home=home,
        left_out=LEFT_OUT,
        settings_file=FILE_NAME,
        lock=settings.lock_path,
        metadata=registry_metadata(),
        migrations=MIGRATIONS,
        open_database=lambda: _database(home),
        require_alone=lambda: _require_alone(home) if _label(home) else None,
        begin_anew=lambda: _begin_anew(home),
        recipients_file=home / recipients if recipients else None,
    )


def _database(home: Path) -> AbstractContextManager[Engine]:
    settings = load_settings(home)
    return disposing(create_engine(settings.database_url, password=database_password(settings)))


def _label(home: Path) -> str:
    settings = load_settings(home)
    url = settings.database_url
    if url.startswith("sqlite:///") and not (home / "db").exists():
        return ""
    try:
        with _database(home) as engine, snapshot(engine) as session:
            instance = instance_status(session, settings.central.node_name).instance
    except PostroadError:
        return ""  # a database without tables, or none at all: nothing says whose it is
    if instance is None:
        return ""
    name = settings.central.node_name
    return f"central/{instance}/{name}" if name else f"central/{instance}"


def _require_alone(home: Path) -> None:
    """Refuse to replace a registry under nodes that publish it."""
    settings = load_settings(home)
    now = SystemClock().now()
    with _database(home) as engine, snapshot(engine) as session:
        nodes = list_nodes(session, at=now, interval=_SILENT)
    for node in nodes:
        own = node.name == settings.central.node_name
        if not own and node.generated_at is not None and now - node.generated_at < _SILENT:
            raise ConfigurationError(f"node {node.shown_name!r} runs on this database: stop it")


def _begin_anew(home: Path) -> None:
    """Forget what was published: it may be ahead of the registry, which is meant this time."""
    load_settings(home).status_path.unlink(missing_ok=True)
