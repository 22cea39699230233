"""What tests of the message log have in common: records, stores of both products, a real writer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from postroad.adapters.log_client import LogClient
from postroad.errors import ConfigurationError
from postroad.identifiers import SubsystemId
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import (
    BODY_DIGEST,
    Direction,
    MessageRecord,
    Side,
    SpooledBody,
    build_record,
)
from postroad.securityserver.messagelog.stamping_plan import plan_batch
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState
from postroad.securityserver.messagelog.store import LogStore
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from postroad.evidence.log_record import Body
    from postroad.identifiers import ClientId
    from postroad.securityserver.messagelog.committing import Outcome
    from postroad.securityserver.messagelog.intake import LogWriter
    from postroad.securityserver.messagelog.reading import PendingSignature

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CLIENT = SubsystemId("TEST", "COM", "1234", "app")
_numbers = itertools.count(1)

WORKING = TimestampingState(configured=True, last_success=NOW)

RUN_WRITER = """
import sys
from pathlib import Path
from postroad.securityserver.messagelog.writer import run
from postroad.securityserver.settings import load_settings
run(load_settings(Path(sys.argv[1])))
"""


def record(
    *attachments: Body,
    party: ClientId = CLIENT,
    query_id: str | None = None,
    request_id: str | None = "5b1c",
    direction: Direction = Direction.REQUEST,
    side: Side = Side.CLIENT,
    message: bytes = b"GET\r\n/r1/TEST/GOV/99/registry/persons\r\n",
    signature: bytes | None = None,
    hash_chain_result: bytes | None = None,
    hash_chain: bytes | None = None,
    created_at: datetime = NOW,
) -> MessageRecord:
    """A record that differs from every other in its ids and its signature."""
    number = next(_numbers)
    return build_record(
        party,
        query_id=f"query-{number}" if query_id is None else query_id,
        request_id=request_id,
        direction=direction,
        side=side,
        message=message,
        signature=f"<signature {number}/>".encode() if signature is None else signature,
        hash_chain_result=hash_chain_result,
        hash_chain=hash_chain,
        created_at=created_at,
        attachments=attachments,
    )


async def submit(writer: LogWriter, item: MessageRecord) -> int:
    """Hand one record to a writer; its id once it is stored."""
    done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
    writer.submit([item], done.set_result)
    (outcome,) = await done
    if isinstance(outcome, ConfigurationError):
        raise outcome
    return outcome


def stamp_batch(
    log: OpenLog, waiting: Sequence[PendingSignature], token: bytes = b"token", at: datetime = NOW
) -> int:
    """Store a time-stamp over waiting signatures, as the stamping job does; return its id."""
    plan = plan_batch(waiting)
    timestamp_id = log.store.insert_timestamp(token, plan.data, plan.leaves, at=at)
    log.store.apply_timestamps(timestamp_id, 0, plan.signature_ids)
    return timestamp_id


@dataclass
class OpenLog:
    """A store and a reader of one log."""

    url: str
    store: LogStore
    reader: LogReader


@contextlib.contextmanager
def open_log(url: str) -> Iterator[OpenLog]:
    store = LogStore(open_database(url))
    store.prepare()
    reader = LogReader.open(url)
    try:
        yield OpenLog(url, store, reader)
    finally:
        reader.close()
        store.close()


async def eventually(condition: Callable[[], object], *, within: float = 20) -> None:
    """Return once ``condition()`` is true."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        await asyncio.sleep(0.001)


def spool(directory: Path, data: bytes, name: str = "body") -> SpooledBody:
    """Put a body into the spool directory, as a proxy does."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(data)
    return SpooledBody(name, BODY_DIGEST.digest(data), len(data))


class WriterProcess:
    """A real log writer over a home directory of its own."""

    def __init__(self, home: Path, **message_log: object) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("db", "run", "spool"):
            (home / name).mkdir(exist_ok=True)
        lines = ["[server]", 'identifier = "TEST/COM/1234/SS1"', "[message_log]"]
        for key, value in message_log.items():
            lines.append(f"{key} = {value!r}".replace("'", '"'))
        (home / "server.toml").write_text("\n".join(lines))

    @property
    def socket(self) -> Path:
        return self.home / "run" / "logwriter.sock"

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    @property
    def url(self) -> str:
        return load_settings(self.home).messagelog_url

    def start(self) -> None:
        """Start the process and wait until its socket accepts connections."""
        with (self.home / "writer.log").open("ab") as diary:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN_WRITER, str(self.home)], stderr=diary
            )
        deadline = time.monotonic() + 30
        while not asyncio.run(self._answers()):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def kill(self) -> None:
        """End the process as a power cut would: with no chance to do anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask the process to stop; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=30)

    def log(self) -> str:
        return (self.home / "writer.log").read_text()

    async def _answers(self) -> bool:
        client = LogClient(self.socket)
        try:
            await client.status()
        except ConfigurationError:
            return False
        finally:
            client.close()
        return True


@contextlib.contextmanager
def running_writer(home: Path, **message_log: object) -> Iterator[WriterProcess]:
    writer = WriterProcess(home, **message_log)
    writer.start()
    try:
        yield writer
    finally:
        if writer.process is not None and writer.process.poll() is None:
            writer.kill()


@contextlib.asynccontextmanager
async def connected(writer: WriterProcess, *, stamping: TimestampingState | None = WORKING):
    """A client; the log is told that time-stamping works, unless told otherwise."""
    client = LogClient(writer.socket)
    try:
        if stamping is not None:
            await client.set_state(STATE_NAME, stamping.encode())
        yield client
    finally:
        client.close()
