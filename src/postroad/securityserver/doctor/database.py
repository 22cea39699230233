"""Can the databases be reached, read and written?"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.messagelog.sqlite import path_of_url

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "database"
LOCK_SECONDS: Final = 3.0
"""How long another's write may hold up ours before it is a lock that somebody forgot."""


async def examine(patient: Patient) -> Sequence[Finding]:
    """Open each database as its owner does, and let go again."""
    settings = patient.settings
    urls = {"serverconf": settings.serverconf_url, "message log": settings.messagelog_url}
    answers = await asyncio.gather(
        *(asyncio.to_thread(why_unusable, url) for url in urls.values()),
    )
    snapshot = await attempt(patient.serverconf())
    wrong = snapshot.message if isinstance(snapshot, PostroadError) else ""
    return judge(dict(zip(urls, answers, strict=True)), wrong)


def why_unusable(url: str) -> str:
    """Why a database can't be written now, "" if it can; blocking.

    The right to write is asked for and given back: nothing is written.
    """
    if url.startswith("sqlite"):
        return _try_sqlite(path_of_url(url))
    import psycopg  # noqa: PLC0415 - most servers keep their log in a file

    scheme, _, rest = url.partition("://")
    try:
        with psycopg.connect(
            f"{scheme.partition('+')[0]}://{rest}",
            connect_timeout=5,
            options=f"-c statement_timeout={int(LOCK_SECONDS * 1000)}",
        ) as connection:
            row = connection.execute("SHOW transaction_read_only").fetchone()
            connection.rollback()
    except psycopg.Error as error:
        return str(error).strip().splitlines()[0]
    return "it takes no writes: it is a standby, or read-only" if row == ("on",) else ""


def _try_sqlite(path: Path) -> str:
    if not path.exists():
        return f"{path} is gone"
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=LOCK_SECONDS, isolation_level=None
        )
        try:
            connection.execute("PRAGMA schema_version").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"{path}: {error}"
    return ""


def judge(troubles: dict[str, str], snapshot_trouble: str) -> list[Finding]:
    """A database that can't be written stops all messages."""
    tell = Telling(NAME)
    findings = [
        tell.failed(
            f"the {name} database can't be used: {trouble}",
            _advice(trouble),
            name,
            ("disk", "files"),
        )
        for name, trouble in troubles.items()
        if trouble
    ]
    if not findings and snapshot_trouble:
        findings.append(
            tell.failed(
                snapshot_trouble,
                "restart the server: it publishes its configuration for the workers anew",
                "serverconf",
                ("server", "files"),
            )
        )
    return findings or [tell.ok(f"{' and '.join(troubles)} can be read and written")]


def _advice(trouble: str) -> str:
    if "locked" in trouble:
        return "end the program that holds it locked: a shell, a backup, a forgotten transaction"
    return "bring the database back where the settings name it; nothing is exchanged without it"
