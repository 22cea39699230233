"""Somebody with the whole database rewrites what the registry said: the proofs show it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from postroad.adapters.database import transaction
from postroad.centralserver.models.history import ChangeLogEntry
from postroad.centralserver.node import NewInstance, initialize_node
from postroad.centralserver.registry import servers
from postroad.centralserver.registry.change import entry_hash, verify_change_log
from postroad.centralserver.registry.proofs import (
    encode_proof,
    position_at,
    publications_at,
    verify_proof,
)
from postroad.centralserver.registry.published import load_parameters
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.cli.central import command
from postroad.errors import ConfigurationError, MalformedInput, PostroadError, TrustError
from support.central_server import NOW, OTHER_SERVER, PIN, MovingClock, fill, plain_node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postroad.centralserver.node import CentralServerNode

PART = "V6/shared-params.xml"


class History:
    """An instance over three days: published, changed and published, changed."""

    def __init__(self, home: Path) -> None:
        clock = MovingClock()
        self.node: CentralServerNode = plain_node(home, clock)
        new = NewInstance(instance="DEV", address="cs.example", pin=PIN, algorithm=KeyAlgorithm.EC)
        token = initialize_node(self.node, new, "tester")
        with self.node.changing("tester") as change:
            fill(change)
        first = self.node.generate(token)
        self.first = first.parts[f"V6/{first.stamp}/shared-params.xml"]
        clock.pass_time(days=1)
        with self.node.changing("tester") as change:
            servers.update_server_address(change, OTHER_SERVER, "second.example")
        second = self.node.generate(token)
        self.second = second.parts[f"V6/{second.stamp}/shared-params.xml"]
        clock.pass_time(days=1)
        with self.node.changing("tester") as change:
            servers.update_server_address(change, OTHER_SERVER, "third.example")
        with self.node.reading() as session:
            self.head = verify_change_log(session).head_hash

    def proof(self) -> bytes:
        with self.node.reading() as session:
            (publication,) = publications_at(session, NOW)
            return encode_proof(session, publication)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("central"))


def test_the_log_knows_what_was_published_on_a_day(history: History) -> None:
    with history.node.reading() as session:
        for days, expected in ((0, history.first), (1, history.second), (2, history.second)):
            (publication,) = publications_at(session, NOW + timedelta(days=days))
            assert load_parameters(session, publication.parameters) == expected
        with pytest.raises(PostroadError, match="begins after"):
            position_at(session, NOW - timedelta(seconds=1))


def test_a_member_proves_what_it_received(history: History) -> None:
    publication, name = verify_proof(history.proof(), history.head, history.first)
    assert (publication.at, name) == (NOW, PART)
    with pytest.raises(TrustError, match="isn't what was published"):
        verify_proof(history.proof(), history.head, history.second)
    with pytest.raises(TrustError, match="noted"):
        verify_proof(history.proof(), "0" * 64)


def edited(entries: list[dict[str, object]]) -> None:
    entries[1]["actor"] = "somebody else"


def dropped(entries: list[dict[str, object]]) -> None:
    del entries[1]


def reordered(entries: list[dict[str, object]]) -> None:
    entries[1], entries[2] = entries[2], entries[1]


def truncated(entries: list[dict[str, object]]) -> None:
    entries.pop()


def beheaded(entries: list[dict[str, object]]) -> None:
    del entries[0]


def retold(entries: list[dict[str, object]]) -> None:
    """All hashes are made anew: the chain is whole again, and another one."""
    entries[0]["data"] = str(entries[0]["data"]).replace(PART, "V5/shared-params.xml")
    before = str(entries[0]["previous_hash"])
    for entry in entries:
        row = ChangeLogEntry(**entry)
        row.at, row.previous_hash = datetime.fromisoformat(str(entry["at"])), before
        before = entry_hash(row)
        entry |= {"previous_hash": row.previous_hash, "entry_hash": before}


def moved(entries: list[dict[str, object]]) -> None:
    entries[0]["at"] = "2020-01-01T00:00:00Z"


@pytest.mark.parametrize("change", [edited, dropped, reordered, truncated, beheaded, retold, moved])
def test_a_changed_proof_proves_nothing(
    history: History, change: Callable[[list[dict[str, object]]], None]
) -> None:
    proof = json.loads(history.proof())
    change(proof["entries"])
    with pytest.raises((TrustError, MalformedInput)):
        verify_proof(json.dumps(proof).encode(), history.head, history.first)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format":"postroad-log-proof 1","entries":[]}', b"[" * 100_000]
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        verify_proof(data, "0" * 64)


def test_a_rewritten_log_does_not_hold_the_head_that_was_noted(tmp_path: Path) -> None:
    history = History(tmp_path / "central")
    with transaction(history.node.engine) as session:
        for name in ("change_log_no_update", "change_log_no_delete"):
            session.execute(text(f"DROP TRIGGER {name}"))
        before = "0" * 64
        for entry in session.query(ChangeLogEntry).order_by(ChangeLogEntry.sequence):
            entry.data = entry.data.replace("second.example", "forged.example")
            entry.previous_hash, entry.entry_hash = before, ""
            before = entry.entry_hash = entry_hash(entry)
        session.execute(text("UPDATE change_log_head SET entry_hash = :hash"), {"hash": before})
    with history.node.reading() as session:
        verify_change_log(session)  # it is whole again
        with pytest.raises(TrustError, match="the hash you know"):
            verify_change_log(session, history.head)


def test_altered_parameters_are_not_shown(tmp_path: Path) -> None:
    history = History(tmp_path / "central")
    with transaction(history.node.engine) as session:
        session.execute(text("UPDATE published_parameters SET compressed = x'00'"))
    with history.node.reading() as session:
        (publication,) = publications_at(session, NOW)
        with pytest.raises(ConfigurationError, match="altered"):
            load_parameters(session, publication.parameters)


def test_the_commands_show_and_prove_a_day(history: History, tmp_path: Path) -> None:
    home = str(history.node.settings.home_path)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, ("log", *arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    shared, proof = tmp_path / "shared-params.xml", tmp_path / "proof.json"
    told = run("show", "--at", "2026-03-01", "--output", str(shared), "--home", home)
    assert "node_0" in told
    assert shared.read_bytes() == history.first
    told = run("prove", "--at", "2026-03-01T23:00:00Z", "--output", str(proof), "--home", home)
    assert history.head in told
    arguments = ("check-proof", str(proof), "--head", history.head)
    assert f"is its {PART}" in run(*arguments, "--part", str(shared))
    assert PART in run(*arguments)
    assert "entries hold" in run("verify", "--known", history.head, "--home", home)
    for wrong in ("2026-13-01", "2026-03-01T23:00:00"):
        with pytest.raises(ConfigurationError):
            run("show", "--at", wrong, "--home", home)
