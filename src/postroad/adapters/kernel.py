"""Which promises do we ask of the Linux kernel about our own process?

Without them nothing breaks, so on a system that lacks one the answer is simply False.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_MEMORY: Final = 4 * 1024 * 1024
_LARGEST_BLOCK: Final = 2 * 1024 * 1024


def _prctl(option: int, value: ctypes.c_ulong | ctypes.c_char_p) -> bool:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def die_with_parent(parent_pid: int) -> bool:
    """Ask for SIGTERM when the parent dies; exits at once if it is dead already."""
    kept = _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))
    if os.getppid() != parent_pid:
        raise SystemExit(0)
    return kept


def forbid_memory_dumps() -> bool:
    """Forbid core files and debuggers of our own user for this process: it holds private keys."""
    return _prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))


def allow_memory_dumps() -> bool:
    """Take back what `forbid_memory_dumps` forbade, in a child that holds no secret."""
    return _prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1))


def allow_many_files() -> int:
    """Raise the number of files this process and its children may open to the most it may be.

    Every connection is one; the limit that a shell starts with is often 1024. Returns it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return soft
    return hard


def name_process(name: str) -> bool:
    """Set the short name (15 bytes) that `ps` and `top` show for this process."""
    return _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]))


def keep_freed_memory() -> bool:
    """Let the C library reuse a few megabytes that were freed, for this process.

    By default blocks of the size in which bodies travel go back to the kernel when they are freed,
    and for each new one the kernel has to find and clear pages again, 256 for a megabyte.
    """
    try:
        libc = ctypes.CDLL(None)
        return bool(
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
            and libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_MEMORY)
        )
    except (OSError, AttributeError):  # another C library
        return False
