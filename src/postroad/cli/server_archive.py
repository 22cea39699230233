"""`postroad server archive`: the archives of a running server's message log."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from postroad.cli.server_context import home_option, show
from postroad.errors import ConfigurationError, PostroadError
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.securityserver.messagelog.archiving import ArchiveReport

EXIT_INCOMPLETE = 1


@click.group("archive")
def archive() -> None:
    """Archive the message log, and see how far that is."""


@archive.command("now")
@click.option("--clean/--no-clean", default=True, show_default=True, help="Remove old records.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def now(home: Path, *, clean: bool, as_json: bool) -> None:
    """Archive what is stamped, hand archives over, remove old records; the server must run.

    Exit code 1 says that something was left undone, and why.
    """
    from postroad.securityserver.messagelog.archive_run import archive_log
    from postroad.securityserver.messagelog.archiving import ArchiveReport

    try:
        report = asyncio.run(archive_log(load_settings(home), clean=clean))
    except PostroadError as error:
        if not as_json:
            raise
        report = ArchiveReport(error=error)
    if as_json:
        click.echo(json.dumps(facts_of(report)))
    else:
        click.echo(f"{report.records} records archived in {len(report.archives)} archives")
        for name in report.archives:
            click.echo(f"  {name}")
        click.echo(f"{len(report.transferred)} archives transferred")
        click.echo(f"{report.cleaned} records removed from the database")
        for name in report.missing:
            click.echo(f"  was to be transferred and isn't there: {name}")
    if report.error is not None:
        if not as_json:
            raise report.error
        sys.exit(EXIT_INCOMPLETE)


def facts_of(report: ArchiveReport) -> dict[str, object]:
    """The JSON form of what a run did."""
    error = report.error
    return {
        "archives": report.archives,
        "records": report.records,
        "transferred": report.transferred,
        "missing": report.missing,
        "cleaned": report.cleaned,
        "damaged": report.damaged,
        "error_code": None if error is None else error.fault_code,
        "error": None if error is None else error.message,
    }


@archive.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def status(home: Path, *, as_json: bool) -> None:
    """Show where each chain of archives ends, and what waits.

    The ends are what `postroad archive verify --last` wants to know.
    """
    from postroad.adapters.archive_protocol import ArchiveState
    from postroad.securityserver.messagelog.archive_plan import ArchivePlanner

    settings = load_settings(home)
    planner = ArchivePlanner.open(settings.messagelog_url)
    try:
        waiting = planner.count_waiting(planner.extent())
        unfinished = planner.archives(ArchiveState.MADE)
        here = planner.archives(ArchiveState.PUBLISHED)
        ends = planner.ends()
    finally:
        planner.close()
    takes = bool(settings.message_log.archive_transfer_command)
    if as_json:
        told = {
            "directory": str(settings.archive_path),
            "waiting_records": waiting,
            "unfinished_archives": [known.file_name for known in unfinished],
            "waiting_for_transfer": [known.file_name for known in here] if takes else [],
            "chains": [
                {"group": group, "last_archive": end.file_name, "last_digest": end.digest}
                for group, end in ends.items()
            ],
        }
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    click.echo(f"archives: {settings.archive_path}")
    click.echo(f"records in no archive yet: {waiting}")
    if takes:
        click.echo(f"archives waiting for their transfer: {len(here)}")
    if unfinished:
        click.echo(f"archives that the next run completes: {len(unfinished)}")
    show(
        ("GROUP", "LAST ARCHIVE", "ENDS WITH"),
        [(group or "-", end.file_name, end.digest) for group, end in ends.items()],
    )


@archive.command("make-key")
@home_option
def make_key(home: Path) -> None:
    """Make the server's own OpenPGP key, which signs archives and opens its own."""
    from postroad.adapters.openpgp import OpenPgpSecret
    from postroad.securityserver.messagelog.archive_encryption import (
        OWN_KEY_FILE,
    )

    settings = load_settings(home)
    path = settings.archive_pgp_path / OWN_KEY_FILE
    if path.exists():
        raise ConfigurationError(f"there is a key already: {path}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = OpenPgpSecret.generate(f"Security Server {settings.server_id}")
        secret.store(path)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error
    click.echo(str(secret.certificate), nl=False)
    click.echo(f"made {path}; keep a copy: without it nobody can read its archives", err=True)
    click.echo(f"fingerprint {secret.certificate.fingerprint}", err=True)
