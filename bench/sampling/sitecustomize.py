"""Samples where every forked process of a server spends its CPU time; for ``make profile`` only.

Python imports this by itself in processes whose path has this folder. In each forked child a timer
of used CPU time interrupts, and what each thread has used since the last time counts for the
functions that it is in. Microseconds by stack are written to ``$BENCH_SAMPLES/<pid>.json`` about
once a second, and begin anew when that file has been removed. Python looks for signals between two
steps of its own, so time inside the event loop or TLS counts for the callback that comes next.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_INTERVAL = 0.002
_DEPTH = 60
_folder = os.environ.get("BENCH_SAMPLES")


class Sampler:
    """Counts stacks of this process."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / f"{os.getpid()}.json"
        self._stacks: Counter[tuple[str, ...]] = Counter()
        self._names: dict[object, str] = {}
        self._used: dict[int, float] = {}
        self._written = time.monotonic()
        self._has_written = False

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._take)
        signal.siginterrupt(signal.SIGPROF, False)  # noqa: FBT003 - it has no keyword
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def _take(self, _number: int, frame: FrameType | None) -> None:
        frames = sys._current_frames()  # noqa: SLF001 - the only way to see other threads
        for ident, own in frames.items():
            try:
                clock = time.pthread_getcpuclockid(ident)
                used = time.clock_gettime(clock)
            except OSError:
                continue
            spent = used - self._used.get(ident, used)
            self._used[ident] = used
            if spent > 0:
                here = frame if ident == threading.main_thread().ident else own
                self._stacks[self._stack(here)] += round(spent * 1e6)
        now = time.monotonic()
        if now - self._written > 1:
            self._write(now)

    def _stack(self, frame: FrameType | None) -> tuple[str, ...]:
        stack: list[str] = []
        while frame is not None and len(stack) < _DEPTH:
            code = frame.f_code
            name = self._names.get(code)
            if name is None:
                name = self._names[code] = f"{code.co_filename}:{code.co_qualname}"
            stack.append(name)
            frame = frame.f_back
        return tuple(stack)

    def _write(self, now: float) -> None:
        self._written = now
        if self._has_written and not self._path.exists():
            self._stacks.clear()  # whoever reads the file removes it to begin anew
        self._has_written = True
        stacks = [[spent, stack] for stack, spent in self._stacks.items()]
        self._path.write_text(json.dumps(stacks))


def _start() -> None:
    Sampler(str(_folder)).start()


if _folder:
    os.register_at_fork(after_in_child=_start)
