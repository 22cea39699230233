"""PostgreSQL under both message logs dies, hangs, is locked, and has no connection to give."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
from bench.machine import process_tree

from chaos.arena import Arena
from chaos.load import Load
from chaos.report import Skipped, require
from postroad.demo.layout import PARTIES
from support.postgresql import PostgresqlServer, running_server


def postgresql(arena: Arena) -> dict[str, object]:
    """PostgreSQL crashes, hangs, is locked and runs out of connections under load."""
    with _server() as server, _logs_in(arena, server), arena.load() as load:
        time.sleep(2)
        require(any(reply.status == 200 for _, reply in load.replies), "nothing went through")
        return {
            "crash": _broken(arena, load, lambda: _crash(server), pause=3),
            "hang": _broken(arena, load, lambda: _hang(arena, server), pause=5),
            "locked table": _broken(arena, load, lambda: _lock(server), pause=5),
            "no connections": _broken(arena, load, lambda: _exhaust(server), pause=5),
        }


def _broken(
    arena: Arena,
    load: Load,
    trouble: Callable[[], contextlib.AbstractContextManager[None]],
    *,
    pause: float,
) -> dict[str, object]:
    """Have a trouble for a while, then see how soon messages go through again."""
    began = time.monotonic()
    with trouble():
        time.sleep(pause)
        replies = load.since(began)
    mended = time.monotonic()
    arena.await_works()
    recovered = time.monotonic() - mended
    time.sleep(1)
    return {
        "served": sum(reply.status == 200 for reply in replies),
        "refused_with": sorted({each.fault for each in replies if each.status != 200}),
        "recovery_s": recovered,
    }


@contextlib.contextmanager
def _crash(server: PostgresqlServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def _hang(arena: Arena, server: PostgresqlServer) -> Iterator[None]:
    pid = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
    with arena.stopped_processes(*process_tree(pid)):
        yield


@contextlib.contextmanager
def _lock(server: PostgresqlServer) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for party in PARTIES:
            connection = psycopg.connect(server.url(_name(party.server_code)))
            stack.enter_context(contextlib.closing(connection))
            connection.execute("LOCK TABLE logrecord IN ACCESS EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def _exhaust(server: PostgresqlServer) -> Iterator[None]:
    """Take every connection there is, those of the servers among them."""
    taken: list[psycopg.Connection[tuple[object, ...]]] = []
    try:
        until = time.monotonic() + 15
        while time.monotonic() < until:
            try:
                taken.append(psycopg.connect(server.url("postgres"), autocommit=True))
            except psycopg.OperationalError:
                taken[0].execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'postroad message log'"
                )
                time.sleep(0.01)
                if not _has_free(server, taken):
                    break
        yield
    finally:
        for connection in taken:
            connection.close()


def _has_free(
    server: PostgresqlServer, taken: list[psycopg.Connection[tuple[object, ...]]]
) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        taken.append(psycopg.connect(server.url("postgres"), autocommit=True))
        return True
    return bool(
        taken[0]
        .execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'postroad message log' LIMIT 1"
        )
        .fetchone()
    )


@contextlib.contextmanager
def _server() -> Iterator[PostgresqlServer]:
    try:
        context = running_server()
        server = context.__enter__()
    except FileNotFoundError as missing:
        raise Skipped(str(missing)) from missing
    try:
        yield server
    finally:
        context.__exit__(None, None, None)


@contextlib.contextmanager
def _logs_in(arena: Arena, server: PostgresqlServer) -> Iterator[None]:
    """Both servers log to PostgreSQL inside the context; what they logged is judged at its end."""
    arena.settle_early()  # what is in the logs that are left now
    settings = {party: arena.ecosystem.settings(party).message_log.database for party in PARTIES}
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 20")
        for party in PARTIES:
            connection.execute(f'CREATE DATABASE "{_name(party.server_code)}"')
    server.stop()
    server.start()
    for party in PARTIES:
        url = server.url(_name(party.server_code))
        arena.change_settings(party, message_log={"database": url})
    for party in PARTIES:
        arena.restart(party, working=party is PARTIES[-1])
    try:
        yield
        arena.await_works()
        arena.settle_early()
    finally:
        for party in PARTIES:
            arena.change_settings(party, message_log={"database": settings[party]})
        for party in PARTIES:
            arena.restart(party, working=party is PARTIES[-1])


def _name(server_code: str) -> str:
    return f"log_{server_code.lower()}"


SCENARIOS = (postgresql,)
