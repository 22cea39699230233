"""Promises of the kernel, asked in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from postroad.adapters import kernel

GET_DEATH_SIGNAL = "value = ctypes.c_int(); libc.prctl(2, ctypes.byref(value)); print(value.value)"


def answer(code: str) -> str:
    script = (
        "import ctypes, os\nfrom postroad.adapters import kernel\nlibc = ctypes.CDLL(None)\n" + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print(libc.prctl(3, 0, 0, 0, 0))", "1"),
        ("kernel.forbid_memory_dumps(); print(libc.prctl(3, 0, 0, 0, 0))", "0"),
        (
            (
                "kernel.forbid_memory_dumps(); kernel.allow_memory_dumps()\n"
                "print(libc.prctl(3, 0, 0, 0, 0))"
            ),
            "1",
        ),
        (
            (
                "kernel.name_process('postroad:a-long-name')\n"
                "with open('/proc/self/comm') as name: print(name.read())"
            ),
            "postroad:a-long",
        ),
        (f"kernel.die_with_parent(os.getppid())\n{GET_DEATH_SIGNAL}", "15"),
    ],
)
def test_kernel_keeps_the_promise(code: str, expected: str) -> None:
    assert answer(code) == expected


def test_process_whose_parent_is_gone_ends_at_once() -> None:
    assert answer(f"kernel.die_with_parent({os.getpid() + 1_000_000})\nprint('alive')") == ""


def test_a_process_may_open_as_many_files_as_it_is_ever_allowed_to() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert kernel.allow_many_files() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
