"""On what machine was this measured, and what do its processes use?"""

from __future__ import annotations

import contextlib
import os
import platform
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import cryptography

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def describe() -> dict[str, object]:
    """Return what a reader must know of the machine to compare figures."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "openssl_of_ssl": ssl.OPENSSL_VERSION,
    }


def process_tree(pid: int) -> list[int]:
    """Return ``pid`` and all its descendants that still run."""
    found = [pid]
    for current in found:
        try:
            for task in Path(f"/proc/{current}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except _GONE:
            continue
    return found


def command_line(pid: int) -> str:
    """Return what a process calls itself."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except _GONE:
        return ""


def cpu_seconds(pid: int) -> float:
    """CPU seconds (user + system) that a process has used, its children excluded."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except _GONE:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def written_bytes(pid: int) -> int:
    """Bytes that a process has sent to the disk."""
    try:
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    except _GONE:
        pass
    return 0


def busy_seconds() -> float:
    """CPU seconds that all cores together have been busy, whoever used them."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / TICKS


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of some processes together, in MB.

    ``resident`` counts a page once for each process that has it, ``proportional`` once in all.
    """

    resident: float
    proportional: float


def memory(pids: Iterable[int]) -> Memory:
    """Resident and proportional memory of processes."""
    resident = proportional = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    resident += int(line.split()[1])
                elif line.startswith("Pss:"):
                    proportional += int(line.split()[1])
        except _GONE:
            continue
    return Memory(resident / 1024, proportional / 1024)


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Let all threads of processes run on these cores only."""
    wanted = set(cores)
    for pid in pids:
        with contextlib.suppress(*_GONE):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(*_GONE):
                    os.sched_setaffinity(int(task.name), wanted)


@dataclass(slots=True)
class MemoryWatch:
    """The highest memory of processes while something happens (a context manager)."""

    pids: Callable[[], list[int]]
    every: float = 0.25
    highest: Memory = Memory(0.0, 0.0)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.look()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.look()

    def look(self) -> None:
        """Measure now."""
        now = memory(self.pids())
        self.highest = Memory(
            max(self.highest.resident, now.resident),
            max(self.highest.proportional, now.proportional),
        )

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            self.look()
