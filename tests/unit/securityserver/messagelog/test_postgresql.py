from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.postgresql import PostgresqlDatabase
from postroad.securityserver.messagelog.store import LogStore
from support.messagelog import open_log, record

if TYPE_CHECKING:
    from support.postgresql import PostgresqlServer


@pytest.fixture
def url(postgresql_server: PostgresqlServer) -> str:
    return postgresql_server.create_database()


def test_durability_is_ours_to_choose(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE postgres SET synchronous_commit = off")
        database = PostgresqlDatabase(url)
        assert database.rows("SHOW synchronous_commit") == [("on",)]
        database.close()
        connection.execute("ALTER ROLE postgres RESET synchronous_commit")


def test_a_server_that_is_down_is_told(postgresql_server: PostgresqlServer, url: str) -> None:
    with open_log(url) as log:
        (first,) = log.store.append_many([record()])
        postgresql_server.stop()
        try:
            for _ in range(2):
                with pytest.raises(ConfigurationError) as refused:
                    log.store.append_many([record()])
                assert refused.value.fault_code == "logging_failed.database_error"
            with pytest.raises(ConfigurationError):
                log.reader.pending(1)
        finally:
            postgresql_server.start()
        (second,) = log.store.append_many([record()])
        assert [waiting.id for waiting in log.reader.pending(10)] == [first, second]


def cut_connections(server: PostgresqlServer) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'postroad message log'"
        )


@pytest.mark.parametrize("asks_again", [True, False])
def test_a_connection_lost_inside_a_transaction_leaves_nothing(
    postgresql_server: PostgresqlServer, url: str, asks_again: bool
) -> None:
    database = open_database(url)
    LogStore(database).prepare()

    def write_and_lose() -> None:
        with database.transaction():
            database.insert("log_state", ("name", "value"), [("a", b"")])
            cut_connections(postgresql_server)
            if asks_again:
                database.rows("SELECT 1")

    with pytest.raises(ConfigurationError) as refused:
        write_and_lose()
    assert refused.value.fault_code == "logging_failed.database_error"
    assert database.rows("SELECT name FROM log_state") == []
    database.close()


def test_a_value_that_cannot_be_stored_is_a_refused_row(url: str) -> None:
    database = open_database(url)
    LogStore(database).prepare()
    with pytest.raises(ConfigurationError) as refused, database.transaction():
        database.insert("log_state", ("name", "value"), [("a\0b", b"")])
    assert refused.value.fault_code == "logging_failed"
    assert database.rows("SELECT 1") == [(1,)]
    database.close()


def test_errors_do_not_quote_the_row(url: str) -> None:
    database = open_database(url)
    LogStore(database).prepare()
    with pytest.raises(ConfigurationError) as refused, database.transaction():
        database.insert("log_state", ("name", "value"), [("canary", None)])
    assert "canary" not in refused.value.message
    database.close()


def test_two_processes_may_migrate_at_once(url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def prepare(_number: int) -> None:
        database = open_database(url)
        database.migrate()
        database.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, range(4)))


def test_a_checkpoint_is_the_servers_business(url: str) -> None:
    assert open_database(url).checkpoint() == 0
