"""How does a backup take the place of what is there, as a whole or not at all?

First all of it is written and synced into a directory beside; a rename of that directory is the
point from which the restore counts. After it the database and each file are put in their places,
and whoever comes next finishes what was interrupted: each step can be done again. Before it nothing
has changed. The services are stopped meanwhile: they hold the lock that a restore takes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.adapters.backups.contents import BackupContents, check_path
from postroad.adapters.file_locks import only_one
from postroad.adapters.files import read_tree, sync_directory, write_atomic
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

KEY_FILE: Final = "backup-key.pgp"
DIRECTORY: Final = "backup"
COMMITTED: Final = ".restore"
_STAGED: Final = ".restore.new"
_PLAN: Final = "plan.json"
_DATABASE: Final = "database.json"
_FILES: Final = "files"
_MAX_BYTES: Final = 512 * 1024 * 1024

ALWAYS_LEFT: Final = frozenset({DIRECTORY, KEY_FILE})
"""What no backup holds and no restore touches."""


def collect_files(home: Path, left_out: Collection[str]) -> dict[str, bytes]:
    """The files of a home directory by path, without links, hidden ones and what is left out."""
    found: dict[str, bytes] = {}
    for entry in sorted(home.iterdir()):
        if entry.name.startswith(".") or entry.name in left_out or entry.name in ALWAYS_LEFT:
            continue
        if entry.is_symlink():
            continue
        if entry.is_file():
            found[entry.name] = entry.read_bytes()
        elif entry.is_dir():
            below = read_tree(entry, _MAX_BYTES)
            found |= {f"{entry.name}/{path}": data for path, data in below.items()}
    return found


def stopped(lock: Path) -> AbstractContextManager[None]:
    """Hold the lock of a server's home, so that none runs; refused while one does."""
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    running = ConfigurationError("a server runs in this home directory: stop it first")
    return only_one(lock, running)


def stage(home: Path, contents: BackupContents, left_out: Collection[str]) -> None:
    """Write everything beside, and commit to it. From here on :func:`finish` must be called."""
    staged = home / _STAGED
    shutil.rmtree(staged, ignore_errors=True)
    (staged / _FILES).mkdir(mode=0o700, parents=True)
    for number, path in enumerate(sorted(contents.files)):
        write_atomic(staged / _FILES / str(number), contents.files[path])
    plan = {"left_out": sorted({*left_out, *ALWAYS_LEFT}), "paths": sorted(contents.files)}
    write_atomic(staged / _PLAN, json.dumps(plan).encode())
    write_atomic(staged / _DATABASE, contents.database)
    sync_directory(staged)
    staged.rename(home / COMMITTED)
    sync_directory(home)


def finish(home: Path, load_database: Callable[[bytes], None]) -> bool:
    """Put a restore that counts in its place; False when there is none."""
    committed = home / COMMITTED
    if not committed.is_dir():
        shutil.rmtree(home / _STAGED, ignore_errors=True)
        return False
    plan = json.loads((committed / _PLAN).read_bytes())
    paths: list[str] = plan["paths"]
    for path in paths:
        check_path(path)
    _remove_others(home, set(paths), set(plan["left_out"]))
    for number, path in enumerate(paths):
        _put(home, path, (committed / _FILES / str(number)).read_bytes())
    load_database((committed / _DATABASE).read_bytes())
    done = home / f"{_STAGED}.done"
    shutil.rmtree(done, ignore_errors=True)
    committed.rename(done)
    sync_directory(home)
    shutil.rmtree(done, ignore_errors=True)
    return True


def require_finished(home: Path) -> None:
    """Refuse to work with a home whose restore was interrupted."""
    if (home / COMMITTED).exists():
        raise ConfigurationError(
            "a restore was interrupted here: finish it with `backup restore --finish`"
        )


def _remove_others(home: Path, kept: set[str], left_out: set[str]) -> None:
    """Remove what the backup doesn't hold; links are removed, never followed."""
    for entry in home.iterdir():
        if entry.name.startswith(".") or entry.name in left_out:
            continue
        if entry.is_symlink() or not entry.is_dir():
            if entry.name not in kept:
                entry.unlink()
            continue
        for folder, names, files in os.walk(entry, topdown=False, followlinks=False):
            for name in (*files, *names):
                path = Path(folder) / name
                if path.is_symlink() or not path.is_dir():
                    if path.relative_to(home).as_posix() not in kept:
                        path.unlink()
                elif not any(path.iterdir()):
                    path.rmdir()


def _put(home: Path, path: str, data: bytes) -> None:
    target = home / path
    folder = home
    for segment in Path(path).parts[:-1]:
        folder /= segment
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            folder.unlink()
        folder.mkdir(mode=0o700, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    write_atomic(target, data)
