"""Is there room for the message log, bodies under way and archives?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from postroad.securityserver.doctor.findings import Finding, Telling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroad.securityserver.doctor.patient import Patient, Room

NAME: Final = "disk"
TOO_LITTLE: Final = 100 * 1024 * 1024
LITTLE: Final = 1024 * 1024 * 1024
TOO_FEW_FILES: Final = 1000


async def examine(patient: Patient) -> Sequence[Finding]:
    """Ask the file systems of the folders that grow."""
    settings = patient.settings
    folders = {
        "message log": settings.home_path / "db",
        "spool": settings.spool_path,
        "archive": settings.archive_path,
        "run": settings.run_path,
    }

    def ask() -> dict[str, Room]:
        return {
            name: patient.room(path if path.exists() else settings.home_path)
            for name, path in folders.items()
        }

    return judge(await asyncio.to_thread(ask))


def judge(rooms: Mapping[str, Room]) -> list[Finding]:
    """Without room nothing can be logged, and what can't be logged isn't exchanged."""
    tell = Telling(NAME)
    findings: list[Finding] = []
    for name, room in rooms.items():
        left = f"{room.free_bytes / 1e6:.0f} MB are free for the {name}"
        advice = "make room: archive and clean the message log, or give it a larger disk"
        if room.free_files is not None and room.free_files < TOO_FEW_FILES:
            findings.append(
                tell.failed(f"only {room.free_files} files fit for the {name}", advice, name)
            )
        elif room.free_bytes < TOO_LITTLE:
            findings.append(tell.failed(left, advice, name))
        elif room.free_bytes < LITTLE:
            findings.append(tell.warning(left, advice, name))
    if findings:
        return _once(findings)
    least = min(room.free_bytes for room in rooms.values())
    return [tell.ok(f"at least {least / 1e9:.1f} GB are free for {', '.join(rooms)}")]


def _once(findings: list[Finding]) -> list[Finding]:
    """Folders on the same file system are one finding."""
    by_amount: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        amount = finding.seen.partition(" for ")[0]
        by_amount.setdefault((finding.verdict, amount), finding)
    return list(by_amount.values())
