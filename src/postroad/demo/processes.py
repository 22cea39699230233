"""How are the demo's programs started, watched and stopped?

Each runs as its own process, by the same command an operator would use, and dies with the demo.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A process of the demo with its log file."""

    STOP = signal.SIGTERM

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._environment = environment or {}
        self._user = user
        self._is_told = False
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; `ConfigurationError` when it isn't running."""
        if self.process is None:
            raise ConfigurationError(f"{self.name} isn't running")
        return self.process.pid

    def start(self) -> None:
        """Start the process; its output goes to its log file."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._is_told = False
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - programs of the demo
                self._command,
                cwd="/" if self._user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads hold locks at this point
            )

    def ask_to_stop(self) -> None:
        """Tell the process once to end, and don't wait: told again, it would drop what it does."""
        if self.process is not None and self.process.poll() is None and not self._is_told:
            self._is_told = True
            self.process.send_signal(self.STOP)

    def stop(self, *, patience: float = 10.0) -> None:
        """Ask the process to end, wait, and end it."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            self.ask_to_stop()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.process = None

    def check(self) -> None:
        """Raise ``ConfigurationError`` with the log's end when the process has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise ConfigurationError(
                f"{self.name} ended with exit code {self.process.returncode}; "
                f"the end of {self._log}:\n{self._tail()}"
            )

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-15:])


class Program(Process):
    """One ``postroad …`` process with its log file."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "postroad", *arguments]
        super().__init__(name, command, log=log, environment=environment)


def wait_until(
    what: str,
    ready: Callable[[], bool],
    *,
    programs: Sequence[Process] = (),
    patience: float = 30.0,
) -> None:
    """Wait until ``ready`` says so; fail early when one of the programs ends.

    Raises ``ConfigurationError`` after ``patience`` seconds.
    """
    until = time.monotonic() + patience
    pause = 0.01
    while not ready():
        for program in programs:
            program.check()
        if time.monotonic() > until:
            raise ConfigurationError(f"{what} was not ready within {patience:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def answers(url: str) -> bool:
    """Whether something speaks HTTP at ``url``."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", parts.path or "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
    return True


def resident_megabytes(pid: int) -> float:
    """The memory that a process and all its descendants keep resident, in MB.

    Pages that several processes share are counted once (the kernel's proportional set size); for a
    process that doesn't let itself be looked into, all its resident pages are counted.
    """
    total = 0
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        with contextlib.suppress(OSError):
            total += _proportional_bytes(current)
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
    return total / 1e6


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
