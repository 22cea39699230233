"""Are the programs there that the benchmark needs, and from which package do they come?"""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGES = {"wrk": "wrk", "nginx": "nginx-light"}
_PLACES = ("/usr/sbin", "/usr/local/sbin")


class MissingTools(Exception):
    """Says which packages to install."""


def find(program: str) -> str | None:
    """Return where a program is; nginx is often not on a user's path."""
    found = shutil.which(program)
    if found:
        return found
    places = [Path(place) / program for place in _PLACES]
    return next((str(place) for place in places if place.exists()), None)


def postgresql(program: str) -> str | None:
    """Return where a program of the newest PostgreSQL is."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / program).exists():
            return str(folder / program)
    return shutil.which(program)


def require(*, with_postgresql: bool) -> None:
    """Raise ``MissingTools`` naming every Debian package that isn't installed."""
    missing = [package for program, package in PACKAGES.items() if find(program) is None]
    if with_postgresql and postgresql("initdb") is None:
        missing.append("postgresql")
    if missing:
        raise MissingTools(
            "the benchmark needs what isn't installed; on Debian or Ubuntu: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
