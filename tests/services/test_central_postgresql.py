"""The registry on PostgreSQL: the same rules, and several nodes at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from postroad.adapters.database import (
    create_engine,
    held_lock,
    migrate,
    packaged_revision,
    schema_revision,
    transaction,
)
from postroad.centralserver.models.schema import registry_metadata
from postroad.centralserver.node import (
    MIGRATIONS,
    NewInstance,
    initialize_node,
    join_node,
    open_node,
)
from postroad.centralserver.registry import (
    groups,
    management_requests,
    members,
    requests,
    servers,
)
from postroad.centralserver.registry.change import list_change_log, verify_change_log
from postroad.centralserver.registry.nodes import NodeState
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.request_search import (
    SORT_KEYS,
    WantedRequests,
    search_requests,
)
from postroad.centralserver.registry.requests import load_request
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.centralserver.snapshot import load_registry_snapshot
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError
from postroad.management.lifecycle import RequestOrigin
from postroad.management.requests import AddressChange, AuthCertRegistration
from support.central_server import (
    CLIENT,
    NOW,
    OTHER,
    OTHER_SERVER,
    PIN,
    MovingClock,
    Registry,
    approve_trust_services,
    auth_certificate,
    fill,
    opened_registry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroad.management.requests import ManagementRequest
    from support.postgresql import PostgresqlServer


@pytest.fixture
def registry(postgresql_server: PostgresqlServer) -> Iterator[Registry]:
    with opened_registry(postgresql_server.create_database()) as registry:
        yield registry


def test_migrations_make_the_schema_of_the_models(registry: Registry) -> None:
    with registry.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, registry_metadata()) == []


@pytest.mark.parametrize("key", SORT_KEYS)
def test_requests_are_searched_as_on_sqlite(registry: Registry, key: str) -> None:
    with registry.changing() as change:
        fill(change)
        requests.add_client_deletion(change, OTHER_SERVER, CLIENT)
        requests.add_auth_certificate_deletion(change, OTHER_SERVER, b"der")
    wanted = WantedRequests(term="gov:2:ss2", sort=key, descending=True, limit=1)
    with registry.reading() as session:
        found, total = search_requests(session, wanted)
        assert (len(found), total) == (1, 2)
        assert search_requests(session, WantedRequests(term="%"))[1] == 0


def test_several_processes_may_migrate_at_once(
    postgresql_server: PostgresqlServer,
) -> None:
    url = postgresql_server.create_database()
    failures: list[BaseException] = []

    def run() -> None:
        engine = create_engine(url)
        try:
            migrate(engine, MIGRATIONS)
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the test
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine = create_engine(url)
    assert schema_revision(engine) == packaged_revision(MIGRATIONS)
    engine.dispose()


def test_a_whole_instance_is_kept_and_read_back(registry: Registry) -> None:
    with registry.changing() as change:
        fill(change)
        approve_trust_services(change)
        groups.add_group(change, "group", "A group")
        groups.add_group_members(change, "group", [CLIENT])
    with registry.reading() as session:
        on_postgresql = load_registry_snapshot(session)
        assert list_change_log(session, limit=1)[0].at == NOW
    with opened_registry("sqlite://") as other:
        with other.changing() as change:
            fill(change)
            approve_trust_services(change)
            groups.add_group(change, "group", "A group")
            groups.add_group_members(change, "group", [CLIENT])
        with other.reading() as session:
            assert load_registry_snapshot(session) == on_postgresql


def test_a_member_and_all_of_it_can_be_deleted(registry: Registry) -> None:
    with registry.changing() as change:
        fill(change)
    with registry.changing() as change:
        servers.delete_member(change, OTHER)
    with registry.reading() as session:
        assert members.find_member(session, OTHER) is None
        assert verify_change_log(session).entries > 10


def test_nodes_that_write_at_the_same_time_follow_each_other(registry: Registry) -> None:
    refused: list[Problem] = []

    def work(name: str) -> None:
        for code in ("GOV", name, f"{name}2"):
            try:
                with registry.changing(name) as change:
                    members.add_member_class(change, code, "somebody was first")
            except RegistryRefusal as error:
                refused.append(error.problem)

    threads = [threading.Thread(target=work, args=(f"T{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [Problem.MEMBER_CLASS_EXISTS] * 3
    with registry.reading() as session:
        assert verify_change_log(session).entries == 1 + 1 + 8


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """What several threads that start together get: a value, or the problem they ran into."""
    barrier, outcomes = threading.Barrier(count), list[object]()

    def run(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(work(number))
        except RegistryRefusal as refusal:
            outcomes.append(refusal.problem)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_management_requests_of_one_moment_count_once(registry: Registry) -> None:
    """Registrations of one certificate, repetitions of one message, decisions on one request."""
    with registry.changing() as change:
        fill(change)
        approve_trust_services(change)

    def ask(request: ManagementRequest, digest: str) -> int:
        with registry.changing() as change:
            origin = RequestOrigin.SECURITY_SERVER
            return management_requests.add_request(
                change, request, origin, message_digest=digest
            ).id

    registration = AuthCertRegistration(
        OTHER_SERVER, auth_certificate(OTHER_SERVER, 4), "a.example"
    )
    outcomes = at_once(5, lambda number: ask(registration, f"{number:064x}"))
    assert outcomes.count(Problem.REQUEST_EXISTS) == 4
    (request_id,) = (each for each in outcomes if isinstance(each, int))

    repeated = AddressChange(OTHER_SERVER, "b.example")
    outcomes = at_once(5, lambda _number: ask(repeated, "ab" * 32))
    assert outcomes.count(Problem.REQUEST_EXISTS) == 4

    def decide(number: int) -> str:
        with registry.changing() as change:
            step = management_requests.approve_request
            (management_requests.decline_request if number % 2 else step)(change, request_id)
        return "decided"

    outcomes = at_once(6, decide)
    assert outcomes.count("decided") == 1
    assert {*outcomes} <= {"decided", Problem.REQUEST_STATE, Problem.REQUEST_APPROVAL_STATE}
    with registry.reading() as session:
        approved = load_request(session, request_id).status == "APPROVED"
        certificates = servers.load_server(session, OTHER_SERVER).auth_certificates
        assert len(certificates) == (2 if approved else 1)
        verify_change_log(session)


def test_a_reader_sees_one_moment(registry: Registry) -> None:
    with registry.reading() as session:
        assert not members.list_member_classes(session)
        with registry.changing() as change:
            members.add_member_class(change, "GOV", "Government")
        assert not members.list_member_classes(session)


def test_a_reader_cannot_write(registry: Registry) -> None:
    with registry.reading() as session, pytest.raises(DBAPIError, match="read-only"):
        session.execute(text("DELETE FROM member_classes"))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE change_log SET actor = 'x'", "DELETE FROM change_log", "TRUNCATE change_log"],
)
def test_the_database_refuses_to_edit_the_log(registry: Registry, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), transaction(registry.engine) as session:
        session.execute(text(statement))


def test_two_nodes_of_a_cluster_announce_each_others_keys(
    postgresql_server: PostgresqlServer,
    tmp_path: Path,
) -> None:
    url = postgresql_server.create_database()
    generated = []
    nodes = []
    for name in ("node_0", "node_1"):
        home = tmp_path / name
        settings = parse_settings(
            f'[central]\nnode_name = "{name}"\n[database]\nurl = "{url}"\n'
            "[distribution]\nhttps = false\n",
            home=home,
        )
        node = open_node(home, clock=MovingClock(), settings=settings)
        new = NewInstance(
            instance="DEV",
            address=f"{name.replace('_', '')}.example",
            pin=PIN,
            algorithm=KeyAlgorithm.EC,
        )
        start = join_node if nodes else initialize_node
        nodes.append((node, start(node, new, "tester")))
    with nodes[0][0].changing("tester") as change:
        fill(change)
    for node, token in nodes:
        generated.append(node.generate(token))
        with node.reading() as session:
            seen = load_registry_snapshot(session, node.settings.central.node_name)
        assert [each.address for each in seen.sources] == ["node0.example", "node1.example"]
        own = Certificate.from_pem_or_der(node.settings.management_certificate_path.read_bytes())
        assert seen.management_service.registration_certificate == own.der, (
            "each node shows its own"
        )
    assert [each.state for each in nodes[0][0].nodes()] == [NodeState.OK] * 2
    for node, _token in nodes:
        node.close()
    first, second = (g.parts[f"V6/{g.stamp}/private-params.xml"] for g in generated)
    assert b"https://node0.example:4001/" in first
    assert b"https://node1.example:4001/" in second


def test_a_lock_goes_with_the_session_of_its_holder(registry: Registry) -> None:
    with held_lock(registry.engine, "generation:a", wait_seconds=1) as still_held:
        with (
            pytest.raises(ConfigurationError, match="no turn"),
            held_lock(registry.engine, "generation:a", wait_seconds=1),
        ):
            pass
        with held_lock(registry.engine, "generation:b", wait_seconds=1):
            pass
        still_held()
        with transaction(registry.engine) as session:
            session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            )
        with held_lock(registry.engine, "generation:a", wait_seconds=1):
            pass
        with pytest.raises(ConfigurationError):
            still_held()


def test_a_writer_that_hangs_holds_up_the_others_for_a_bounded_time(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroad.centralserver.registry.change._HOLD_SECONDS", 1)
    with pytest.raises(ConfigurationError), registry.changing() as hanging:
        members.add_member_class(hanging, "LOST", "never committed")
        with registry.changing() as change:  # waits until the other one is thrown out
            members.add_member_class(change, "GOV", "Government")
        hanging.session.flush()
        hanging.session.execute(text("SELECT 1"))
    with registry.reading() as session:
        assert [row.code for row in members.list_member_classes(session)] == ["GOV"]
        verify_change_log(session)
