from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from postroad.adapters.files import write_atomic
from postroad.errors import FaultCode
from postroad.globalconf.directory import parse_content, parse_directory, sign_directory
from postroad.globalconf.extensions import Monitoring
from postroad.globalconf.generation import OptionalPart
from postroad.globalconf.locations import Location
from postroad.securityserver import confclient
from postroad.securityserver.confclient import ConfigurationClient
from support.configuration_client import Server, federate, pass_time
from support.globalconf import NOW, Instance, Network, signing_key


@pytest.fixture
def instance() -> Instance:
    made = Instance()
    made.publish()
    return made


@pytest.fixture
def partner() -> Instance:
    made = Instance(name="PARTNER", address="partner.example")
    made.publish()
    return made


@pytest.fixture
def server(tmp_path: Path, instance: Instance, partner: Instance) -> Server:
    made = Server(tmp_path, Network(instance, partner))
    made.give(instance.anchor())
    return made


# --- our own instance --------------------------------------------------------------------------


def test_a_first_poll_stores_a_configuration_that_loads(server: Server) -> None:
    report = server.poll()
    assert report.succeeded
    assert report.changed
    assert report.own.version == 6
    assert report.own.url == "http://cs.example/internalconf"
    configuration = server.configuration()
    assert configuration.own_instance == "TEST"
    configuration.ensure_valid(NOW)
    assert set(server.files()) == {
        "instance-identifier",
        "TEST/private-params.xml",
        "TEST/private-params.xml.metadata",
        "TEST/shared-params.xml",
        "TEST/shared-params.xml.metadata",
    }


def test_stores_in_the_layout_of_the_reference(server: Server) -> None:
    server.poll()
    files = server.files()
    assert files["instance-identifier"] == b"TEST"
    metadata = json.loads(files["TEST/shared-params.xml.metadata"])
    assert metadata == {
        "contentIdentifier": "SHARED-PARAMETERS",
        "instanceIdentifier": "TEST",
        "expirationDate": "2026-03-01T12:10:00Z",
        "contentLocation": "/V6/20260301120000250000000/shared-params.xml",
        "configurationVersion": "6",
    }


def test_a_poll_without_news_only_renews_the_expiry(server: Server, instance: Instance) -> None:
    server.poll()
    before = server.files()
    pass_time(server, instance, minutes=1)
    report = server.poll()
    assert report.succeeded
    assert not report.changed
    assert report.own.fetched == ()
    after = server.files()
    assert after["TEST/shared-params.xml"] == before["TEST/shared-params.xml"]
    assert server.configuration().expires_at == datetime.fromisoformat("2026-03-01T12:11:00Z")


def test_an_identical_answer_writes_nothing(server: Server) -> None:
    server.poll()
    inode = (server.directory / "TEST").stat().st_ino
    assert server.poll().succeeded
    assert (server.directory / "TEST").stat().st_ino == inode


def test_a_change_in_the_registry_arrives(server: Server, instance: Instance) -> None:
    server.poll()
    instance.registry = replace(instance.registry, ocsp_freshness_seconds=60)
    pass_time(server, instance, minutes=1)
    report = server.poll()
    assert report.changed
    assert report.own.fetched == ("shared-params.xml",)
    assert server.configuration().ocsp_policy.freshness == timedelta(seconds=60)


def test_files_that_are_not_listed_any_more_are_removed(server: Server, instance: Instance) -> None:
    part = OptionalPart("MONITORING", Monitoring().encode())
    instance.registry = replace(instance.registry, optional_parts=(part,))
    instance.publish()
    server.poll()
    assert "TEST/monitoring-params.xml" in server.files()
    instance.registry = replace(instance.registry, optional_parts=())
    pass_time(server, instance, minutes=1)
    server.poll()
    assert not [path for path in server.files() if "monitoring" in path]


def test_what_a_crash_left_is_cleared_away(server: Server) -> None:
    server.poll()
    (server.directory / ".TEST.abc").mkdir()
    (server.directory / ".TEST.abc" / "shared-params.xml").write_bytes(b"half")
    (server.directory / ".instance-identifier.x").write_bytes(b"half")
    server.poll()
    assert not list(server.directory.glob(".*"))


# --- failures ----------------------------------------------------------------------------------


def test_a_failure_keeps_what_is_stored(server: Server) -> None:
    server.poll()
    before = server.files()
    server.network.broken.add("cs.example")
    report = server.poll()
    assert not report.succeeded
    assert report.own.error is not None
    assert server.files() == before


def test_a_forged_configuration_keeps_what_is_stored(server: Server, instance: Instance) -> None:
    server.poll()
    before = server.files()
    instance.internal = signing_key("forger")
    pass_time(server, instance, minutes=1)
    report = server.poll()
    assert report.own.error is not None
    assert report.own.error.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT
    assert server.files() == before


def test_a_replayed_configuration_is_refused_after_a_restart(
    server: Server, instance: Instance
) -> None:
    replayed = dict(instance.files)
    pass_time(server, instance, minutes=2)
    assert server.poll().succeeded
    instance.files = replayed
    report = server.poll()
    assert report.own.error is not None
    assert report.own.error.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_the_memory_is_remade_when_it_is_lost_or_broken(server: Server, instance: Instance) -> None:
    for content in (None, b"garbage"):
        server.poll()
        path = server.home / "globalconf.state"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        pass_time(server, instance, minutes=1)
        assert server.poll().succeeded
        assert server.state["own/TEST"]["version"] == 6


def test_a_new_anchor_forgets_the_history_of_the_old_one(
    server: Server, instance: Instance
) -> None:
    pass_time(server, instance, minutes=2)
    server.poll()
    instance.files.clear()
    instance.publish(NOW)
    assert not server.poll().succeeded
    server.give(replace(instance.anchor(), generated_at=NOW + timedelta(minutes=3)))
    assert server.poll().succeeded


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, FaultCode.ANCHOR_FILE_NOT_FOUND), (b"not an xml.", FaultCode.MALFORMED_ANCHOR)],
)
def test_a_missing_or_broken_anchor_is_reported(
    server: Server, content: bytes | None, code: FaultCode
) -> None:
    path = server.home / "configuration-anchor.xml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    report = server.poll()
    assert report.own.error is not None
    assert report.own.error.code is code


@pytest.mark.parametrize("broken", ["replace_directory", "write_atomic"])
def test_a_disk_that_cannot_be_written_is_reported(
    server: Server, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(confclient, broken, fail)
    report = server.poll()
    assert report.own.error is not None
    assert report.own.error.code is FaultCode.GLOBAL_CONF_PART_FILE_SAVE_FAILURE


def test_what_could_not_be_stored_is_not_remembered(
    server: Server, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(confclient, "replace_directory", fail)
        server.poll()
    assert not (server.home / "globalconf.state").exists()
    assert server.poll().succeeded


def test_a_memory_that_cannot_be_saved_is_reported(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_atomic

    def fail(path: Path, *arguments: Any, **more: Any) -> None:
        if path.name.endswith(".state"):
            raise OSError(28, "No space left on device")
        real(path, *arguments, **more)

    monkeypatch.setattr(confclient, "write_atomic", fail)
    report = server.poll()
    assert report.own.error is not None
    server.configuration().ensure_valid(NOW)


def test_a_source_that_never_answers_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confclient, "INSTANCE_DEADLINE", 0.01)

    async def never(*arguments: object, **more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(server.network, "fetch", never)
    report = server.poll()
    assert report.own.error is not None
    assert "took longer" in str(report.own.error)


def test_the_order_of_nodes_is_drawn_by_lot_by_default(server: Server) -> None:
    client = ConfigurationClient(
        anchor_path=server.home / "configuration-anchor.xml",
        directory=server.directory,
        fetcher=server.network,
        clock=server.clock,
    )
    assert asyncio.run(client.run_once()).succeeded
    locations = [Location(f"http://cs{number}", ()) for number in range(3)]
    assert set(confclient._shuffled(locations)) == set(locations)


# --- federation --------------------------------------------------------------------------------


def test_federated_instances_are_not_downloaded_unless_allowed(
    server: Server, instance: Instance, partner: Instance
) -> None:
    federate(instance, partner)
    report = server.poll()
    assert report.federated == ()
    assert server.configuration().instances == ("TEST",)


@pytest.mark.parametrize("allowed", ["all", "partner", "other, PARTNER"])
def test_allowed_federated_instances_give_their_shared_parameters(
    server: Server, instance: Instance, partner: Instance, allowed: str
) -> None:
    federate(instance, partner)
    server.allowed = allowed
    report = server.poll()
    assert [(entry.instance, entry.error) for entry in report.federated] == [("PARTNER", None)]
    assert server.configuration().instances == ("TEST", "PARTNER")
    assert "PARTNER/private-params.xml" not in server.files()


def test_a_failing_federated_instance_disturbs_nobody(
    server: Server, instance: Instance, partner: Instance
) -> None:
    other = Instance(name="OTHER", address="other.example")
    other.publish()
    server.network.instances["other.example"] = other
    federate(instance, partner, other)
    server.allowed = "all"
    server.network.broken.add("partner.example")
    report = server.poll()
    assert report.succeeded
    assert {entry.instance: entry.error is None for entry in report.federated} == {
        "PARTNER": False,
        "OTHER": True,
    }


def test_an_unreachable_federated_instance_keeps_its_stored_state(
    server: Server, instance: Instance, partner: Instance
) -> None:
    federate(instance, partner)
    server.allowed = "all"
    server.poll()
    server.network.broken.add("partner.example")
    pass_time(server, instance, minutes=1)
    assert server.poll().succeeded
    assert server.configuration().shared("PARTNER") is not None


def test_federated_instances_are_updated_while_our_own_source_is_down(
    server: Server, instance: Instance, partner: Instance
) -> None:
    federate(instance, partner)
    server.allowed = "all"
    server.poll()
    server.network.broken.add("cs.example")
    pass_time(server, partner, minutes=1)
    report = server.poll()
    assert not report.succeeded
    assert [entry.error for entry in report.federated] == [None]
    entry = server.configuration().instance("PARTNER")
    assert entry is not None
    assert entry.shared_expires_at == datetime.fromisoformat("2026-03-01T12:11:00Z")


def test_federation_stops_when_our_own_private_parameters_have_expired(
    server: Server, instance: Instance, partner: Instance
) -> None:
    federate(instance, partner)
    server.allowed = "all"
    server.poll()
    server.network.broken.add("cs.example")
    pass_time(server, partner, minutes=11)
    assert server.poll().federated == ()


@pytest.mark.parametrize("change", ["filter", "anchor"])
def test_instances_that_are_not_wanted_any_more_are_removed(
    server: Server, instance: Instance, partner: Instance, change: str
) -> None:
    federate(instance, partner)
    server.allowed = "all"
    server.poll()
    assert "federated/PARTNER" in server.state
    if change == "filter":
        server.allowed = "none"
    else:
        instance.registry = replace(instance.registry, trusted_anchors=())
    pass_time(server, instance, minutes=1)
    report = server.poll()
    assert report.removed == ("PARTNER",)
    assert report.changed
    assert not (server.directory / "PARTNER").exists()
    assert "federated/PARTNER" not in server.state


def test_a_federated_instance_cannot_replace_our_own_parameters(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """A partner that publishes shared parameters of our instance is refused."""
    impostor = Instance(name="TEST", address="partner.example")
    impostor.registry = replace(impostor.registry, ocsp_freshness_seconds=99)
    impostor.external = partner.external
    impostor.publish()
    server.network.instances["partner.example"] = impostor
    federate(instance, partner)
    server.allowed = "all"
    report = server.poll()
    (federated,) = report.federated
    assert federated.error is not None
    assert federated.error.code is FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER
    assert server.configuration().ocsp_policy.freshness == timedelta(seconds=1800)


def test_our_own_shared_parameters_may_come_from_a_source_of_their_own(
    server: Server, instance: Instance
) -> None:
    """The internal directory lists private parameters only; they name an anchor for the rest."""
    other = Instance(name="TEST", address="shared.example")
    other.publish()
    server.network.instances["shared.example"] = other
    federate(instance, other)
    detached = detach(instance)
    instance.files["V6/internalconf"] = detached
    report = server.poll()
    assert report.succeeded
    assert [entry.error for entry in report.federated] == [None]
    server.configuration().ensure_valid(NOW)
    assert server.poll().succeeded
    server.configuration().ensure_valid(NOW)


def detach(instance: Instance) -> bytes:
    unverified = parse_directory(instance.files["V6/internalconf"])
    content = parse_content(unverified.signed, unverified.content_type)
    parts = tuple(part for part in content.parts if part.identifier == "PRIVATE-PARAMETERS")
    signer = instance.internal.signer()
    return sign_directory(
        replace(content, parts=parts),
        boundaries=("OB", "IB"),
        certificate=signer.certificate,
        algorithm=signer.algorithm,
        sign=signer.sign,
    )


def test_a_broken_stored_file_is_downloaded_again(server: Server, instance: Instance) -> None:
    server.poll()
    (server.directory / "TEST" / "shared-params.xml").write_bytes(b"bit rot")
    (server.directory / "TEST" / "private-params.xml").write_bytes(b"bit rot")
    server.network.broken.add("cs.example")
    assert not server.poll().succeeded
    server.network.broken.discard("cs.example")
    report = server.poll()
    assert set(report.own.fetched) == {"private-params.xml", "shared-params.xml"}
    server.configuration().ensure_valid(NOW)


def test_a_directory_that_cannot_be_removed_is_reported(
    server: Server, instance: Instance, partner: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    federate(instance, partner)
    server.allowed = "all"
    server.poll()
    server.allowed = "none"

    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(confclient, "remove_directory", fail)
    report = server.poll()
    assert report.own.error is not None
    assert report.own.error.code is FaultCode.GLOBAL_CONF_PART_FILE_SAVE_FAILURE


def test_federated_keys_rotate_through_their_own_shared_parameters(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """Our anchor of the partner stays as it is while the partner replaces its key."""
    federate(instance, partner)
    server.allowed = "all"
    successor = signing_key("PARTNER-external-2")
    (source,) = partner.registry.sources
    both = (*source.external_verification_certificates, successor.certificate)
    partner.registry = replace(
        partner.registry, sources=(replace(source, external_verification_certificates=both),)
    )
    partner.publish()
    assert server.poll().federated[0].error is None
    partner.external = successor
    pass_time(server, instance, partner, minutes=1)
    assert server.poll().federated[0].error is None


def test_a_federated_instance_has_versions_of_its_own(
    server: Server, instance: Instance, partner: Instance
) -> None:
    for path in [path for path in partner.files if path.startswith(("V5", "V6"))]:
        del partner.files[path]
    federate(instance, partner)
    server.allowed = "all"
    report = server.poll()
    assert report.own.version == 6
    assert report.federated[0].version == 4
    assert server.state["federated/PARTNER"]["location"]["version"] == 4


def test_an_expired_federated_instance_disappears_alone(
    server: Server, instance: Instance, partner: Instance
) -> None:
    federate(instance, partner)
    server.allowed = "all"
    server.poll()
    server.network.broken.add("partner.example")
    pass_time(server, instance, minutes=11)
    server.poll()
    configuration = server.configuration()
    configuration.ensure_valid(server.clock.at)
    assert configuration.visible_at(server.clock.at).instances == ("TEST",)


def test_federated_sources_that_never_answer_take_turns_and_end(
    server: Server, instance: Instance, partner: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they do, our own configuration is asked for again before it expires."""
    monkeypatch.setattr(confclient, "FEDERATIONS_DEADLINE", 0.2)
    monkeypatch.setattr(confclient, "PARALLEL_FEDERATIONS", 1)
    other = Instance(name="OTHER", address="other.example")
    other.publish()
    server.network.instances["other.example"] = other
    federate(instance, partner, other)
    server.allowed = "all"
    answered = server.network.fetch

    async def fetch(method: str, url: str, **more: Any) -> Any:
        if "partner.example" in url:
            await asyncio.Event().wait()
        return await answered(method, url, **more)

    monkeypatch.setattr(server.network, "fetch", fetch)
    client = server.client()
    starved = asyncio.run(client.run_once())
    assert starved.succeeded
    assert [entry.error is None for entry in starved.federated] == [False, False]
    turned = asyncio.run(client.run_once())
    assert {entry.instance: entry.error is None for entry in turned.federated} == {
        "OTHER": True,
        "PARTNER": False,
    }
