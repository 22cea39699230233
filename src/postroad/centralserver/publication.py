"""How do generated files become the ones that participants download, all together or not at all?

A directory points at parts in a folder of its own generation, so a reader sees one generation or
the other, never a mixture. Source: reference ``GlobalConfGenerationServiceImpl``,
``OldConfigurationCleaner``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.generation import EXTERNAL_DIRECTORY, INTERNAL_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from postroad.globalconf.generation import GeneratedConfiguration

_STAMP = re.compile(r"([0-9]{14})[0-9]{9}")
_VERSION = re.compile(r"V[0-9]{1,3}")
_DIRECTORIES = (INTERNAL_DIRECTORY, EXTERNAL_DIRECTORY)


def publish(
    generated: GeneratedConfiguration, public: Path, *, retention: timedelta, at: datetime
) -> None:
    """Write a generation and make it the current one; then forget what nobody needs any more.

    1. Write the parts into the folders of this generation.
    2. Write the directories beside the current ones.
    3. Put each directory in the place of the current one.
    4. Withdraw versions that are no longer made, and folders older than ``retention``.

    When 1 or 2 fails everything of this generation is removed and the current one stays. Raises
    ``ConfigurationError``.
    """
    waiting = {public / f"{path}.tmp": public / path for path in generated.directories}
    try:
        _write_files(public, generated.parts)
        _write_files(public, {f"{p}.tmp": data for p, data in generated.directories.items()})
    except OSError as error:
        _withdraw_generation(generated, public)
        raise ConfigurationError(
            f"the configuration can't be written to {public}: {error}", code=FaultCode.IO_ERROR
        ) from error
    try:
        for temporary, final in waiting.items():
            temporary.replace(final)
        for folder in {final.parent for final in waiting.values()}:
            _flush_folder(folder)
        _withdraw_versions(public, kept={path.partition("/")[0] for path in generated.directories})
        _remove_old_generations(public, current=generated.stamp, before=at - retention)
    except OSError as error:
        # The parts stay: a directory that is in its place already points at them.
        raise ConfigurationError(
            f"the configuration in {public} can't be replaced: {error}", code=FaultCode.IO_ERROR
        ) from error


def store_copy(files: Mapping[str, bytes], directory: Path) -> None:
    """Replace the node's own copy of the configuration, file by file.

    Raises ``ConfigurationError``.
    """
    try:
        for path, data in files.items():
            target = directory / path
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.tmp")
            _write_file(temporary, data)
            temporary.replace(target)
    except OSError as error:
        raise ConfigurationError(
            f"the copy of the configuration can't be written to {directory}: {error}",
            code=FaultCode.IO_ERROR,
        ) from error


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Let one process of this node generate at a time; others wait."""
    lock.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_files(public: Path, files: Mapping[str, bytes]) -> None:
    folders: set[Path] = set()
    for path, data in files.items():
        target = public / path
        for folder in reversed(target.relative_to(public).parents):
            (public / folder).mkdir(exist_ok=True, parents=True)
            (public / folder).chmod(0o755)
        _write_file(target, data)
        folders.add(target.parent)
    for folder in folders:
        _flush_folder(folder)


def _write_file(target: Path, data: bytes) -> None:
    with target.open("wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _withdraw_generation(generated: GeneratedConfiguration, public: Path) -> None:
    for path in generated.directories:
        with suppress(OSError):
            (public / f"{path}.tmp").unlink(missing_ok=True)
    for path in generated.parts:
        shutil.rmtree((public / path).parent, ignore_errors=True)


def _withdraw_versions(public: Path, *, kept: set[str]) -> None:
    # A directory that is no longer renewed would expire under its readers: better none (404), so
    # that they ask for a newer version.
    for folder in public.iterdir():
        if _VERSION.fullmatch(folder.name) and folder.name not in kept:
            for name in _DIRECTORIES:
                (folder / name).unlink(missing_ok=True)


def _remove_old_generations(public: Path, *, current: str, before: datetime) -> None:
    for folder in public.glob("V*/*"):
        stamp = _STAMP.fullmatch(folder.name)
        if stamp is None or folder.name == current or not _VERSION.fullmatch(folder.parent.name):
            continue
        made_at = datetime.strptime(stamp[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        if made_at < before:
            shutil.rmtree(folder, ignore_errors=True)
