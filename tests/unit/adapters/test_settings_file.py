from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from postroad.adapters.settings_file import convert_settings, read_settings_text
from postroad.errors import ConfigurationError


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    number: int = 1
    home: str = ""


def test_a_missing_file_is_what_the_program_says(tmp_path: Path) -> None:
    assert read_settings_text(tmp_path / "none", missing="number = 2") == "number = 2"
    with pytest.raises(ConfigurationError, match="make it"):
        read_settings_text(tmp_path / "none", missing=ConfigurationError("make it"))


@pytest.mark.parametrize("missing", ["", ConfigurationError("make it")])
def test_what_is_no_text_is_refused(tmp_path: Path, missing: str | ConfigurationError) -> None:
    (tmp_path / "bytes").write_bytes(b"number = \xff")
    for path in (tmp_path, tmp_path / "bytes"):
        with pytest.raises(ConfigurationError, match="can't be read"):
            read_settings_text(path, missing=missing)


def test_settings_know_their_home(tmp_path: Path) -> None:
    read = convert_settings("number = 3", Kind, home=tmp_path, source="x.toml")
    assert read == Kind(number=3, home=str(tmp_path))


@pytest.mark.parametrize("text", ["number", 'number = "1"', "other = 1", 'home = "/elsewhere"'])
def test_anything_else_is_refused_with_the_files_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.toml"):
        convert_settings(text, Kind, home=tmp_path, source="x.toml")
