"""How do one run's files become the ones that clients of the proxy download?

As on the reference's proxy::

    <public>/<proxy instance>/conf-v<N>                        the signed directory of a version
    <public>/<proxy instance>/<milliseconds>/<instance>/…      the parts it lists

Parts go first, then the directory takes the place of the former one: a client sees one generation
or the other. Source: reference ``OutputBuilder``, ``ConfProxyHelper``.
"""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from postroad.adapters.files import write_atomic
from postroad.configurationproxy.settings import DIRECTORY
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf.directory import parse_content, parse_directory
from postroad.globalconf.parts import SHARED_PARAMETERS
from postroad.globalconf.shared_parameters import SharedParameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroad.globalconf.directory import SignedDirectory

KEPT = timedelta(seconds=600)
"""How long parts of an earlier generation stay, for clients that are reading them."""
_GENERATION = re.compile(r"[0-9]{12,14}", re.ASCII)
_PUBLISHED = re.compile(rf"{DIRECTORY}-v([0-9]{{1,2}})", re.ASCII)


def new_generation(public: Path, at: datetime) -> str:
    """The name of a generation's folder: its moment in milliseconds, or the next free one."""
    milliseconds = int(at.timestamp() * 1000)
    while (public / str(milliseconds)).exists():
        milliseconds += 1
    return str(milliseconds)


def publish_version(
    public: Path, generation: str, version: int, files: Mapping[str, bytes], signed: bytes
) -> None:
    """Make one version of one proxy instance the current one; ``ConfigurationError`` if it fails.

    ``public`` is the proxy instance's own folder.
    """
    folder = public / generation
    try:
        try:
            for path, content in files.items():
                target = folder / path
                target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                write_atomic(target, content, mode=0o644)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        write_atomic(public / f"{DIRECTORY}-v{version}", signed, mode=0o644)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration can't be written to {public}: {error}", code=FaultCode.IO_ERROR
        ) from error


def published(public: Path) -> dict[int, SignedDirectory]:
    """What is published now, by version."""
    found: dict[int, SignedDirectory] = {}
    for path in sorted(public.glob(f"{DIRECTORY}-v*")):
        match = _PUBLISHED.fullmatch(path.name)
        if match is None:
            continue
        try:
            unverified = parse_directory(path.read_bytes())
            found[int(match[1])] = parse_content(unverified.signed, unverified.content_type)
        except (OSError, MalformedInput):
            continue
    return found


def announced_keys(public: Path, instance: str) -> frozenset[bytes] | None:
    """The keys (certificates, DER) that clients can learn of from what is published now.

    None when nothing is published that could tell: then no client depends on it.
    """
    for version, directory in sorted(published(public).items(), reverse=True):
        for part in directory.parts:
            if part.identifier != SHARED_PARAMETERS or part.instance != instance:
                continue
            path = unquote(part.location.partition("/")[2].partition("/")[2])
            try:
                content = (public / path).read_bytes()
                sources = SharedParameters.parse(content, version).sources
            except (OSError, MalformedInput):
                continue
            if sources:
                listed = (source.internal_verification_certificates for source in sources)
                return frozenset(certificate for each in listed for certificate in each)
    return None


def clean(public: Path, *, at: datetime) -> None:
    """Withdraw directories that have expired, and generations that nobody needs any more.

    A client that gets 404 asks for an older version; an expired directory would only stop it.
    """
    needed: set[str] = set()
    for version, directory in published(public).items():
        if directory.expires_at < at:
            (public / f"{DIRECTORY}-v{version}").unlink(missing_ok=True)
        else:
            needed |= {part.location.split("/")[2] for part in directory.parts}
    for folder in public.iterdir() if public.is_dir() else ():
        if not _GENERATION.fullmatch(folder.name) or folder.name in needed:
            continue
        made_at = datetime.fromtimestamp(int(folder.name) / 1000, UTC)
        if made_at < at - KEPT:
            shutil.rmtree(folder, ignore_errors=True)
