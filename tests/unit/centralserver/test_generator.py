"""From the registry to files that a client accepts, and a note about how it went."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.files import read_tree
from postroad.centralserver.generator import (
    GenerationStatus,
    generate_and_publish,
    load_status,
)
from postroad.centralserver.registry import servers, sources
from postroad.centralserver.registry.change import details_of, list_change_log
from postroad.centralserver.registry.nodes import NodeState
from postroad.centralserver.registry.parameters import Parameter, set_parameter
from postroad.centralserver.registry.published import PUBLICATION, LogPosition, load_parameters
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.centralserver.registry.sources import SourceType
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, TrustError
from postroad.globalconf import stored
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.directory import verify_directory
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.identifiers import GlobalGroupId
from support.central_server import (
    CLIENT,
    NOW,
    OTHER_SERVER,
    OWNER,
    SERVER,
    MovingClock,
    approve_trust_services,
    auth_certificate,
)

if TYPE_CHECKING:
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.signing_keys import SigningToken
    from postroad.globalconf.directory import SignedDirectory


def directory(
    node: CentralServerNode, version: int = 6, source: SourceType = SourceType.INTERNAL
) -> SignedDirectory:
    """What a client that has the node's newest anchor makes of a published directory."""
    with node.reading() as session:
        anchor = Anchor.parse(sources.load_anchor(session, source))
    data = (node.settings.public_path / f"V{version}" / source.directory).read_bytes()
    return verify_directory(data, anchor.sources[0].verification_certificates, at=node.clock.now())


@pytest.mark.parametrize("version", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("source", list(SourceType))
def test_every_version_verifies_and_its_parts_are_there(
    node: CentralServerNode, token: SigningToken, version: int, source: SourceType
) -> None:
    node.generate(token)
    found = directory(node, version, source)
    assert found.version == version
    assert found.expires_at == NOW + timedelta(seconds=600)
    expected = {"SHARED-PARAMETERS"} | (
        {"PRIVATE-PARAMETERS"} if source is SourceType.INTERNAL else set()
    )
    assert {part.identifier for part in found.parts} == expected
    for part in found.parts:
        content = (node.settings.public_path / part.location.lstrip("/")).read_bytes()
        assert part.matches(content)


def test_the_nodes_copy_answers_the_questions_of_a_server(
    node: CentralServerNode, token: SigningToken
) -> None:
    with node.changing("tester") as change:
        approve_trust_services(change)
    node.generate(token)
    configuration = stored.load(read_tree(node.settings.globalconf_path, 1 << 20))
    configuration.ensure_valid(NOW + timedelta(seconds=599))
    (provider,) = configuration.servers_of(CLIENT)
    assert (provider.server_id, provider.address) == (OTHER_SERVER, "ss2.example")
    certificate = Certificate.from_der(auth_certificate(SERVER))
    assert configuration.server_by_auth_certificate(certificate) == SERVER
    assert configuration.is_in_global_group(OWNER, GlobalGroupId("DEV", "security-server-owners"))


def test_old_versions_hide_the_clients_of_a_server_in_maintenance(
    node: CentralServerNode, token: SigningToken
) -> None:
    with node.changing("tester") as change:
        servers.start_maintenance(change, OTHER_SERVER, "soon")
    generated = node.generate(token)
    for version, clients, message in ((4, (), None), (5, (CLIENT,), "soon")):
        data = generated.parts[f"V{version}/{generated.stamp}/shared-params.xml"]
        server = SharedParameters.parse(data, version).security_servers[1]
        assert (server.clients, server.maintenance) == (clients, message)


def test_a_key_is_replaced_without_losing_a_client(
    node: CentralServerNode, token: SigningToken, clock: MovingClock
) -> None:
    """A client that knows only what the configuration has told it can follow at every step."""

    def polled(known: tuple[bytes, ...]) -> tuple[bytes, ...]:
        generated = node.generate(token)
        data = (node.settings.public_path / "V6" / "internalconf").read_bytes()
        verify_directory(data, known, at=clock.now())
        shared = SharedParameters.parse(
            generated.parts[f"V6/{generated.stamp}/shared-params.xml"], 6
        )
        clock.pass_time(seconds=60)
        return shared.sources[0].internal_verification_certificates

    with node.reading() as session:
        old = sources.list_signing_keys(session)[0].key_identifier
        anchor = Anchor.parse(sources.load_anchor(session, SourceType.INTERNAL))
    known = polled(anchor.sources[0].verification_certificates)
    new = node.generate_key(token, SourceType.INTERNAL, KeyAlgorithm.EC, "tester")
    for _ in range(3):
        known = polled(known)
    node.activate_key(new, "tester")
    known = polled(known)
    assert len(known) == 2
    node.delete_key(token, old, "tester")
    known = polled(known)
    assert len(polled(known)) == 1


def test_a_key_that_was_never_published_cannot_be_activated(
    node: CentralServerNode, token: SigningToken, clock: MovingClock
) -> None:
    """A generation that fails announces nothing, however long ago the key was made."""
    node.generate(token)
    new = node.generate_key(token, SourceType.INTERNAL, KeyAlgorithm.EC, "tester")
    clock.pass_time(hours=1)
    with pytest.raises(RegistryRefusal, match="published yet"):
        node.activate_key(new, "tester")
    node.generate(token)
    clock.pass_time(seconds=179)
    with pytest.raises(RegistryRefusal, match="clients know it from"):
        node.activate_key(new, "tester")
    node.generate(token)  # a later generation is not a later announcement
    clock.pass_time(seconds=1)
    assert node.activate_key(new, "tester")


def test_a_client_that_never_saw_the_new_key_is_lost_by_force(
    node: CentralServerNode, token: SigningToken
) -> None:
    with node.reading() as session:
        anchor = Anchor.parse(sources.load_anchor(session, SourceType.INTERNAL))
    new = node.generate_key(token, SourceType.INTERNAL, KeyAlgorithm.EC, "tester")
    with node.changing("tester") as change:
        sources.activate_signing_key(change, new, force=True)
    node.generate(token)
    data = (node.settings.public_path / "V6" / "internalconf").read_bytes()
    with pytest.raises(TrustError):
        verify_directory(data, anchor.sources[0].verification_certificates, at=NOW)


def test_parameters_decide_on_digests_and_validity(
    node: CentralServerNode, token: SigningToken
) -> None:
    sha256 = "http://www.w3.org/2001/04/xmlenc#sha256"
    with node.changing("tester") as change:
        set_parameter(change, Parameter.EXPIRE_INTERVAL, "300")
        set_parameter(change, Parameter.SIGN_DIGEST, "SHA-256")
        set_parameter(change, Parameter.PART_DIGEST_URI, sha256)
        set_parameter(change, Parameter.CERTIFICATE_DIGEST_URI, sha256)
    node.generate(token)
    found = directory(node)
    assert found.expires_at == NOW + timedelta(seconds=300)
    assert {part.digest_algorithm for part in found.parts} == {DigestAlgorithm.SHA256}
    data = (node.settings.public_path / "V6" / "internalconf").read_bytes()
    assert b"ecdsa-sha256" in data
    assert b'hash-algorithm-id="http://www.w3.org/2001/04/xmlenc#sha256"' in data


def test_success_is_noted(node: CentralServerNode, token: SigningToken) -> None:
    assert load_status(node.settings) is None
    node.generate(token)
    with node.reading() as session:
        keys = [key.key_identifier for key in sources.list_signing_keys(session)]
        publication = list_change_log(session, limit=1)[0]
    expected = GenerationStatus(
        NOW,
        success=True,
        expires_at=NOW + timedelta(seconds=600),
        announced=dict.fromkeys(keys, NOW),
        known=LogPosition(publication.sequence - 1, publication.previous_hash),
    )
    assert load_status(node.settings) == expected


def test_the_first_failure_is_noted_and_the_configuration_stays(
    node: CentralServerNode, token: SigningToken, clock: MovingClock
) -> None:
    node.generate(token)
    before = directory(node)
    with node.changing("tester") as change:
        for source in sources.list_sources(change.session, SourceType.EXTERNAL):
            change.session.delete(source)
    for _ in range(2):
        clock.pass_time(seconds=60)
        with pytest.raises(ConfigurationError, match="no active signing key"):
            node.generate(token)
    status = load_status(node.settings)
    assert status is not None
    assert (status.success, status.time) == (False, NOW + timedelta(seconds=60))
    assert status.error is not None
    assert "external" in status.error
    assert status.expires_at == NOW + timedelta(seconds=600)
    assert directory(node) == before


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"time": 1, "success": 1}', b"\xff"])
def test_an_unreadable_note_says_nothing(node: CentralServerNode, note: bytes) -> None:
    node.settings.status_path.parent.mkdir(parents=True)
    node.settings.status_path.write_bytes(note)
    assert load_status(node.settings) is None


def test_the_note_is_json_for_other_programs(node: CentralServerNode, token: SigningToken) -> None:
    node.generate(token)
    note = json.loads(node.settings.status_path.read_bytes())
    assert note["success"] is True
    assert note["time"] == "2026-03-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("minimum", "versions"), [(1, (2, 3, 4, 5, 6)), (2, (2, 3, 4, 5, 6)), (5, (5, 6)), (6, (6,))]
)
def test_versions_are_made_from_the_minimum_on(
    node: CentralServerNode, token: SigningToken, minimum: int, versions: tuple[int, ...]
) -> None:
    text = f"[configuration]\nminimum_version = {minimum}\n"
    settings = parse_settings(text, home=node.settings.home_path)
    generate_and_publish(node.engine, token, settings, at=NOW)
    assert sorted(path.name for path in settings.public_path.iterdir()) == [
        f"V{version}" for version in versions
    ]


def publications(node: CentralServerNode) -> list[dict[str, object]]:
    with node.reading() as session:
        entries = [row for row in list_change_log(session, limit=999) if row.event == PUBLICATION]
        return [dict(details_of(entry)) for entry in entries]


def test_only_a_changed_configuration_makes_an_entry_of_the_log(
    node: CentralServerNode, token: SigningToken, clock: MovingClock
) -> None:
    first = node.generate(token)
    clock.pass_time(seconds=60)
    second = node.generate(token)
    (entry,) = publications(node)
    assert entry["stamp"] == first.stamp != second.stamp
    with node.changing("tester") as change:
        servers.start_maintenance(change, OTHER_SERVER, "soon")
    third = node.generate(token)
    entry, _before = publications(node)
    assert entry["stamp"] == third.stamp
    data = third.parts[f"V6/{third.stamp}/shared-params.xml"]
    digest = hashlib.sha256(data).hexdigest()
    parts = entry["parts"]
    assert isinstance(parts, list)
    assert f"V6/shared-params.xml={digest}" in parts
    assert len(parts) == 10
    with node.reading() as session:
        assert load_parameters(session, digest) == data


def test_a_registry_that_went_back_is_not_published(
    node: CentralServerNode, token: SigningToken, clock: MovingClock
) -> None:
    """A stale copy of the database would take back what members were told was done."""
    path = node.settings.home_path / "db" / "registry.sqlite"
    node.generate(token)
    with sqlite3.connect(path) as connection, sqlite3.connect(path.with_name("old")) as old:
        connection.backup(old)
    with node.changing("tester") as change:
        servers.start_maintenance(change, OTHER_SERVER, "soon")
    node.generate(token)
    with sqlite3.connect(path) as connection, sqlite3.connect(path.with_name("old")) as old:
        old.backup(connection)
    clock.pass_time(seconds=60)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="stale copy"):
            node.generate(token)
    node.generate(token, accept_other_history=True)
    node.generate(token)


def test_the_other_nodes_see_how_it_goes(
    node: CentralServerNode, token: SigningToken, clock: MovingClock
) -> None:
    node.generate(token)
    (seen,) = node.nodes()
    assert (seen.state, seen.generated_at, seen.error) == (NodeState.OK, NOW, "")
    with node.changing("tester") as change:
        for source in sources.list_sources(change.session, SourceType.EXTERNAL):
            change.session.delete(source)
    clock.pass_time(seconds=30)
    with pytest.raises(ConfigurationError):
        node.generate(token)
    (seen,) = node.nodes()
    assert (seen.state, seen.generated_at) == (NodeState.WARN, NOW)
    assert "external" in seen.error
