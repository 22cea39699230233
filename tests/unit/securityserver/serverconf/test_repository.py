"""Changing the server configuration, and what is published of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.database import create_engine, migrate, schema_revision, sqlite_url
from postroad.authorization.rights import BASE_ENDPOINT, Endpoint
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.identifiers import (
    GlobalGroupId,
    LocalGroupId,
    MemberId,
    SecurityServerId,
    ServiceId,
    SubsystemId,
)
from postroad.securityserver.serverconf import access, clients, services
from postroad.securityserver.serverconf.freshness import (
    NEWEST_SCHEMA,
    has_newest_schema,
    is_published,
)
from postroad.securityserver.serverconf.models import (
    Base,
    ConnectionType,
    DescriptionType,
)
from postroad.securityserver.serverconf.repository import MIGRATIONS, ServerConf
from postroad.securityserver.serverconf.services import ServiceProperties
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot
from postroad.securityserver.serverconf.status import ClientStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVER = SecurityServerId("TEST", "COM", "2", "SS1")
PROVIDER = SubsystemId("TEST", "COM", "2", "registry")
CLIENT = SubsystemId("TEST", "GOV", "1", "app")
CERTIFICATE = Path(__file__).parents[3] / "data/reference/certs/client.pem"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serverconf.snapshot"


@pytest.fixture
def conf(url: str, path: Path) -> Iterator[ServerConf]:
    conf = ServerConf.open(url, path)
    conf.initialise(SERVER)
    yield conf
    conf.close()


def view(path: Path) -> ServerConfView:
    return ServerConfView(load_snapshot(path))


def add_rest_service(conf: ServerConf, code: str = "pets", url: str = "https://h/v1") -> None:
    with conf.change() as session:
        if clients.find_client(session, PROVIDER) is None:
            clients.add_client(session, PROVIDER)
        row = services.add_description(session, PROVIDER, DescriptionType.REST, url, at=NOW)
        services.add_service(session, row, code, ServiceProperties(url=url))
        services.set_enabled(session, row, enabled=True)


def test_schema_of_the_migrations_is_that_of_the_models(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = create_engine(url)
    migrate(engine, MIGRATIONS)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_owner_is_the_first_client_and_initialising_twice_changes_nothing(
    conf: ServerConf, path: Path
) -> None:
    before = load_snapshot(path)
    conf.initialise(SERVER)
    assert load_snapshot(path) == before
    assert [client.identifier for client in view(path).clients] == [SERVER.owner]
    assert view(path).server_id == SERVER


def test_refuses_the_database_of_another_server(conf: ServerConf) -> None:
    with pytest.raises(ConfigurationError):
        conf.initialise(SecurityServerId("TEST", "COM", "2", "SS2"))


def test_change_before_initialising_is_refused(url: str, path: Path) -> None:
    conf = ServerConf.open(url, path)
    with pytest.raises(ConfigurationError), conf.change():
        pass
    conf.close()


def test_committed_change_is_published_with_a_new_revision(conf: ServerConf, path: Path) -> None:
    before = load_snapshot(path).revision
    add_rest_service(conf)
    assert load_snapshot(path).revision > before
    service = view(path).service(ServiceId(PROVIDER, "pets"))
    assert service is not None
    assert service.verify_tls
    assert service.timeout == 60
    assert not service.disabled


def test_changes_at_the_same_time_are_all_counted_and_the_last_one_is_published(
    conf: ServerConf, path: Path
) -> None:
    before = load_snapshot(path).revision
    subsystems = [SubsystemId("TEST", "COM", "2", f"s{number}") for number in range(12)]

    def add(subsystem: SubsystemId) -> None:
        with conf.change() as session:
            clients.add_client(session, subsystem)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, subsystems))
    assert load_snapshot(path).revision == before + len(subsystems)
    assert {client.identifier for client in view(path).clients} == {SERVER.owner, *subsystems}


def test_failed_change_leaves_database_and_snapshot_untouched(conf: ServerConf, path: Path) -> None:
    before = load_snapshot(path)

    def change() -> None:
        with conf.change() as session:
            clients.add_client(session, PROVIDER)
            clients.add_client(session, PROVIDER)

    with pytest.raises(ConfigurationError):
        change()
    assert load_snapshot(path) == before
    with conf.read() as session:
        assert clients.find_client(session, PROVIDER) is None


def test_change_that_changes_nothing_publishes_nothing(conf: ServerConf, path: Path) -> None:
    before = path.stat().st_ino
    with conf.change() as session:
        clients.set_connection_type(session, SERVER.owner, ConnectionType.SSLAUTH)
    assert path.stat().st_ino == before


def test_new_description_is_disabled_with_a_notice(conf: ServerConf) -> None:
    with conf.change() as session:
        clients.add_client(session, PROVIDER)
        row = services.add_description(session, PROVIDER, DescriptionType.REST, "http://h", at=NOW)
        assert (row.disabled, row.disabled_notice) == (True, "Out of order")


@pytest.mark.parametrize("code", ["listMethods", "getWsdl", "", " "])
def test_refuses_reserved_and_empty_service_codes(conf: ServerConf, code: str) -> None:
    with pytest.raises((ConfigurationError, MalformedInput)):
        add_rest_service(conf, code)


def test_refuses_a_second_rest_service_of_the_same_code_in_any_case(conf: ServerConf) -> None:
    add_rest_service(conf, "pets", "http://one")
    with pytest.raises(ConfigurationError):
        add_rest_service(conf, "PETS", "http://two")


def test_soap_service_may_have_versions_in_two_descriptions(conf: ServerConf, path: Path) -> None:
    with conf.change() as session:
        clients.add_client(session, PROVIDER)
        for version in ("v1", "v2"):
            row = services.add_description(
                session, PROVIDER, DescriptionType.WSDL, f"http://h/{version}?wsdl", at=NOW
            )
            services.add_service(
                session, row, "find", ServiceProperties(url="http://h"), version=version
            )
    assert view(path).service(ServiceId(PROVIDER, "find", "v2")) is not None
    with conf.read() as session:
        endpoints = clients.get_client(session, PROVIDER).endpoints
        assert [(row.method, row.path) for row in endpoints] == [("*", "**")]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "h/path",
        "http://",
        "http://user@h/",
        "http://h/#f",
        "http://h/a b",
        "http://h:0/",
        "http://h:x/",
        "http://é/",
        "http://h/\n",
        "http://h/" + "a" * 2048,
    ],
)
def test_refuses_impossible_service_addresses(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServiceProperties(url=url)
    assert caught.value.code is FaultCode.SERVICE_MALFORMED_URL


def test_verifying_tls_is_the_default_for_https_and_impossible_for_http() -> None:
    assert ServiceProperties(url="https://h").verifies
    assert not ServiceProperties(url="https://h", verify_tls=False).verifies
    assert not ServiceProperties(url="http://h").verifies
    with pytest.raises(ConfigurationError):
        ServiceProperties(url="http://h", verify_tls=True)


def test_rights_are_published_and_taken_away_at_once(conf: ServerConf, path: Path) -> None:
    add_rest_service(conf)
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        base = services.find_endpoint(client, "pets", BASE_ENDPOINT)
        assert base is not None
        access.grant(session, base, CLIENT, at=NOW)
        access.grant(session, base, GlobalGroupId("TEST", "all"), at=NOW)
    assert len(view(path).rights(ServiceId(PROVIDER, "pets"))) == 2
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        base = services.find_endpoint(client, "pets", BASE_ENDPOINT)
        assert base is not None
        access.revoke(session, base, CLIENT)
    (left,) = view(path).rights(ServiceId(PROVIDER, "pets"))
    assert left.subject == GlobalGroupId("TEST", "all")


def test_right_exists_once_and_only_for_a_local_group_that_exists(conf: ServerConf) -> None:
    add_rest_service(conf)
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        base = services.find_endpoint(client, "pets", BASE_ENDPOINT)
        assert base is not None
        with pytest.raises(ConfigurationError):
            access.grant(session, base, LocalGroupId("friends"), at=NOW)
        access.grant(session, base, CLIENT, at=NOW)
        with pytest.raises(ConfigurationError):
            access.grant(session, base, CLIENT, at=NOW)
        with pytest.raises(ConfigurationError):
            access.revoke(session, base, PROVIDER)


@pytest.mark.parametrize("description", ["x" * 256, "a\0b"])
def test_a_description_that_not_every_database_keeps_is_refused(
    conf: ServerConf, description: str
) -> None:
    with conf.change() as session:
        client = clients.get_client(session, SERVER.owner)
        with pytest.raises(ConfigurationError, match="at most 255"):
            access.add_group(session, client, "friends", description, at=NOW)
        group = access.add_group(session, client, "friends", "x" * 255, at=NOW)
        with pytest.raises(ConfigurationError, match="at most 255"):
            access.describe_group(session, group, description, at=NOW)


def test_deleting_a_local_group_takes_its_rights_away(conf: ServerConf, path: Path) -> None:
    add_rest_service(conf)
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        group = access.add_group(session, client, "friends", "", at=NOW)
        access.add_member(session, group, CLIENT, at=NOW)
        base = services.find_endpoint(client, "pets", BASE_ENDPOINT)
        assert base is not None
        access.grant(session, base, LocalGroupId("friends"), at=NOW)
    assert view(path).is_in_local_group(PROVIDER, CLIENT, LocalGroupId("friends"))
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        access.delete_group(session, client, access.get_group(client, "friends"))
    assert view(path).rights(ServiceId(PROVIDER, "pets")) == ()
    assert not view(path).is_in_local_group(PROVIDER, CLIENT, LocalGroupId("friends"))


def test_deleting_the_last_service_of_a_code_drops_its_endpoints_and_rights(
    conf: ServerConf, path: Path
) -> None:
    add_rest_service(conf)
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        endpoint = services.add_endpoint(session, client, "pets", Endpoint("GET", "/x"))
        access.grant(session, endpoint, CLIENT, at=NOW)
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        services.delete_description(session, client.descriptions[0])
    add_rest_service(conf)
    assert view(path).rights(ServiceId(PROVIDER, "pets")) == ()


def test_base_endpoint_can_not_be_deleted_nor_declared_twice(conf: ServerConf) -> None:
    add_rest_service(conf)
    with conf.change() as session:
        client = clients.get_client(session, PROVIDER)
        base = services.find_endpoint(client, "pets", BASE_ENDPOINT)
        assert base is not None
        with pytest.raises(ConfigurationError):
            services.delete_endpoint(session, base)
        with pytest.raises(ConfigurationError):
            services.add_endpoint(session, client, "pets", BASE_ENDPOINT)


def test_certificates_are_trusted_once_and_published_as_der(conf: ServerConf, path: Path) -> None:
    with conf.change() as session:
        clients.add_client(session, PROVIDER)
        certificate = clients.add_certificate(session, PROVIDER, CERTIFICATE.read_bytes())
        with pytest.raises(ConfigurationError):
            clients.add_certificate(session, PROVIDER, certificate.der)
    client = view(path).client(PROVIDER)
    assert client is not None
    assert client.certificates == {certificate.der}
    with conf.change() as session:
        clients.delete_certificate(session, PROVIDER, certificate.sha256.hex())
    client = view(path).client(PROVIDER)
    assert client is not None
    assert client.certificates == frozenset()


def test_one_member_besides_the_owner_may_be_a_client(conf: ServerConf) -> None:
    with conf.change() as session:
        clients.add_client(session, MemberId("TEST", "GOV", "1"))
        with pytest.raises(ConfigurationError):
            clients.add_client(session, MemberId("TEST", "GOV", "3"))


def test_owner_and_registered_clients_can_not_be_deleted(conf: ServerConf) -> None:
    with conf.change() as session:
        clients.add_client(session, PROVIDER, status=ClientStatus.REGISTERED)
    for client in (SERVER.owner, PROVIDER):
        with pytest.raises(ConfigurationError), conf.change() as session:
            clients.delete_client(session, client)
    with conf.change() as session:
        clients.set_status(session, PROVIDER, ClientStatus.DELETION_IN_PROGRESS)
        clients.delete_client(session, PROVIDER)
    with conf.read() as session:
        assert clients.find_client(session, PROVIDER) is None


@pytest.mark.parametrize(
    ("status", "listed", "missing"),
    [
        (ClientStatus.SAVED, ClientStatus.REGISTERED, ClientStatus.SAVED),
        (
            ClientStatus.REGISTRATION_IN_PROGRESS,
            ClientStatus.REGISTERED,
            ClientStatus.REGISTRATION_IN_PROGRESS,
        ),
        (ClientStatus.REGISTERED, ClientStatus.REGISTERED, ClientStatus.GLOBAL_ERROR),
        (ClientStatus.GLOBAL_ERROR, ClientStatus.REGISTERED, ClientStatus.GLOBAL_ERROR),
        (
            ClientStatus.DELETION_IN_PROGRESS,
            ClientStatus.DELETION_IN_PROGRESS,
            ClientStatus.DELETION_IN_PROGRESS,
        ),
        (
            ClientStatus.DISABLING_IN_PROGRESS,
            ClientStatus.DISABLING_IN_PROGRESS,
            ClientStatus.DISABLED,
        ),
        (
            ClientStatus.ENABLING_IN_PROGRESS,
            ClientStatus.REGISTERED,
            ClientStatus.ENABLING_IN_PROGRESS,
        ),
        (ClientStatus.DISABLED, ClientStatus.DISABLED, ClientStatus.DISABLED),
    ],
)
def test_client_follows_the_global_configuration(
    conf: ServerConf, status: ClientStatus, listed: ClientStatus, missing: ClientStatus
) -> None:
    for is_listed, expected in ((True, listed), (False, missing)):
        with conf.change() as session:
            if clients.find_client(session, PROVIDER) is None:
                clients.add_client(session, PROVIDER)
            clients.set_status(session, PROVIDER, status)
            changed = clients.follow_registrations(session, lambda _client: is_listed)  # noqa: B023
            assert clients.get_client(session, PROVIDER).status == expected
            assert ((PROVIDER, expected) in changed) is (status is not expected)


def test_timestamping_services_keep_their_order(conf: ServerConf, path: Path) -> None:
    chosen = [("B", "http://b"), ("A", "http://a")]
    with conf.change() as session:
        clients.set_timestamping(session, chosen)
    assert view(path).timestamping == tuple(chosen)
    with conf.change() as session:
        clients.set_timestamping(session, chosen[::-1])
    assert view(path).timestamping == tuple(chosen[::-1])
    with pytest.raises(ConfigurationError), conf.change() as session:
        clients.set_timestamping(session, [("A", "http://a"), ("B", "http://a")])


def test_published_snapshot_is_recognised_without_the_database_library(
    tmp_path: Path, path: Path
) -> None:
    database = tmp_path / "other.sqlite"
    conf = ServerConf.open(sqlite_url(database), path)
    conf.initialise(SERVER)
    assert is_published(database, path, SERVER)
    assert not is_published(database, path, SecurityServerId("TEST", "COM", "2", "SS2"))
    old = path.read_bytes()
    with conf.change() as session:
        clients.add_client(session, PROVIDER)
    assert is_published(database, path, SERVER)
    path.write_bytes(old)
    assert not is_published(database, path, SERVER)
    path.unlink()
    assert not is_published(database, path, SERVER)
    assert not is_published(tmp_path / "none.sqlite", path, SERVER)
    assert has_newest_schema(database)
    assert not has_newest_schema(tmp_path / "none.sqlite")
    (tmp_path / "empty.sqlite").touch()
    assert not has_newest_schema(tmp_path / "empty.sqlite")
    conf.close()


def test_newest_schema_is_the_last_of_the_packaged_migrations(tmp_path: Path) -> None:
    engine = create_engine(sqlite_url(tmp_path / "x.sqlite"))
    migrate(engine, MIGRATIONS)
    assert schema_revision(engine) == NEWEST_SCHEMA
    engine.dispose()
