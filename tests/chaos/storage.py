"""The place where a server keeps things gives out: full, read-only, gone, locked.

The provider's server suffers; consumers must hear of it as a fault, nothing may reach the provider
that its server hasn't logged, and it must go on by itself once the place is good again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from chaos.arena import Arena
from chaos.load import Load
from chaos.report import Skipped, require
from postroad.demo.layout import PROVIDER

_ROOM = 64 << 20
"""Bytes that the small file system has beside what lies there already."""

_SOCKETS = shutil.ignore_patterns("*.sock")


def full_disk(arena: Arena) -> dict[str, object]:
    """The disk of the provider's server is full, and gets room again."""
    rounds = 2 if arena.quick else 10
    with _small_disk(arena) as mount, arena.load() as load:
        facts: dict[str, object] = {}
        for _ in range(rounds):
            ballast = mount / "ballast"
            facts = _outage(arena, load, partial(_fill, ballast), ballast.unlink)
        return {"rounds": rounds, **facts}


def read_only_disk(arena: Arena) -> dict[str, object]:
    """Every file and folder of the provider's server becomes unchangeable, then changeable."""
    home = arena.layout.server_home(PROVIDER)
    if os.geteuid() != 0 or shutil.which("chattr") is None:
        raise Skipped("needs root and chattr to take the right to write from running processes")

    def freeze() -> None:
        subprocess.run(["chattr", "-R", "-f", "+i", str(home)], check=False, timeout=30)

    def thaw() -> None:
        subprocess.run(["chattr", "-R", "-f", "-i", str(home)], check=False, timeout=30)

    try:
        with arena.load() as load:
            return _outage(arena, load, freeze, thaw)
    finally:
        thaw()


def database_gone(arena: Arena) -> dict[str, object]:
    """The folder of the provider's message log is taken away while it runs, and put back."""
    folder = arena.layout.server_home(PROVIDER) / "db"
    away = folder.with_name("db-away")
    with arena.load() as load:
        return _outage(arena, load, lambda: folder.rename(away), lambda: _put_back(away, folder))


def database_locked(arena: Arena) -> dict[str, object]:
    """Another process holds the write lock of the provider's message log: briefly, and too long."""
    path = arena.ecosystem.settings(PROVIDER).messagelog_path
    with arena.load() as load:
        with _locked(path):
            time.sleep(3)
        began = time.monotonic()
        arena.await_works()
        time.sleep(1)
        late = load.since(began)
        require(
            any(reply.status == 200 for reply in late), "nothing went through after 3 s of lock"
        )
        lock = _locked(path)

        def take() -> None:
            lock.__enter__()

        def release() -> None:
            lock.__exit__(None, None, None)

        return _outage(arena, load, take, release, at_least=14.0)


def _outage(
    arena: Arena,
    load: Load,
    break_it: Callable[[], object],
    mend_it: Callable[[], object],
    *,
    at_least: float = 4.0,
) -> dict[str, object]:
    """Break something under load, see that nothing is delivered unlogged, mend it, go on."""
    time.sleep(1)
    broken = time.monotonic()
    break_it()
    try:
        arena.wait(
            lambda: any(reply.status == 500 for reply in load.since(broken)),
            "a consumer to be refused",
        )
        settled = time.monotonic()
        before = arena.ledger.deliveries
        time.sleep(max(0.0, at_least - (settled - broken)))
        replies = load.since(settled + 1.0)
        delivered = arena.ledger.deliveries - before
    finally:
        mend_it()
    mended = time.monotonic()
    arena.await_works()
    recovered = time.monotonic() - mended
    refused = [reply for reply in replies if reply.status != 200]
    faults = sorted({reply.fault or f"no answer: {reply.status}" for reply in refused})
    return {
        "refused_with": faults,
        "served_meanwhile": len(replies) - len(refused),
        "delivered_meanwhile": delivered,
        "recovery_s": recovered,
    }


def _fill(path: Path) -> None:
    """Write until there is no room, down to the last byte."""
    size = 1 << 20
    with path.open("ab", buffering=0) as file:
        while size:
            try:
                if file.write(bytes(size)) < size:
                    size //= 2
            except OSError:
                size //= 2


def _put_back(away: Path, folder: Path) -> None:
    if folder.exists():  # somebody made a new one: only an empty one may be replaced
        folder.rmdir()
    away.rename(folder)


@contextlib.contextmanager
def _small_disk(arena: Arena) -> Iterator[Path]:
    """Move the server's home to a file system of its own, without room to spare."""
    if os.geteuid() != 0:
        raise Skipped("needs root to mount a small file system")
    home = arena.layout.server_home(PROVIDER)
    program = arena.ecosystem.servers[PROVIDER]
    program.stop(patience=60)
    kept = home.with_name(f"{home.name}-kept")
    home.rename(kept)
    home.mkdir(mode=0o700)
    size = _ROOM + sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "chaos", str(home)]
    mounted = subprocess.run(command, check=False, capture_output=True, timeout=30)
    if mounted.returncode:
        home.rmdir()
        kept.rename(home)
        program.start()
        raise Skipped(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(kept, home, dirs_exist_ok=True, ignore=_SOCKETS)
        program.start()
        arena.await_works()
        yield home
    finally:
        (home / "ballast").unlink(missing_ok=True)
        program.stop(patience=60)
        back = home.with_name(f"{home.name}-back")
        shutil.copytree(home, back, ignore=_SOCKETS)
        subprocess.run(["umount", str(home)], check=True, timeout=30)
        home.rmdir()
        back.rename(home)
        program.start()
        arena.await_works()
    shutil.rmtree(kept)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


SCENARIOS = (full_disk, read_only_disk, database_gone, database_locked)
