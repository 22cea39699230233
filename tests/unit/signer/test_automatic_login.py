"""PINs without a person: which files and commands are believed, and what is never told."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from postroad.adapters.private_files import read_private_file
from postroad.errors import ConfigurationError, FaultCode
from postroad.signer.automatic_login import (
    AutomaticLogin,
    parse_pins,
    run_command,
)

PIN = "canary-pin-4711"


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("", {}),
        ("\n\r\n", {}),
        ("1234", {"0": "1234"}),
        ("12:34\r\n", {"0": "12:34"}),
        ("0:1234\nhsm0abc:5 6\n", {"0": "1234", "hsm0abc": "5 6"}),
        ("a:b:1\n0:2", {"a": "b:1", "0": "2"}),
    ],
)
def test_one_line_is_the_software_tokens_pin_and_several_name_theirs(
    text: str, pins: dict[str, str]
) -> None:
    assert parse_pins(text) == pins


@pytest.mark.parametrize("text", ["a:1\nno pin", "a:1\n:2", "a:1\nb:", "a:1\na:2"])
def test_unclear_lines_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_pins(text.replace("1", PIN))
    assert caught.value.code is FaultCode.LOGIN_FAILED
    assert PIN not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o660, 0o777])
def test_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pin"
    path.write_text(PIN)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_private_file(path)
    path.chmod(0o400)
    assert read_private_file(path) == PIN


def test_only_files_are_read_and_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError):
            read_private_file(path)


@pytest.mark.parametrize("content", [b"x" * 70_000, b"\xff\xfe"])
def test_file_that_holds_no_pins_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError):
        read_private_file(path)


def test_command_prints_the_pins() -> None:
    assert run_command(["printf", f"0:{PIN}\\na:b"]) == f"0:{PIN}\na:b"
    assert run_command(["sh", "-c", f"echo {PIN}; exit 127"]) == ""


@pytest.mark.parametrize("script", ["exit 1", "echo canary-pin-4711; exit 2"])
def test_failing_command_is_told_without_what_it_printed(script: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run_command(["sh", "-c", script])
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from postroad.signer import automatic_login

    monkeypatch.setattr(automatic_login, "COMMAND_TIMEOUT", 0.2)
    with pytest.raises(ConfigurationError) as caught:
        run_command(["sh", "-c", f"echo {PIN}; exec sleep 20"])
    assert PIN not in "".join(traceback.format_exception(caught.value))


def test_source_of_pins_prints_nothing_of_them() -> None:
    assert "4711" not in repr(AutomaticLogin(lambda: PIN))
