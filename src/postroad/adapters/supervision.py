"""How are the processes of one server started, watched, restarted and stopped?

Children are forked, not executed anew: what the parent has imported, all of them share, and the
memory of one more process is what that process itself writes (about 6 MiB instead of 30 when each
imports everything again). For that to be sound the supervisor has one thread, no event loop, no
connection and no secret; it waits for signals and nothing else. A child that dies is started again
with growing delays; all children die when the supervisor does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from postroad.adapters import kernel
from postroad.adapters.files import write_atomic
from postroad.adapters.system_clock import SystemClock
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_WATCHED: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
_SETTLED: Final = 60.0
"""Seconds after which a child counts as healthy, and its next failure as the first."""
_TICK: Final = 0.25
_LISTENING: Final = "0A"
"""The state of a listening socket in the kernel's tables."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep running: `target` is called in it, and its return ends the process."""

    name: str
    target: Callable[[], None]
    modules: Sequence[str] = ()
    """Imported in the supervisor before the fork, so that this child and later ones share them."""
    stop_order: int = 0
    """Children with a lower number are stopped, and waited for, before those with a higher."""
    is_ready: Callable[[], bool] | None = None
    """Asked in the supervisor until it says yes; must answer at once."""
    reloads: bool = False
    """Whether it reads its settings again on SIGHUP; the others ignore that signal."""
    stop_timeout: float = 30.0
    """Seconds to finish in after SIGTERM, before SIGKILL."""


class ChildState(StrEnum):
    """Where a child is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """It died, and is started again after a delay."""
    STOPPED = "stopped"


@dataclass(slots=True)
class _Life:
    child: Child
    state: ChildState = ChildState.WAITING
    pid: int = 0
    started: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    restarts: int = 0
    last_end: str = ""


@dataclass(slots=True)
class Supervisor:
    """Keeps children running until SIGTERM or SIGINT; see the module's description."""

    children: Sequence[Child]
    status_path: Path
    report: Callable[[str, dict[str, object]], None]
    """Called with an event and its facts, for the log."""
    monotonic: Callable[[], float] = time.monotonic
    _lives: list[_Life] = field(default_factory=list)
    _was_ready: bool = False
    _stopping: bool = False
    _written: bytes = b""

    def run(self) -> int:
        """Run until told to stop; the process's exit code."""
        self._lives = [_Life(child) for child in self.children]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            while not self._stopping:
                self._start_due()
                self._look_for_readiness()
                self._write_status()
                received = signal.sigtimedwait(_WATCHED, _TICK if self._is_unsettled() else 1.0)
                self._reap()
                if received is not None and received.si_signo in {signal.SIGTERM, signal.SIGINT}:
                    self._stopping = True
                if received is not None and received.si_signo == signal.SIGHUP:
                    self._reload()
            return self._stop_all()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    # --- starting --------------------------------------------------------------------------------

    def _start_due(self) -> None:
        for life in self._lives:
            if life.state is ChildState.WAITING and self.monotonic() >= life.start_at:
                self._start(life)

    def _start(self, life: _Life) -> None:
        _import(life.child.modules)
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(life.child, parent)
        life.pid, life.started = pid, self.monotonic()
        life.state = ChildState.STARTING if life.child.is_ready else ChildState.RUNNING
        self.report("process started", {"name": life.child.name, "child_pid": pid})

    def _look_for_readiness(self) -> None:
        for life in self._lives:
            ready = life.child.is_ready
            if life.state is ChildState.STARTING and ready is not None and ready():
                life.state = ChildState.RUNNING
        all_running = all(life.state is ChildState.RUNNING for life in self._lives)
        if all_running and not self._was_ready:
            self._was_ready = True
            self.report("server ready", {})
            notify("READY=1")

    def _is_unsettled(self) -> bool:
        return any(life.state is not ChildState.RUNNING for life in self._lives)

    def _reload(self) -> None:
        """Pass SIGHUP on to those who read their settings again."""
        self.report("settings are read again", {})
        for life in self._lives:
            if life.child.reloads and life.pid:
                _signal(life.pid, signal.SIGHUP)

    # --- ends ------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for life in self._lives:
                if life.pid == pid:
                    self._ended(life, os.waitstatus_to_exitcode(status))

    def _ended(self, life: _Life, code: int) -> None:
        now = self.monotonic()
        life.pid = 0
        life.last_end = f"signal {-code}" if code < 0 else f"exit code {code}"
        if self._stopping:
            life.state = ChildState.STOPPED
            return
        life.failures = 1 if now - life.started >= _SETTLED else life.failures + 1
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (life.failures - 1))
        life.state, life.start_at = ChildState.WAITING, now + delay
        life.restarts += 1
        self.report(
            "process ended",
            {"name": life.child.name, "end": life.last_end, "restart_in": delay},
        )

    # --- stopping --------------------------------------------------------------------------------

    def _stop_all(self) -> int:
        self._stopping = True
        notify("STOPPING=1")
        self.report("server stopping", {})
        self._write_status()
        clean = True
        for order in sorted({life.child.stop_order for life in self._lives}):
            group = [life for life in self._lives if life.child.stop_order == order]
            clean &= self._stop_group(group)
        for life in self._lives:
            life.state = ChildState.STOPPED
        self._write_status()
        return 0 if clean else 1

    def _stop_group(self, group: Sequence[_Life]) -> bool:
        alive = [life for life in group if life.pid]
        for life in alive:
            _signal(life.pid, signal.SIGTERM)
        deadline = self.monotonic() + max((life.child.stop_timeout for life in alive), default=0.0)
        clean = True
        while any(life.pid for life in group):
            received = signal.sigtimedwait(_WATCHED, max(0.0, deadline - self.monotonic()))
            self._reap()
            again = received is not None and received.si_signo in {signal.SIGTERM, signal.SIGINT}
            if again or self.monotonic() >= deadline:
                for life in group:
                    if life.pid:
                        clean = False
                        self.report("process killed", {"name": life.child.name})
                        _signal(life.pid, signal.SIGKILL)
                deadline = self.monotonic() + 5.0
        return clean

    # --- telling ---------------------------------------------------------------------------------

    def _write_status(self) -> None:
        state = "running" if self._was_ready and not self._is_unsettled() else "starting"
        status = {
            "state": "stopping" if self._stopping else state,
            "pid": os.getpid(),
            "children": [
                {
                    "name": life.child.name,
                    "state": life.state.value,
                    "pid": life.pid,
                    "restarts": life.restarts,
                    "last_end": life.last_end,
                }
                for life in self._lives
            ],
        }
        content = json.dumps(status, indent=2).encode()
        if content == self._written:
            return
        self._written = content
        at = SystemClock().now().isoformat(timespec="seconds")
        try:
            write_atomic(self.status_path, json.dumps({"at": at, **status}, indent=2).encode())
        except OSError as error:
            self.report("status not written", {"reason": error.strerror})


def _import(modules: Sequence[str]) -> None:
    """Import what a child needs, unless an earlier one needed it, too."""
    if all(module in sys.modules for module in modules):
        return
    gc.disable()  # next to nothing of a module is garbage, and looking for it takes long
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        gc.enable()
    gc.collect()
    gc.freeze()  # the children's collector leaves the shared pages alone


def _become(child: Child, parent: int) -> None:
    """The child's whole life, from the fork on; never returns."""
    code = 1
    try:
        for number in _WATCHED:
            signal.signal(number, signal.SIG_DFL)
        # One that doesn't reload, or not yet, must not die of being asked to.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        kernel.die_with_parent(parent)
        kernel.name_process(f"postroad:{child.name}")
        os.environ.pop("NOTIFY_SOCKET", None)
        child.target()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except PostroadError as error:
        # The supervisor must hear of the end, whatever it was; this is the edge of a process.
        sys.stderr.write(f"{child.name}: {error.message}\n")
    except BaseException:  # noqa: BLE001 - see above; nothing of the child may unwind the parent
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def run_once(target: Callable[[], None], name: str) -> int:
    """Run `target` in a process of its own and wait for its end; its exit code.

    For work at the start that needs memory which nothing needs afterwards.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(Child(name, target), parent)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def accepts_connections(path: Path) -> bool:
    """Whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def listens_on_port(host: str, port: int) -> bool:
    """Whether a process of this machine listens on a TCP port; it notices nothing of the look."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, _, _, _, address in found:
        packed = socket.inet_pton(family, str(address[0]))
        words = [packed[at : at + 4][::-1] for at in range(0, len(packed), 4)]
        wanted = f"{b''.join(words).hex().upper()}:{port:04X}"
        table = "/proc/net/tcp6" if family == socket.AF_INET6 else "/proc/net/tcp"
        try:
            with open(table, encoding="ascii") as lines:  # noqa: PTH123 - a table of the kernel
                if any(line.split()[1:4:2] == [wanted, _LISTENING] for line in lines):
                    return True
        except OSError:
            continue
    return False


def notify(state: str) -> None:
    """Tell the service manager (`NOTIFY_SOCKET`, sd_notify); nothing without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            return


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
