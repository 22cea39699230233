"""`python -m bench.archiving`: how long do messages wait for the log while it is archived?

A real log writer holds many stamped records. Appends come at a steady pace while another process
archives, and while old records are removed; that process is stopped in every other slice of time.
What counts is the ratio of both kinds of slices: same machine, same minute, same pace.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from postroad.adapters.log_client import LogClient
from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError
from postroad.identifiers import SubsystemId
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import Direction, InlineBody, Side, build_record
from postroad.securityserver.messagelog.stamping_plan import plan_batch
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from asyncio.subprocess import Process as Job
    from collections.abc import Iterator

    from postroad.evidence.log_record import MessageRecord

SLICE_S = 0.5
CLOCK = SystemClock()
OLD = CLOCK.now() - timedelta(days=40)
RUN_WRITER = (
    "import sys; from pathlib import Path; "
    "from postroad.securityserver.messagelog.writer import run; "
    "from postroad.securityserver.settings import load_settings; "
    "run(load_settings(Path(sys.argv[1])))"
)


class Slices(NamedTuple):
    """Milliseconds of appends, by whether the other process worked."""

    working: list[float]
    resting: list[float]


def record(number: int, members: int, at: datetime) -> MessageRecord:
    return build_record(
        SubsystemId("BENCH", "GOV", str(number % members), "app"),
        query_id=f"bench-{number}-{at.timestamp()}",
        request_id=None,
        direction=Direction.REQUEST,
        side=Side.CLIENT,
        message=b"GET\r\n/r1/BENCH/GOV/1/register/persons\r\n" + b"x-road-header:value\r\n" * 20,
        signature=b"<s>%d" % number + os.urandom(1500).hex().encode(),
        created_at=at,
        attachments=(InlineBody(os.urandom(500)),),
    )


async def fill(client: LogClient, url: str, count: int, members: int) -> None:
    """Log and stamp so many old records."""
    for start in range(0, count, 500):
        numbers = range(start, min(count, start + 500))
        await asyncio.gather(*(client.append(record(n, members, OLD)) for n in numbers))
        if start % 10_000 == 9_500 or numbers.stop == count:
            reader = LogReader.open(url)
            plan = plan_batch(reader.pending(10_000))
            reader.close()
            stamp = await client.insert_timestamp(b"token", plan.data, plan.leaves, at=OLD)
            for at in range(0, len(plan.signature_ids), 500):
                await client.apply_timestamps(stamp, at, plan.signature_ids[at : at + 500])


async def latencies(client: LogClient, options: argparse.Namespace, job: Job) -> Slices:
    """Append at a pace until the job has ended, which is stopped in every other slice of time.

    So both kinds of slices have the same neighbours on the machine. Milliseconds of each append.
    """
    slices = Slices([], [])
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int, into: list[float]) -> None:
        began = time.perf_counter()
        await client.append(record(number, 10, CLOCK.now()))
        into.append((time.perf_counter() - began) * 1000)

    began, number = time.perf_counter(), 0
    while job.returncode is None:
        number += 1
        is_resting = int(number / options.pace / SLICE_S) % 2 == 1
        with contextlib.suppress(ProcessLookupError):
            job.send_signal(signal.SIGSTOP if is_resting else signal.SIGCONT)
        into = slices.resting if is_resting else slices.working
        tasks.add(task := asyncio.ensure_future(one(number, into)))
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(max(0.0, began + number / options.pace - time.perf_counter()))
    await asyncio.gather(*tasks)
    return slices


async def archive(home: Path, *options: str) -> Job:
    return await asyncio.create_subprocess_exec(
        "nice",
        "-n19",
        sys.executable,
        "-m",
        "postroad",
        "server",
        "archive",
        "now",
        *options,
        "--home",
        str(home),
        stdout=asyncio.subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running_writer(home: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", RUN_WRITER, str(home)])
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


async def connected(socket: Path) -> LogClient:
    while True:
        client = LogClient(socket)
        try:
            state = TimestampingState(configured=True, last_success=CLOCK.now())
            await client.set_state(STATE_NAME, state.encode())
        except ConfigurationError:
            client.close()
            await asyncio.sleep(0.05)
        else:
            return client


async def measure(home: Path, options: argparse.Namespace) -> None:
    settings = load_settings(home)
    client = await connected(settings.logwriter_socket)
    began = time.perf_counter()
    await fill(client, settings.messagelog_url, options.records, options.members)
    print(f"{options.records} records logged and stamped in {time.perf_counter() - began:.1f} s")
    await asyncio.sleep(12)  # until searches' index has them
    for name, option in (("archiving", "--no-clean"), ("cleaning", "--clean")):
        slices = await latencies(client, options, await archive(home, option))
        shown = [
            f"p{percent} {_percentile(slices.working, percent):.2f} ms, at rest "
            f"{_percentile(slices.resting, percent):.2f} ms, ratio "
            f"{_percentile(slices.working, percent) / _percentile(slices.resting, percent):.2f}"
            for percent in (50, 99)
        ]
        count = len(slices.working) + len(slices.resting)
        print(f"{name:10} {count:6} appends   {'   '.join(shown)}")
    client.close()


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.archiving", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--grouping", default="member", choices=("none", "member", "subsystem"))
    parser.add_argument("--pace", type=float, default=200.0, help="appends a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postroad-bench-") as folder:
        home = Path(folder)
        for name in ("db", "run", "spool"):
            (home / name).mkdir()
        (home / "server.toml").write_text(
            '[server]\nidentifier = "BENCH/GOV/1/SS"\n[message_log]\n'
            f'archive_grouping = "{options.grouping}"\n'
        )
        with running_writer(home):
            asyncio.run(measure(home, options))


if __name__ == "__main__":
    main()
