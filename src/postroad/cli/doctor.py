"""``postroad doctor``: is this Security Server well, and if not, what is wrong?

Exit code 0 says that all is well, 1 that there are warnings or something couldn't be judged, 2 that
something is broken (or that there is nothing to examine).
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from postroad.cli.server_context import home_option
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroad.identifiers import ServiceId
    from postroad.securityserver.doctor.findings import Finding
    from postroad.securityserver.settings import Settings

EXIT_CODES: Final = "exit codes: 0 well, 1 warnings or not judged, 2 broken"
_MARKS: Final = {"ok": "✔", "warning": "!", "failed": "✘", "unknown": "?"}
_COLORS: Final = {"ok": "green", "warning": "yellow", "failed": "red", "unknown": "cyan"}


@click.command("doctor", epilog=EXIT_CODES)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--service",
    "services",
    multiple=True,
    help="INSTANCE/CLASS/CODE/SUBSYSTEM/SERVICE elsewhere: try its Security Servers (repeatable).",
)
@click.option("--all", "show_all", is_flag=True, help="Show what is well, too.")
@home_option
def command(home: Path, services: tuple[str, ...], *, as_json: bool, show_all: bool) -> None:
    """Examine a Security Server with real transactions, and name what is wrong with it.

    Nothing is changed and no message is sent; the server may be down.
    """
    findings = examine_home(home, services)
    from postroad.securityserver.doctor.findings import exit_code

    if as_json:
        click.echo(json.dumps({"findings": [as_fields(each) for each in findings]}, indent=2))
    else:
        _print(findings, show_all=show_all)
    sys.exit(exit_code(findings))


def examine_home(home: Path, services: Sequence[str] = ()) -> tuple[Finding, ...]:
    """All findings about the server in a home directory."""
    from postroad.identifiers import ServiceId
    from postroad.securityserver.doctor.findings import Telling
    from postroad.securityserver.doctor.table import CHECKS
    from postroad.securityserver.settings import load_settings

    wanted = tuple(ServiceId.parse(text) for text in services)
    tell = Telling("settings")
    try:
        settings = load_settings(home)
    except ConfigurationError as error:
        broken = tell.failed(error.message, "correct server.toml; nothing else can be judged")
        return (broken, *(Telling(check.name).not_judged("settings") for check in CHECKS))
    return (tell.ok(f"{settings.server_id}"), *asyncio.run(_examine(settings, wanted)))


async def _examine(settings: Settings, services: tuple[ServiceId, ...]) -> tuple[Finding, ...]:
    from postroad.adapters.kernel import forbid_memory_dumps
    from postroad.adapters.system_clock import SystemClock
    from postroad.securityserver.doctor.examination import examine
    from postroad.securityserver.doctor.patient import opened_patient
    from postroad.securityserver.doctor.table import CHECKS

    forbid_memory_dumps()  # the authentication key is lent to us, too
    with opened_patient(settings, SystemClock(), services) as patient:
        return await examine(patient, CHECKS)


def as_fields(finding: Finding) -> dict[str, object]:
    """A finding as JSON shows it."""
    fields = asdict(finding)
    shown = ("check", "subject", "verdict", "seen", "advice", "because")
    return {"name": finding.name, **{name: fields[name] for name in shown}}


def _print(findings: Sequence[Finding], *, show_all: bool) -> None:
    worst_first = sorted(findings, key=lambda each: ["failed", "warning"].count(each.verdict) == 0)
    for finding in worst_first:
        if finding.verdict == "ok" and not show_all:
            continue
        mark = click.style(_MARKS[finding.verdict], fg=_COLORS[finding.verdict], bold=True)
        click.echo(f"{mark} {finding.name}: {finding.seen}")
        if finding.advice:
            click.echo(f"    → {finding.advice}")
    counted = {
        name: sum(finding.verdict == name for finding in findings)
        for name in ("ok", "warning", "failed", "unknown")
    }
    click.echo(
        f"{counted['ok']} well, {counted['warning']} warnings, {counted['failed']} failed, "
        f"{counted['unknown']} not judged"
    )
