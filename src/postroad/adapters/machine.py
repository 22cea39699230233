"""How is this machine doing: memory, processor, disk, processes?

Read from ``/proc``; what a kernel doesn't tell is absent. Reference: what the monitoring sensors
get of the Java runtime and of ``ps``.
"""

from __future__ import annotations

import os
import pwd
import resource
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_DAY: Final = 86_400
MAX_PROCESSES: Final = 5000
MAX_COMMAND: Final = 1024
"""Characters of a command line that are told."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes."""

    total: int
    free: int
    swap_total: int
    swap_free: int


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process holds, in bytes."""

    resident: int
    virtual: int


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A process as ``ps`` lists it."""

    pid: int
    parent: int
    user: str
    command: str
    processor: float
    """Per cent of one processor since the start."""
    memory: float
    """Per cent of the physical memory."""
    started: str
    """``14:03`` today, ``Nov23`` before."""


def operating_system() -> str:
    """The first line of ``/proc/version``."""
    return _read(_PROC / "version").partition("\n")[0].strip()


def memory() -> Memory:
    """The machine's memory."""
    found: dict[str, int] = {}
    for line in _read(_PROC / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            found[name] = int(number[0]) * 1024
    names = ("MemTotal", "MemFree", "SwapTotal", "SwapFree")
    return Memory(*(found.get(name, 0) for name in names))


def processor_times() -> tuple[int, int]:
    """Time that all processors were busy, and all of their time, since the machine's start."""
    line = _read(_PROC / "stat").partition("\n")[0].split()[1:9]
    times = [int(each) for each in line if each.isdigit()]
    idle = sum(times[3:5])
    return sum(times) - idle, sum(times)


def disk_space(path: Path) -> tuple[int, int]:
    """Bytes of a file system: all, and those nobody uses."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize


def most_files() -> int:
    """How many files a process of ours may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def process_use(pid: int) -> ProcessUse | None:
    """What a process holds; None if it is gone."""
    try:
        virtual, resident = (_PROC / str(pid) / "statm").read_text("ascii").split()[:2]
    except (OSError, ValueError):
        return None
    return ProcessUse(int(resident) * _PAGE, int(virtual) * _PAGE)


def open_files() -> int:
    """File descriptors that this process has open: nobody else may count those of a worker."""
    return sum(1 for _ in (_PROC / "self" / "fd").iterdir())


def processes(at: float, *, whole_command: bool = False) -> Iterator[ProcessLine]:
    """All processes; ``at`` is now, in seconds since 1970."""
    total = memory().total or 1
    uptime = float(_read(_PROC / "uptime").split()[0] or 0)
    for pid in _pids():
        line = _process(pid, at, uptime, total)
        if line is None:
            continue
        yield _with_arguments(line) if whole_command else line


def family(of: int, found: Iterable[ProcessLine]) -> list[ProcessLine]:
    """A process, its children and their children."""
    listed = list(found)
    members = {of}
    for _ in range(3):
        members |= {line.pid for line in listed if line.parent in members}
    return [line for line in listed if line.pid in members]


def _pids() -> list[int]:
    names = (path.name for path in _PROC.iterdir())
    return sorted(int(name) for name in names if name.isdigit())[:MAX_PROCESSES]


def _process(pid: int, at: float, uptime: float, total: int) -> ProcessLine | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
        status = (_PROC / str(pid) / "status").read_text("utf-8", "replace")
    except OSError:
        return None
    before, _, after = text.rpartition(")")
    values = after.split()
    start = int(values[19]) / _TICKS
    age = max(uptime - start, 1.0)
    busy = (int(values[11]) + int(values[12])) / _TICKS
    return ProcessLine(
        pid,
        int(values[1]),
        _user(int(status.partition("\nUid:\t")[2].split()[0])),  # the file's owner may be root
        before.partition("(")[2],
        round(100 * busy / age, 1),
        round(100 * int(values[21]) * _PAGE / total, 1),
        _moment(at - age, at),
    )


def _with_arguments(line: ProcessLine) -> ProcessLine:
    raw = _read(_PROC / str(line.pid) / "cmdline").replace("\0", " ").strip()
    command = raw[:MAX_COMMAND] or line.command
    return ProcessLine(
        line.pid, line.parent, line.user, command, line.processor, line.memory, line.started
    )


def _moment(start: float, at: float) -> str:
    is_today = at - start < _DAY
    return time.strftime("%H:%M" if is_today else "%b%d", time.localtime(start))


@lru_cache(maxsize=256)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
