"""The exported server configuration and its look-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from postroad.authorization.rights import AccessRight, Endpoint
from postroad.errors import ConfigurationError, FaultCode
from postroad.identifiers import (
    GlobalGroupId,
    LocalGroupId,
    MemberId,
    ServiceId,
    SubsystemId,
)
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ClientEntry,
    EndpointEntry,
    ServerConfSnapshot,
    ServerConfView,
    ServiceEntry,
    SnapshotFile,
    encode_snapshot,
    load_snapshot,
    parse_snapshot,
    store_snapshot,
    subject_of,
    subject_text,
)

if TYPE_CHECKING:
    from pathlib import Path

PROVIDER = SubsystemId("TEST", "COM", "2", "reg/istry")
CLIENT = SubsystemId("TEST", "GOV", "1", "app")


def snapshot(revision: int = 1) -> ServerConfSnapshot:
    return ServerConfSnapshot(
        format=FORMAT,
        revision=revision,
        server="TEST/COM/2/SS1",
        clients=(
            ClientEntry(
                identifier=PROVIDER.encoded(),
                status="registered",
                connection_type="SSLAUTH",
                certificates=(b"der",),
                services=(
                    ServiceEntry(
                        "pets", None, "REST", "http://h/", 60, False, False, "", "http://h/"
                    ),
                    ServiceEntry(
                        "old", "v1", "WSDL", "http://h/", 60, False, True, "gone", "http://w"
                    ),
                ),
                endpoints=(
                    EndpointEntry("pets", "*", "**", (("SUBSYSTEM", CLIENT.encoded()),)),
                    EndpointEntry("pets", "GET", "/x/*", (("GLOBALGROUP", "TEST/all%20of%2Fus"),)),
                    EndpointEntry("old", "*", "**", (("LOCALGROUP", "friends"),)),
                ),
                local_groups=(("friends", (CLIENT.encoded(),)),),
            ),
        ),
        timestamping=(("TSA", "http://tsa"),),
    )


def test_reads_back_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "run" / "serverconf.snapshot"
    store_snapshot(path, snapshot())
    assert load_snapshot(path) == snapshot()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        encode_snapshot(snapshot())[:-1],
        msgspec.msgpack.encode(["other", 1, "", [], []]),
        b"\x95\xa1\xff\x01\xa0\x90\x90",  # a text that isn't UTF-8
    ],
)
def test_refuses_a_damaged_or_foreign_snapshot(data: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_snapshot(data)
    assert caught.value.code is FaultCode.MALFORMED_SERVER_CONF


def test_refuses_a_snapshot_with_an_impossible_identifier() -> None:
    bad = msgspec.structs.replace(snapshot().clients[0], identifier="TEST")
    with pytest.raises(ConfigurationError) as caught:
        ServerConfView(msgspec.structs.replace(snapshot(), clients=(bad,)))
    assert caught.value.code is FaultCode.MALFORMED_SERVER_CONF


def test_finds_clients_services_and_rights() -> None:
    view = ServerConfView(snapshot())
    provider = view.client(PROVIDER)
    assert provider is not None
    assert provider.is_registered
    assert view.client(CLIENT) is None
    pets = view.service(ServiceId(PROVIDER, "pets"))
    assert pets is not None
    assert pets.is_rest
    old = view.service(ServiceId(PROVIDER, "old", "v1"))
    assert old is not None
    assert not old.is_rest
    assert view.service(ServiceId(PROVIDER, "old")) is None
    assert view.service(ServiceId(CLIENT, "pets")) is None
    assert view.rights(ServiceId(PROVIDER, "pets", "v9")) == (
        AccessRight(CLIENT, "pets"),
        AccessRight(GlobalGroupId("TEST", "all of/us"), "pets", Endpoint("GET", "/x/*")),
    )
    assert view.rights(ServiceId(CLIENT, "pets")) == ()
    assert provider.endpoints == {"pets": (Endpoint("GET", "/x/*"),)}


def test_local_group_belongs_to_its_provider_only() -> None:
    view = ServerConfView(snapshot())
    friends = LocalGroupId("friends")
    assert view.is_in_local_group(PROVIDER, CLIENT, friends)
    assert not view.is_in_local_group(PROVIDER, CLIENT.member, friends)
    assert not view.is_in_local_group(PROVIDER, CLIENT, LocalGroupId("foes"))
    assert not view.is_in_local_group(CLIENT, CLIENT, friends)


@pytest.mark.parametrize(
    "subject", [CLIENT, PROVIDER, GlobalGroupId("A/B", "c d"), LocalGroupId("x/y")]
)
def test_subject_survives_storing(subject: SubsystemId | GlobalGroupId | LocalGroupId) -> None:
    assert subject_of(*subject_text(subject)) == subject


def test_unknown_subject_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        subject_of("MEMBER", str(MemberId("A", "B", "C")))


def test_watcher_loads_only_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "serverconf.snapshot"
    watcher = SnapshotFile(path)
    with pytest.raises(ConfigurationError):
        watcher.refresh()
    store_snapshot(path, snapshot(1))
    assert watcher.refresh()
    first = watcher.view
    assert not watcher.refresh()
    assert watcher.view is first
    store_snapshot(path, snapshot(2))
    assert watcher.refresh()
    assert watcher.view is not None
    assert watcher.view.revision == 2


def test_watcher_keeps_the_old_view_when_the_new_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "serverconf.snapshot"
    store_snapshot(path, snapshot(1))
    watcher = SnapshotFile(path)
    watcher.refresh()
    path.write_bytes(b"damaged")
    with pytest.raises(ConfigurationError):
        watcher.refresh()
    assert watcher.view is not None
    assert watcher.view.revision == 1
