"""Does the server run at all?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.securityserver.doctor.findings import Finding, Telling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "server"


@dataclass(frozen=True, slots=True)
class SeenChild:
    """One process as the supervisor told it last."""

    name: str
    state: str
    pid: int
    restarts: int
    last_end: str
    is_alive: bool
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class SeenServer:
    """What the supervisor told last, and whether that is still so."""

    state: str
    """Empty when no server has ever run here."""
    pid: int
    is_alive: bool
    children: tuple[SeenChild, ...] = ()


async def examine(patient: Patient) -> Sequence[Finding]:
    """Look for the supervisor."""
    return judge(await asyncio.to_thread(look, patient.settings.run_path))


def look(run_path: Path) -> SeenServer:
    """Read `status.json` and ask the kernel; blocking."""
    try:
        status = json.loads((run_path / "status.json").read_bytes())
        pid = int(status["pid"])
        children = tuple(
            SeenChild(
                str(child["name"]),
                str(child["state"]),
                int(child["pid"]),
                int(child["restarts"]),
                str(child["last_end"]),
                _is_alive(int(child["pid"])),
                _started(int(child["pid"])),
            )
            for child in status["children"]
        )
        return SeenServer(str(status["state"]), pid, _is_alive(pid), children)
    except (OSError, ValueError, KeyError, TypeError):
        return SeenServer("", 0, is_alive=False)


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent to notice doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return pid > 0 and state not in {b"Z", b"X"}


def _started(pid: int) -> datetime | None:
    """When a process was started; None if it isn't there."""
    try:
        return datetime.fromtimestamp(Path(f"/proc/{pid}").stat().st_ctime, UTC)
    except OSError:
        return None


def judge(seen: SeenServer) -> list[Finding]:
    """It runs when its supervisor is there."""
    tell = Telling(NAME)
    if not seen.state:
        return [
            tell.failed("no server has run in this home directory", "start it: postroad server run")
        ]
    if not seen.is_alive:
        return [
            tell.failed(
                f"the server is down: its supervisor (process {seen.pid}) is not there",
                "start it: postroad server run; its log tells why it ended",
            )
        ]
    if seen.state == "stopping":
        return [tell.failed("the server is stopping", "start it again when it has ended")]
    return [tell.ok(f"its supervisor is process {seen.pid}, state {seen.state!r}")]
