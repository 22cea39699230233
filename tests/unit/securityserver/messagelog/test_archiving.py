from __future__ import annotations

import asyncio
import random
import resource
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.adapters.archive_protocol import AddArchiveArgument, ArchiveState
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.asic import parse_container
from postroad.identifiers import MemberId, SubsystemId
from postroad.securityserver.messagelog.archive_files import ArchiveDirectory
from postroad.securityserver.messagelog.archive_plan import Round
from postroad.securityserver.messagelog.archiving import ArchiveReport
from postroad.securityserver.messagelog.store import PreparedRecord
from support.archiving import LATER, ArchiveBench, DirectLog, archive_bench
from support.messagelog import NOW, record, stamp_batch
from support.postgresql import PostgresqlServer

GOV = SubsystemId("TEST", "GOV", "1", "register")


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveBench]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/log.sqlite"
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        url = server.create_database()
    with archive_bench(url, tmp_path / "archive") as opened:
        yield opened


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[ArchiveBench]:
    """For rules that have nothing to do with the product."""
    with archive_bench(f"sqlite:///{tmp_path}/log.sqlite", tmp_path / "archive") as opened:
        yield opened


def run(bench: ArchiveBench, **options: object) -> ArchiveReport:
    return asyncio.run(bench.archiver(**options).run())


def good(bench: ArchiveBench, **options: object) -> ArchiveReport:
    report = run(bench, **options)
    assert report.error is None, report.error
    return report


def test_stamped_records_are_archived_once_in_their_order(bench: ArchiveBench) -> None:
    bench.append(*(record(query_id=f"q{number}") for number in range(5)))
    assert good(bench).records == 5
    assert [name[:2] for name in bench.archived_names()] == [f"q{n}" for n in range(5)]
    assert good(bench).records == 0
    assert len(bench.archives()) == 1


def test_a_container_in_an_archive_is_the_record(fast: ArchiveBench) -> None:
    fast.append(record(message=b"GET\r\nwhat was said"))
    good(fast)
    ((_name, archive),) = fast.archives()
    container = parse_container(archive.read(archive.names[0]))
    assert container.message == b"GET\r\nwhat was said"
    assert container.timestamp == b"token"


def test_archives_follow_one_another(bench: ArchiveBench) -> None:
    for number in range(3):
        bench.append(record(query_id=f"q{number}"))
        good(bench)
    assert len(bench.archives()) == 3
    assert len(bench.archived_names()) == 3
    end = bench.planner.ends()[""]
    assert end.digest in {archive.linking.last_digest for _name, archive in bench.archives()}


def test_a_record_without_a_stamp_waits_and_holds_up_no_other(bench: ArchiveBench) -> None:
    bench.append(record(query_id="first"))
    bench.append(record(query_id="waiting"), stamped=False)
    (waiting,) = [pending.id for pending in bench.reader.pending(10)]
    bench.append(record(query_id="later"), stamped=False)
    later = bench.reader.pending(10)[1:]
    bench.store.insert_timestamp(b"", b"", b"", at=NOW)
    stamp_batch(bench, later)
    assert good(bench).records == 2
    assert bench.planner.extent().archived == waiting - 1
    assert good(bench).records == 0
    bench.stamp()
    assert good(bench).records == 1
    assert sorted(name.split("-")[0] for name in bench.archived_names()) == [
        "first",
        "later",
        "waiting",
    ]
    assert bench.planner.extent().archived == bench.planner.extent().newest


def test_a_record_without_a_stamp_is_refused_whoever_asks(fast: ArchiveBench) -> None:
    fast.append(record(), record(), stamped=False)
    plan = fast.planner.plan
    waiting = [pending.id for pending in fast.reader.pending(10)]

    def plan_everything(*arguments: object, **named: object) -> Round:
        planned = plan(*arguments, **named)
        planned.groups, planned.first_waiting = {"": waiting}, None
        return planned

    fast.planner.plan = plan_everything  # a planner that errs
    report = run(fast)
    assert report.error is not None
    assert report.error.code is FaultCode.ASIC_TIMESTAMP_NOT_FOUND
    assert fast.archives() == []
    assert fast.planner.extent().archived == 0


def test_a_record_that_is_stored_long_after_its_number_was_taken_is_not_skipped(
    bench: ArchiveBench,
) -> None:
    late = bench.store.begin_pieces()
    bench.append(record(query_id="early"))
    good(bench)
    assert bench.planner.extent().archived == late - 1
    bench.store.write([PreparedRecord(record(query_id="late"), id=late)])
    bench.stamp()
    good(bench)
    assert sorted(name.split("-")[0] for name in bench.archived_names()) == ["early", "late"]


def test_a_number_that_never_got_a_record_does_not_hold_up_for_ever(bench: ArchiveBench) -> None:
    given_up = bench.store.begin_pieces()
    bench.append(record())
    good(bench)
    bench.store.discard_pieces(given_up)
    good(bench)
    assert bench.planner.extent().archived == bench.planner.extent().newest


@pytest.mark.parametrize(
    ("grouping", "groups"),
    [
        ("none", {""}),
        ("member", {"TEST/COM/1234", "TEST/GOV/1", "TEST/GOV/2"}),
        ("subsystem", {"TEST/COM/1234/app", "TEST/GOV/1/register", "TEST/GOV/1/x", "TEST/GOV/2"}),
    ],
)
def test_archives_hold_records_of_one_group(
    bench: ArchiveBench, grouping: str, groups: set[str]
) -> None:
    parties = [GOV, SubsystemId("TEST", "GOV", "1", "x"), MemberId("TEST", "GOV", "2")]
    for _ in range(2):
        bench.append(*(record(party=party) for party in parties), record())
        assert good(bench, grouping=grouping).records == 4
    assert set(bench.planner.ends()) == groups
    assert len(bench.archives()) == 2 * len(groups)
    assert len(bench.archived_names()) == 8


def test_the_grouping_may_change(fast: ArchiveBench) -> None:
    for grouping in ("none", "member", "none"):
        fast.append(record(), record(party=GOV))
        assert good(fast, grouping=grouping).records == 2
    assert len(fast.archived_names()) == 6


def test_codes_with_slashes_are_not_taken_for_other_parties(fast: ArchiveBench) -> None:
    fast.append(
        record(party=MemberId("A", "B", "C/D")), record(party=SubsystemId("A", "B", "C", "D"))
    )
    good(fast, grouping="subsystem")
    assert set(fast.planner.ends()) == {"A/B/C%2FD", "A/B/C/D"}


def test_an_archive_is_closed_when_it_is_large_enough(bench: ArchiveBench) -> None:
    bench.append(*(record() for _ in range(6)))
    good(bench, max_bytes=1)
    assert [len(archive.names) for _name, archive in bench.archives()] == [1] * 6
    assert len(bench.archived_names()) == 6


def test_many_rounds_are_one_archive_each_at_most(fast: ArchiveBench, monkeypatch) -> None:
    monkeypatch.setattr("postroad.securityserver.messagelog.archive_plan.SCAN_STEP", 2)
    fast.append(*(record() for _ in range(7)))
    assert good(fast, round_records=3).records == 7
    assert len(fast.archived_names()) == 7
    assert fast.planner.extent().archived == fast.planner.extent().newest


class _Killed(BaseException):
    """The process is gone."""


class _Fragile:
    """Calls another object's methods, and dies before or after the n-th call."""

    def __init__(self, inner: object, countdown: list[int]) -> None:
        self._inner = inner
        self._countdown = countdown

    def _tick(self) -> None:
        self._countdown[0] -= 1
        if self._countdown[0] == 0:
            raise _Killed

    def __getattr__(self, name: str) -> object:
        method = getattr(self._inner, name)
        if not callable(method) or name == "path":
            return method
        if asyncio.iscoroutinefunction(method):

            async def slow(*arguments: object, **named: object) -> object:
                self._tick()
                result = await method(*arguments, **named)
                self._tick()
                return result

            return slow

        def quick(*arguments: object, **named: object) -> object:
            self._tick()
            result = method(*arguments, **named)
            self._tick()
            return result

        return quick


# Who is killed closes no files.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("grouping", ["none", "member"])
def test_a_kill_at_any_point_neither_loses_nor_doubles_a_record(
    tmp_path: Path, grouping: str
) -> None:
    deaths = 0
    for moment in range(1, 400):
        home = tmp_path / str(moment)
        home.mkdir()
        with archive_bench(f"sqlite:///{home}/log.sqlite", home / "archive") as bench:
            bench.append(record(), record(party=GOV), record())
            countdown = [moment]
            archiver = bench.archiver(
                log=_Fragile(DirectLog(bench), countdown),
                directory=_Fragile(ArchiveDirectory(bench.path, reserve=0), countdown),
                grouping=grouping,
                max_bytes=1,
            )
            try:
                asyncio.run(archiver.run())
            except _Killed:
                deaths += 1
            bench.append(record(), record(party=GOV))
            good(bench, grouping=grouping)
            assert len(set(bench.archived_names())) == len(bench.archived_names()) == 5
            assert bench.planner.archives(ArchiveState.MADE) == []
            assert bench.planner.extent().archived == bench.planner.extent().newest
        if countdown[0] > 0:
            break
    assert deaths > 20


def test_a_full_disk_leaves_everything_as_it_was(fast: ArchiveBench) -> None:
    fast.append(*(record(message=b"GET\r\n" + bytes_of(number)) for number in range(30)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (500_000, before[1])
    )  # a write fails, as on a full disk
    try:
        report = run(fast)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert report.error is not None
    assert report.error.code is FaultCode.MLOG_ARCHIVING_FAILED
    assert list(fast.path.iterdir()) == []
    assert fast.planner.ends() == {}
    assert good(fast).records == 30


def bytes_of(number: int) -> bytes:
    """Bytes that can't be packed."""
    return random.Random(number).randbytes(100_000)


def test_room_is_left_for_the_message_log(fast: ArchiveBench) -> None:
    fast.append(record())
    report = run(fast, directory=ArchiveDirectory(fast.path, reserve=1 << 62))
    assert report.error is not None
    assert "bytes free" in report.error.message
    assert good(fast).records == 1


def test_two_archivers_cannot_continue_one_chain(bench: ArchiveBench) -> None:
    bench.append(record())
    good(bench)

    async def other() -> None:
        await DirectLog(bench).add_archive(
            AddArchiveArgument("", "", "ab" * 64, "mlog-other.zip", bytes(7) + b"\1", NOW)
        )

    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(other())
    assert caught.value.code is FaultCode.MLOG_ARCHIVING_FAILED
    assert bench.planner.ends()[""].file_name != "mlog-other.zip"


def test_an_archive_that_vanished_before_it_was_shown_stops_everything(fast: ArchiveBench) -> None:
    fast.append(record())

    async def made_only() -> None:
        await DirectLog(fast).add_archive(
            AddArchiveArgument("", "", "ab" * 64, "mlog-gone.zip", bytes(7) + b"\1", NOW)
        )

    asyncio.run(made_only())
    fast.append(record())
    fast.settle()
    fast.now = LATER
    report = run(fast)
    assert report.error is not None
    assert "mlog-gone.zip is missing" in report.error.message
    assert report.cleaned == report.records == 0


def test_a_damaged_record_is_told_and_holds_up_no_other(fast: ArchiveBench) -> None:
    ids = fast.append(*(record() for _ in range(3)))
    fast.database.change("UPDATE signature SET signature = ? WHERE id = ?", (b"changed", ids[1]))
    report = run(fast)
    assert report.damaged == [ids[1]]
    assert report.records == 2
    assert report.error is not None
    assert fast.planner.extent().archived == ids[1] - 1
    again = run(fast)
    assert (again.records, again.damaged) == (0, [ids[1]])


def script(tmp_path: Path, body: str) -> tuple[str, ...]:
    path = tmp_path / "take.py"
    path.write_text(body)
    return (sys.executable, str(path))


TAKE = """
import pathlib, shutil, sys
target = pathlib.Path(__file__).with_name("taken")
target.mkdir(exist_ok=True)
shutil.copy(sys.argv[1], target)
"""


def test_archives_are_handed_over_in_order_and_once(fast: ArchiveBench, tmp_path: Path) -> None:
    command = script(tmp_path, TAKE)
    fast.append(record())
    first = good(fast, transfer_command=command)
    fast.append(record())
    second = good(fast, transfer_command=command)
    assert first.transferred == first.archives
    assert second.transferred == second.archives
    taken = sorted(path.name for path in (tmp_path / "taken").iterdir())
    assert taken == sorted(first.archives + second.archives)
    assert len(fast.archives()) == 2


def test_an_archive_is_removed_only_when_it_is_safe(fast: ArchiveBench, tmp_path: Path) -> None:
    fast.append(record())
    failing = script(tmp_path, "import sys; print('no route'); sys.exit(3)")
    report = run(fast, transfer_command=failing, remove_transferred=True)
    assert report.error is not None
    assert report.error.code is FaultCode.MLOG_ARCHIVE_TRANSFER_FAILED
    assert "ended with 3: no route" in report.error.message
    assert len(fast.archives()) == 1
    good(fast, transfer_command=script(tmp_path, TAKE), remove_transferred=True)
    assert fast.archives() == []
    fast.append(record())
    good(fast, transfer_command=script(tmp_path, TAKE), remove_transferred=True)
    assert len(list((tmp_path / "taken").iterdir())) == 2


@pytest.mark.parametrize("program", ["/none/such", "relative/none"])
def test_a_program_that_cannot_be_started_is_named(fast: ArchiveBench, program: str) -> None:
    fast.append(record())
    report = run(fast, transfer_command=(program,))
    assert report.error is not None
    assert program in report.error.message


def test_a_program_that_hangs_is_ended_with_its_children(
    fast: ArchiveBench, tmp_path: Path
) -> None:
    fast.append(record())
    hanging = script(
        tmp_path,
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])",
    )
    report = run(fast, transfer_command=hanging, transfer_seconds=0.3)
    assert report.error is not None
    assert "took longer than 0.3 s" in report.error.message


def test_no_shell_sees_the_name_of_an_archive(fast: ArchiveBench, tmp_path: Path) -> None:
    fast.append(record(party=MemberId("TEST", "GOV", "$(touch evil); `touch evil` & touch evil")))
    good(fast, grouping="member", transfer_command=script(tmp_path, TAKE))
    assert [path.name for path in tmp_path.rglob("evil*")] == []
    assert len(list((tmp_path / "taken").iterdir())) == 1


def test_an_archive_that_somebody_took_away_is_told(fast: ArchiveBench, tmp_path: Path) -> None:
    fast.append(record())
    (name,) = good(fast).archives
    (fast.path / name).unlink()
    assert good(fast, transfer_command=script(tmp_path, TAKE)).missing == [name]


def test_nothing_is_cleaned_before_its_time(bench: ArchiveBench) -> None:
    bench.append(*(record() for _ in range(3)))
    bench.settle()
    bench.append(record())
    bench.now = NOW + timedelta(days=29)
    assert good(bench).cleaned == 0
    bench.now = LATER
    assert good(bench).cleaned == 3
