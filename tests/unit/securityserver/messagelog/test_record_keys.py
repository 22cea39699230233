from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.record_keys import LogKeys, add_log_key, load_log_keys

KEY = "A" * 43 + "="


def test_added_keys_are_random_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    add_log_key(path, "2025")
    first = load_log_keys(path).key("2025")
    add_log_key(path, "2026")
    keys = load_log_keys(path)
    assert keys.ids == ("2025", "2026")
    assert keys.key("2025") == first != keys.key("2026")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    add_log_key(tmp_path / "keys.toml", "a")
    with pytest.raises(ConfigurationError, match="already"):
        add_log_key(tmp_path / "keys.toml", "a")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    add_log_key(tmp_path / "keys.toml", "a")
    (tmp_path / "keys.toml").chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_log_keys(tmp_path / "keys.toml")


def test_a_missing_file_or_key_has_a_code_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_log_keys(tmp_path / "none")
    assert caught.value.code is FaultCode.KEY_NOT_FOUND
    with pytest.raises(ConfigurationError) as caught:
        LogKeys({}).key("x")
    assert caught.value.code is FaultCode.KEY_NOT_FOUND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no toml",
        '[keys]\n"a" = "secret"\n',
        '[keys]\n"a" = 7\n',
        f'[keys]\n"a/b" = "{KEY}"\n',
        f'[keys]\n"a" = "{KEY}"\n"a" = "{KEY}"\n',
        f'[keys]\n"a" = "{KEY}"\n[more]\n',
        'keys = "secret"\n',
    ],
)
def test_a_broken_file_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LogKeys.parse(text.encode())
    assert "secret" not in caught.value.message
    assert KEY not in caught.value.message


@pytest.mark.parametrize("key_id", ["", "a b", "x" * 65, "../a", "ä"])
def test_an_id_is_a_plain_word(key_id: str) -> None:
    with pytest.raises(ConfigurationError, match="can't be the id"):
        LogKeys({}).with_new(key_id)
