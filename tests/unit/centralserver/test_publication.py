"""A generation is published whole, or the one before stays."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.publication import exclusive, publish, store_copy
from postroad.errors import ConfigurationError
from postroad.globalconf.generation import GeneratedConfiguration
from postroad.globalconf.moments import encode_stamp
from support.central_server import NOW

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

RETENTION = timedelta(seconds=600)


def generation(at: datetime, versions: tuple[int, ...] = (2, 6)) -> GeneratedConfiguration:
    stamp = encode_stamp(at)
    return GeneratedConfiguration(
        stamp,
        at + RETENTION,
        {f"V{v}/{stamp}/shared-params.xml": f"{v} {stamp}".encode() for v in versions},
        {f"V{v}/{d}": stamp.encode() for v in versions for d in ("internalconf", "externalconf")},
        {},
    )


def put(public: Path, at: datetime, versions: tuple[int, ...] = (2, 6)) -> GeneratedConfiguration:
    generated = generation(at, versions)
    publish(generated, public, retention=RETENTION, at=at)
    return generated


def files(public: Path) -> dict[str, bytes]:
    return {str(p.relative_to(public)): p.read_bytes() for p in public.rglob("*") if p.is_file()}


def test_exactly_the_generated_files_are_published(tmp_path: Path) -> None:
    generated = put(tmp_path / "public", NOW)
    assert files(tmp_path / "public") == generated.files


def test_everybody_may_read_what_is_published(tmp_path: Path) -> None:
    put(tmp_path / "public", NOW)
    for path in (tmp_path / "public").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_an_earlier_generation_stays_for_its_readers(tmp_path: Path) -> None:
    first = put(tmp_path, NOW)
    second = put(tmp_path, NOW + RETENTION)
    assert files(tmp_path) == {**first.parts, **second.files}


def test_an_old_generation_is_removed(tmp_path: Path) -> None:
    put(tmp_path, NOW)
    second = put(tmp_path, NOW + RETENTION + timedelta(seconds=1))
    assert files(tmp_path) == second.files


def test_folders_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    for name in ("V2/kept", "V2/123/x", "other/20200101000000000000000/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    put(tmp_path, NOW)
    assert {"V2/kept", "V2/123/x", "other/20200101000000000000000/x"} <= set(files(tmp_path))


def test_a_version_that_is_no_longer_made_is_withdrawn(tmp_path: Path) -> None:
    put(tmp_path, NOW)
    put(tmp_path, NOW + timedelta(seconds=60), versions=(6,))
    assert not (tmp_path / "V2" / "internalconf").exists()
    assert not (tmp_path / "V2" / "externalconf").exists()
    assert (tmp_path / "V6" / "internalconf").exists()


@pytest.mark.parametrize("obstacle", ["V6", "V6/externalconf.tmp", "V2"])
def test_when_one_file_cannot_be_written_nothing_changes(tmp_path: Path, obstacle: str) -> None:
    first = put(tmp_path, NOW)
    if "/" in obstacle:
        (tmp_path / obstacle).mkdir()
        expected = first.files
    else:
        shutil.rmtree(tmp_path / obstacle)
        (tmp_path / obstacle).write_bytes(b"in the way")
        expected = {
            **{path: data for path, data in first.files.items() if not path.startswith(obstacle)},
            obstacle: b"in the way",
        }
    with pytest.raises(ConfigurationError, match="can't be written"):
        put(tmp_path, NOW + timedelta(seconds=60))
    assert files(tmp_path) == expected


def test_a_directory_that_cannot_be_replaced_is_told(tmp_path: Path) -> None:
    (tmp_path / "V2" / "internalconf" / "in the way").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="can't be replaced"):
        put(tmp_path, NOW)


def test_the_copy_is_replaced_file_by_file(tmp_path: Path) -> None:
    store_copy({"instance-identifier": b"DEV", "DEV/shared-params.xml": b"1"}, tmp_path)
    store_copy({"instance-identifier": b"DEV", "DEV/shared-params.xml": b"2"}, tmp_path)
    assert files(tmp_path) == {"instance-identifier": b"DEV", "DEV/shared-params.xml": b"2"}


def test_a_copy_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="copy of the configuration"):
        store_copy({"x": b""}, tmp_path / "file")


def test_the_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "run" / "lock"):
            assert (tmp_path / "run" / "lock").exists()
