"""Every operation is remembered, in order, and nothing of it can be altered unseen."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from postroad.adapters.database import sqlite_url, transaction
from postroad.centralserver.models.parties import MemberClass
from postroad.centralserver.registry.change import (
    details_of,
    list_change_log,
    verify_change_log,
)
from postroad.centralserver.registry.members import add_member_class, list_member_classes
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.errors import ConfigurationError, TrustError
from support.central_server import NOW, Registry, opened_registry

if TYPE_CHECKING:
    from pathlib import Path


def unlock(registry: Registry) -> None:
    """Play somebody with full access to the database."""
    with transaction(registry.engine) as session:
        session.execute(text("DROP TRIGGER change_log_no_update"))
        session.execute(text("DROP TRIGGER change_log_no_delete"))


def tamper(registry: Registry, statement: str) -> None:
    unlock(registry)
    with transaction(registry.engine) as session:
        session.execute(text(statement))


def test_an_entry_says_who_what_and_when(registry: Registry) -> None:
    with registry.changing("anna") as change:
        add_member_class(change, "GOV", "Government")
    with registry.reading() as session:
        entry = list_change_log(session, limit=1)[0]
        assert (entry.actor, entry.event, entry.at) == ("anna", "Add member class", NOW)
        assert details_of(entry) == {"code": "GOV", "description": "Government"}


def test_the_chain_of_an_untouched_log_holds(registry: Registry) -> None:
    with registry.changing() as change:
        add_member_class(change, "GOV", "Government")
        add_member_class(change, "COM", "Companies")
    with registry.reading() as session:
        verified = verify_change_log(session)
        assert verified.entries == 3
        assert verified.head_hash == list_change_log(session, limit=1)[0].entry_hash


def test_an_operation_that_fails_leaves_no_entry_and_no_change(registry: Registry) -> None:
    def twice() -> None:
        with registry.changing() as change:
            add_member_class(change, "GOV", "Government")
            add_member_class(change, "GOV", "Government")

    with pytest.raises(RegistryRefusal):
        twice()
    with registry.reading() as session:
        assert verify_change_log(session).entries == 1
        assert not list_member_classes(session)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change_log SET actor = 'somebody else' WHERE sequence = 2",
        "UPDATE change_log SET data = '{}' WHERE sequence = 2",
        "UPDATE change_log SET event = 'Nothing' WHERE sequence = 2",
        "UPDATE change_log SET at = '2020-01-01 00:00:00.000000' WHERE sequence = 2",
        "UPDATE change_log SET previous_hash = entry_hash WHERE sequence = 2",
        "DELETE FROM change_log WHERE sequence = 2",
        "DELETE FROM change_log WHERE sequence = 3",
        "DELETE FROM change_log_head",
    ],
)
def test_shows_that_an_entry_was_altered_or_removed(registry: Registry, statement: str) -> None:
    with registry.changing() as change:
        add_member_class(change, "GOV", "Government")
        add_member_class(change, "COM", "Companies")
    tamper(registry, statement)
    with registry.reading() as session, pytest.raises(TrustError, match="does not hold"):
        verify_change_log(session)


@pytest.mark.parametrize(
    "statement", ["UPDATE change_log SET actor = 'x'", "DELETE FROM change_log"]
)
def test_the_database_refuses_to_edit_the_log(registry: Registry, statement: str) -> None:
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction(registry.engine) as session,
    ):
        session.execute(text(statement))


def test_refuses_to_work_without_the_end_of_the_log(registry: Registry) -> None:
    tamper(registry, "DELETE FROM change_log_head")
    with pytest.raises(ConfigurationError, match="lost its head"), registry.changing() as change:
        add_member_class(change, "GOV", "Government")


def test_a_constraint_that_the_rules_missed_is_a_refusal(registry: Registry) -> None:
    def past_the_rules() -> None:
        with registry.changing() as change:
            change.session.add(MemberClass(code="GOV", description="one"))
            change.session.add(MemberClass(code="GOV", description="two"))

    with pytest.raises(RegistryRefusal) as refused:
        past_the_rules()
    assert refused.value.problem is Problem.CONFLICT
    assert refused.value.http_status == 409
    for told in ("GOV", "UNIQUE", "member_classes"):
        assert told.lower() not in refused.value.message.lower(), "no schema and no row"


def test_writers_at_the_same_time_follow_each_other(tmp_path: Path) -> None:
    with opened_registry(sqlite_url(tmp_path / "r.sqlite")) as registry:
        refused: list[Problem] = []

        def work(name: str) -> None:
            for code in ("GOV", name):
                try:
                    with registry.changing(name) as change:
                        add_member_class(change, code, "somebody was first")
                except RegistryRefusal as error:
                    refused.append(error.problem)

        threads = [threading.Thread(target=work, args=(f"T{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with registry.reading() as session:
            assert verify_change_log(session).entries == 1 + 1 + 4
    assert refused == [Problem.MEMBER_CLASS_EXISTS] * 3
