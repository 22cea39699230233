from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.schema import SCHEMA_VERSION
from postroad.securityserver.messagelog.store import PreparedAttachment, PreparedRecord
from support.messagelog import record

if TYPE_CHECKING:
    from support.messagelog import OpenLog


def test_migrating_again_changes_nothing(log: OpenLog) -> None:
    database = open_database(log.url)
    database.migrate()
    database.migrate()
    assert database.rows("SELECT version FROM messagelog_schema") == [(SCHEMA_VERSION,)]
    database.close()


def test_a_database_of_a_newer_program_is_refused(log: OpenLog) -> None:
    log.store._database.change("UPDATE messagelog_schema SET version = ?", (SCHEMA_VERSION + 1,))
    database = open_database(log.url)
    with pytest.raises(ConfigurationError, match="use the newer program"):
        database.migrate()
    database.close()


def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    database = open_database(url)
    database.migrate()
    database.change("DROP TABLE messagelog_schema")
    with pytest.raises(ConfigurationError):  # logrecord exists already
        database.migrate()
    with pytest.raises(ConfigurationError):
        database.rows("SELECT version FROM messagelog_schema")
    database.close()


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("logrecord", "time, queryid, xrequestid, response, message, hashchain"),
        ("logrecord", "instance, memberclass, membercode, subsystemcode"),
        ("signature", "signature, hashchainresult"),
        ("waiting_signature", "signaturehash"),
        ("stamped_signature", "timestamprecord"),
        ("timestamp_record", "timestamp, hashchainresult"),
        ("message_attachment", "logrecord_id, attachment_no"),
        ("last_archive_digest", "groupname, digest, filename"),
    ],
)
def test_the_protocols_columns_have_the_protocols_names(
    log: OpenLog, table: str, columns: str
) -> None:
    log.store._database.rows(f"SELECT {columns} FROM {table}")


def test_small_rows_go_with_what_they_belong_to(log: OpenLog) -> None:
    attachments = (PreparedAttachment(bytes(64), 3), PreparedAttachment(bytes(64), 3))
    log.store.write([PreparedRecord(record(), attachments)])
    log.store.append_many([record()])
    log.store._database.change("DELETE FROM logrecord")
    log.store._database.change("DELETE FROM signature")
    for table in ("message_attachment", "waiting_signature"):
        assert log.store._database.rows(f"SELECT * FROM {table}") == []
