"""Whatever is done to the registry: the rules hold, the log holds, and the configuration fits."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroad.centralserver.publication import publish
from postroad.centralserver.registry import groups, members, servers
from postroad.centralserver.registry.change import verify_change_log
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.centralserver.snapshot import load_registry_snapshot
from postroad.globalconf.generation import GeneratedConfiguration, RegistrySnapshot
from postroad.globalconf.generation import shared_parameters_of as shared
from postroad.globalconf.moments import encode_stamp
from postroad.globalconf.shared_parameters import ConfigurationSource, SharedParameters
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from support.central_server import NOW, auth_certificate, registry_in_memory

CODES = st.sampled_from(["1", "2", "3"])
MEMBERS = st.builds(MemberId, st.just("DEV"), st.just("GOV"), CODES)
SUBSYSTEMS = st.builds(
    SubsystemId, st.just("DEV"), st.just("GOV"), CODES, st.sampled_from(["a", "b"])
)
SERVERS = st.builds(
    SecurityServerId, st.just("DEV"), st.just("GOV"), CODES, st.sampled_from(["X", "Y"])
)
CLIENTS = st.one_of(MEMBERS, SUBSYSTEMS)


def step(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(st.just(name), *arguments)


STEPS = st.lists(
    st.one_of(
        step("add_member", MEMBERS, st.text("abc", min_size=1, max_size=3)),
        step("delete_member", MEMBERS),
        step("add_subsystem", SUBSYSTEMS),
        step("delete_subsystem", SUBSYSTEMS),
        step("register_server", SERVERS, st.integers(0, 1)),
        step("delete_server", SERVERS),
        step("register_client", SERVERS, CLIENTS),
        step("unregister_client", SERVERS, CLIENTS),
        step("set_client_enabled", SERVERS, CLIENTS, st.booleans()),
        step("add_group_members", CLIENTS),
    ),
    max_size=25,
)


def perform(change: object, name: str, *arguments: object) -> None:
    match name, arguments:
        case "register_server", (server, number):
            certificate = auth_certificate(server, number)
            servers.register_server(change, server, auth_certificate=certificate, address="x")
        case "set_client_enabled", (server, client, enabled):
            servers.set_client_enabled(change, server, client, enabled=enabled)
        case "add_group_members", (client,):
            groups.add_group_members(change, "group", [client])
        case _:
            room = members if hasattr(members, name) and name != "delete_member" else servers
            getattr(room, name)(change, *arguments)


def check(snapshot: RegistrySnapshot) -> None:
    ours = {MemberId("DEV", m.member_class.code, m.code) for m in snapshot.members}
    clients = ours | {
        SubsystemId("DEV", m.member_class.code, m.code, s.code)
        for m in snapshot.members
        for s in m.subsystems
    }
    groups_ = {group.code: group.members for group in snapshot.global_groups}
    owners = {server.owner for server in snapshot.security_servers}
    assert owners <= ours
    assert set(groups_["security-server-owners"]) == owners
    assert set(groups_["group"]) <= clients
    for server in snapshot.security_servers:
        assert set(server.clients) <= clients
        assert server.owner not in server.clients
        assert len(set(server.clients)) == len(server.clients)
    certificates = [c for server in snapshot.security_servers for c in server.auth_certificates]
    assert len(set(certificates)) == len(certificates)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_of_operations_leaves_a_sound_registry(
    steps: list[tuple[str, object]],
) -> None:
    with registry_in_memory(filled=True) as registry:
        with registry.changing() as change:
            groups.add_group(change, "group", "A group")
        for name, *arguments in steps:
            try:
                with registry.changing() as change:
                    perform(change, name, *arguments)
            except RegistryRefusal:
                continue
        with registry.reading() as session:
            verify_change_log(session)
            snapshot = load_registry_snapshot(session)
    check(snapshot)
    source = ConfigurationSource("cs.example", (b"i",), (b"e",))
    for version in (2, 4, 6):
        parameters = shared(
            RegistrySnapshot(
                instance=snapshot.instance,
                management_service=snapshot.management_service,
                sources=(source,),
                members=snapshot.members,
                security_servers=snapshot.security_servers,
                global_groups=snapshot.global_groups,
                member_classes=snapshot.member_classes,
            ),
            version,
        )
        read = SharedParameters.parse(parameters.encode(version), version)
        assert read.security_servers == parameters.security_servers
        assert [member.code for member in read.members] == [m.code for m in snapshot.members]


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 900), st.sets(st.integers(2, 6), min_size=1)),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_every_published_directory_points_at_parts_that_are_there(
    steps: list[tuple[int, set[int]]], tmp_path_factory: object
) -> None:
    public = tmp_path_factory.mktemp("public")
    at = NOW
    for seconds, versions in steps:
        at += timedelta(seconds=seconds)
        stamp = encode_stamp(at)
        generated = GeneratedConfiguration(
            stamp,
            at,
            {f"V{v}/{stamp}/shared-params.xml": b"x" for v in versions},
            {f"V{v}/{name}": stamp.encode() for v in versions for name in ("internalconf",)},
            {},
        )
        publish(generated, public, retention=timedelta(seconds=600), at=at)
        found = list(public.glob("V*/internalconf"))
        assert {path.parent.name for path in found} == {f"V{v}" for v in versions}
        for path in found:
            assert (path.parent / path.read_text() / "shared-params.xml").exists()
