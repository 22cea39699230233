from __future__ import annotations

import os
import pwd
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from postroad.adapters import machine, network_interfaces
from support.exchange import NOW


def test_this_process_is_listed_as_it_is() -> None:
    listed = {line.pid: line for line in machine.processes(NOW.timestamp())}
    own = listed[os.getpid()]
    assert own.parent == os.getppid()
    assert own.user == pwd.getpwuid(os.getuid()).pw_name
    assert own.memory > 0
    assert own.command in Path("/proc/self/comm").read_text()


def test_a_command_is_told_as_a_whole_only_if_that_is_wanted() -> None:
    own = os.getpid()
    short = next(line for line in machine.processes(0) if line.pid == own)
    whole = next(line for line in machine.processes(0, whole_command=True) if line.pid == own)
    assert len(whole.command) > len(short.command)
    assert len(whole.command) <= machine.MAX_COMMAND


def test_a_name_with_brackets_and_blanks_does_not_move_the_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 2 (b"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as process:
        line = next(line for line in machine.processes(0) if line.pid == process.pid)
        process.communicate(b"\n")
    assert line.parent == os.getpid()


def test_a_family_is_a_process_and_those_below_it() -> None:
    def line(pid: int, parent: int) -> machine.ProcessLine:
        return machine.ProcessLine(pid, parent, "", "", 0, 0, "")

    listed = [line(1, 0), line(10, 1), line(11, 10), line(12, 11), line(20, 1)]
    assert [each.pid for each in machine.family(10, listed)] == [10, 11, 12]


def test_start_is_a_time_today_and_a_day_before() -> None:
    at = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
    assert ":" in machine._moment(at - 60, at)
    assert machine._moment(at - 5 * 86_400, at) == "Nov18"


def test_open_files_count(tmp_path: Path) -> None:
    before = machine.open_files()
    with (tmp_path / "file").open("w"):
        assert machine.open_files() == before + 1


def test_a_process_that_is_gone_uses_nothing() -> None:
    assert machine.process_use(1 << 30) is None
    used = machine.process_use(os.getpid())
    assert used is not None
    assert 0 < used.resident < used.virtual


def test_memory_and_disk_add_up() -> None:
    memory = machine.memory()
    assert 0 < memory.free < memory.total
    total, free = machine.disk_space(Path("/"))
    assert 0 <= free <= total


def test_the_inner_address_is_an_address() -> None:
    assert ip_address(network_interfaces.internal_address())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0"])
def test_addresses_that_nobody_else_can_use_do_not_count(address: str) -> None:
    assert not network_interfaces._is_usable(address)
