"""Can the server's own user use its files, and nobody else read what is secret?"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.internal_tls import internal_tls_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from postroad.securityserver.doctor.patient import Patient
    from postroad.securityserver.settings import Settings

NAME: Final = "files"
MAX_FILES: Final = 5000
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class SeenFile:
    """One file or folder."""

    path: str
    is_folder: bool
    mode: int
    owner: int
    exposed: int
    """The permission bits of group and others that they can make use of, folders above included."""
    secret: bool


async def examine(patient: Patient) -> Sequence[Finding]:
    """Look at modes and owners below the home directory."""
    return judge(await asyncio.to_thread(look, patient.settings))


def look(settings: Settings) -> list[SeenFile]:
    """Stat what matters; blocking."""
    home = settings.home_path
    paths = {
        home: False,
        home / "server.toml": False,
        settings.anchor_path: False,
        settings.run_path: False,
        settings.spool_path: False,
        settings.ocsp_path: False,
        home / "db": True,
        settings.signer_path: True,
        internal_tls_path(home): True,
        settings.log_keys_path: True,
        settings.archive_pgp_path: True,
    }
    if settings.tokens.pin_file:
        paths[home / settings.tokens.pin_file] = True
    found: list[SeenFile] = []
    for top, secret in paths.items():
        for path in _below(top, whole=secret):
            seen = _look(path, home, secret=secret)
            if seen is not None and len(found) < MAX_FILES:
                found.append(seen)
    return found


def _below(top: Path, *, whole: bool) -> Iterator[Path]:
    yield top
    if whole and top.is_dir() and not top.is_symlink():
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                yield top.__class__(folder) / name


def _look(path: Path, home: Path, *, secret: bool) -> SeenFile | None:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            return None
        above = 0o77
        folder = path.parent
        while folder == home or home in folder.parents:
            mode = folder.stat().st_mode
            above &= (0o70 if mode & stat.S_IXGRP else 0) | (0o07 if mode & stat.S_IXOTH else 0)
            folder = folder.parent
    except OSError:
        return None
    mode = stat.S_IMODE(status.st_mode)
    is_folder = stat.S_ISDIR(status.st_mode)
    return SeenFile(str(path), is_folder, mode, status.st_uid, mode & above & 0o77, secret)


def judge(files: Sequence[SeenFile]) -> list[Finding]:
    """Everything belongs to the owner of the home directory, who can use it, and nobody else."""
    tell = Telling(NAME)
    if not files:
        return [tell.failed("the home directory is not there", "postroad server init")]
    owner = files[0].owner
    foreign = [file.path for file in files if file.owner != owner]
    unusable = [file.path for file in files if not _is_usable(file)]
    exposed = [
        file.path
        for file in files
        if file.exposed & (0o77 if file.secret and not file.is_folder else 0o22)
    ]
    findings: list[Finding] = []
    if unusable:
        findings.append(
            tell.failed(
                f"their own owner can't use {_named(unusable)}",
                "chmod u+rw (folders: u+rwx)",
                "of the server",
            )
        )
    if exposed:
        findings.append(
            tell.failed(
                f"other users of this machine can use {_named(exposed)}: keys, messages or "
                "settings are theirs to read or change",
                "chmod go-rwx, and think about which secrets may be known by now",
                "open to others",
            )
        )
    if foreign:
        findings.append(
            tell.failed(
                f"{_named(foreign)} belong to another user than the home directory",
                "chown them to the user that the server runs as",
                "of another user",
            )
        )
    return findings or [tell.ok(f"{len(files)} files and folders are the server's own")]


def _is_usable(file: SeenFile) -> bool:
    needed = 0o700 if file.is_folder else 0o400
    return file.mode & needed == needed


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
