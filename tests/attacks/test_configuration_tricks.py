"""What a federated instance, a replayed file or a hostile proxy can't make of our configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.errors import FaultCode
from postroad.globalconf import trusted
from postroad.globalconf.directory import (
    PartReference,
    SignedDirectory,
    parse_content,
    parse_directory,
    sign_directory,
)
from postroad.ports import FetchedResponse
from postroad.securityserver import confclient
from support.configuration_client import Server, federate, pass_time
from support.globalconf import Instance, Network, SigningKey, signing_key

EXTERNAL = "V6/externalconf"
INTERNAL = "V6/internalconf"
OURS = {
    "TEST/private-params.xml",
    "TEST/private-params.xml.metadata",
    "TEST/shared-params.xml",
    "TEST/shared-params.xml.metadata",
    "instance-identifier",
}
THEIRS = OURS | {"PARTNER/shared-params.xml", "PARTNER/shared-params.xml.metadata"}


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
    home = tmp_path / "deep" / "home"
    home.mkdir(parents=True)
    made = Server(home, Network(instance, partner), allowed="all")
    made.give(instance.anchor())
    federate(instance, partner)
    return made


def content_of(source: Instance, path: str) -> SignedDirectory:
    unverified = parse_directory(source.files[path])
    return parse_content(unverified.signed, unverified.content_type)


def resign(source: Instance, path: str, content: SignedDirectory, key: SigningKey) -> None:
    signer = key.signer()
    source.files[path] = sign_directory(
        content,
        boundaries=("OB", "IB"),
        certificate=signer.certificate,
        algorithm=signer.algorithm,
        sign=signer.sign,
    )


def refused(server: Server) -> FaultCode | None:
    """Poll: our own part works, the partner's is refused with the code that is returned."""
    report = server.poll()
    assert report.succeeded
    (federated,) = report.federated
    assert federated.error is not None
    server.configuration().ensure_valid(server.clock.at)
    return federated.error.code


def test_a_partners_older_generation_is_refused(
    server: Server, instance: Instance, partner: Instance
) -> None:
    replayed = dict(partner.files)
    partner.registry = replace(partner.registry, ocsp_freshness_seconds=77)
    pass_time(server, instance, partner, minutes=2)
    assert server.poll().federated[0].error is None
    partner.files = replayed
    assert refused(server) is FaultCode.GLOBAL_CONF_OUTDATED
    shared = server.configuration().shared("PARTNER")
    assert shared is not None
    assert shared.global_settings.ocsp_freshness_seconds == 77


def test_a_key_that_is_listed_nowhere_any_more_verifies_nothing(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """The reference remembers every certificate it has seen until it is started again (G-06)."""
    stolen, successor = partner.external, signing_key("PARTNER-successor")
    (source,) = partner.registry.sources
    renewed = replace(source, external_verification_certificates=(successor.certificate,))
    announced = replace(
        source, external_verification_certificates=(stolen.certificate, successor.certificate)
    )
    partner.registry = replace(partner.registry, sources=(announced,))
    partner.publish()
    assert server.poll().federated[0].error is None
    partner.external = successor
    partner.registry = replace(partner.registry, sources=(renewed,))
    federate(instance, partner)
    pass_time(server, instance, partner, minutes=1)
    assert server.poll().federated[0].error is None
    partner.external = stolen
    pass_time(server, instance, partner, minutes=1)
    assert refused(server) is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT


def test_a_partner_cannot_speak_for_us(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """Its directory lists shared parameters of our instance beside its own, true or false."""
    content = content_of(partner, EXTERNAL)
    forged = instance.files[content_of(instance, INTERNAL).parts[1].location.lstrip("/")]
    forged = forged.replace(b"<ocspFreshnessSeconds>1800<", b"<ocspFreshnessSeconds>9999<")
    part = replace(
        content.parts[0],
        instance="TEST",
        location="/forged.xml",
        digest=content.parts[0].digest_algorithm.digest(forged),
    )
    partner.files["forged.xml"] = forged
    resign(partner, EXTERNAL, replace(content, parts=(part, *content.parts)), partner.external)
    assert server.poll().federated[0].error is None
    assert set(server.files()) == THEIRS
    assert b"9999" not in server.files()["TEST/shared-params.xml"]


def test_a_partner_cannot_speak_for_a_third_instance(
    server: Server, instance: Instance, partner: Instance
) -> None:
    third = Instance(name="THIRD", address="third.example")
    third.publish()
    server.network.instances["third.example"] = third
    federate(instance, partner, third)
    stolen = content_of(third, EXTERNAL).parts[0]
    partner.files |= third.files
    content = content_of(partner, EXTERNAL)
    resign(partner, EXTERNAL, replace(content, parts=(stolen,)), partner.external)
    report = server.poll()
    errors = {entry.instance: entry.error for entry in report.federated}
    assert errors["THIRD"] is None
    assert errors["PARTNER"] is not None
    assert errors["PARTNER"].code is FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER


def test_shared_parameters_about_us_under_a_partners_name_are_refused(
    server: Server, instance: Instance, partner: Instance
) -> None:
    content = content_of(partner, EXTERNAL)
    ours = instance.files[content_of(instance, INTERNAL).parts[1].location.lstrip("/")]
    (part,) = content.parts
    lie = replace(part, digest=part.digest_algorithm.digest(ours), location="/ours.xml")
    partner.files["ours.xml"] = ours
    resign(partner, EXTERNAL, replace(content, parts=(lie,)), partner.external)
    assert refused(server) is FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER


def test_a_partners_partners_are_not_ours(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """A partner that shows its private parameters doesn't make us follow their anchors."""
    third = Instance(name="THIRD", address="third.example")
    third.publish()
    server.network.instances["third.example"] = third
    federate(partner, third)
    internal = content_of(partner, INTERNAL)
    resign(partner, EXTERNAL, internal, partner.external)
    assert server.poll().federated[0].error is None
    assert set(server.files()) == THEIRS
    assert not [url for url in server.network.asked if "third.example" in url]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:8080/shared-params.xml",
        "http://169.254.169.254/latest/meta-data",
        "//cs.example/V6/x/shared-params.xml",
        "http://partner.example:4000/api",
        "https://partner.example/x",
        "file:///etc/passwd",
    ],
)
def test_a_partner_cannot_send_us_to_other_servers(
    server: Server, partner: Instance, location: str
) -> None:
    """Whoever asks from the inside is often believed: nothing but the partner itself is asked."""
    content = content_of(partner, EXTERNAL)
    elsewhere = replace(content.parts[0], location=location)
    resign(partner, EXTERNAL, replace(content, parts=(elsewhere,)), partner.external)
    assert refused(server) is not None
    assert location not in server.network.asked
    assert not [url for url in server.network.asked if "127.0.0.1" in url or "169.254" in url]


@pytest.mark.parametrize(
    "name",
    ["../../evil.xml", "..", "/etc/cron.d/evil", "a/b.xml", "shared-params.xml", ".hidden", "a\\b"],
)
@pytest.mark.parametrize("hint", [True, False])
def test_no_part_leaves_its_directory(
    server: Server, instance: Instance, partner: Instance, name: str, *, hint: bool
) -> None:
    """Neither by its file name nor by its location, whoever lists it."""
    evil = b"evil"
    for source, path, key in (
        (partner, EXTERNAL, partner.external),
        (instance, INTERNAL, instance.internal),
    ):
        content = content_of(source, path)
        part = PartReference(
            identifier="FOO",
            instance=source.name,
            location="/foo.xml" if hint else f"/V6/x/{name}",
            digest_algorithm=content.parts[0].digest_algorithm,
            digest=content.parts[0].digest_algorithm.digest(evil),
            file_name=name if hint else None,
        )
        source.files |= dict.fromkeys(("foo.xml", f"V6/x/{name}"), evil)
        resign(source, path, replace(content, parts=(*content.parts, part)), key)
    server.poll()
    directory = server.home.parent.parent
    made = {path.relative_to(server.home) for path in server.home.rglob("*") if path.is_file()}
    assert len(made) == len([path for path in directory.rglob("*") if path.is_file()])
    outside = {str(path) for path in made if path.parts[0] != "globalconf"}
    assert outside <= {"configuration-anchor.xml", "globalconf.state"}
    stored = {path for path in server.files() if b"evil" in server.files()[path]}
    # What our own source lists under a harmless last segment is kept beside its other parts.
    assert all(path.startswith("TEST/") and path.count("/") == 1 for path in stored)
    assert server.files().get("TEST/shared-params.xml") != evil


@pytest.mark.parametrize("name", ["..", ".", "../..", "/", "a/../../b"])
def test_no_instance_leaves_the_configuration(
    server: Server, instance: Instance, name: str
) -> None:
    evil = Instance(name=name, address="evil.example")
    evil.publish()
    server.network.instances["evil.example"] = evil
    federate(instance, evil)
    server.poll()
    assert all(path.count("/") <= 1 for path in server.files())
    made = {path.name for path in server.home.iterdir()}
    assert made == {"globalconf", "globalconf.state", "configuration-anchor.xml"}


def oversize_part(server: Server, partner: Instance, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trusted, "MAX_FOREIGN_PART_BYTES", 100)


def oversize_instance(server: Server, partner: Instance, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(confclient, "MAX_FOREIGN_BYTES", 100)


@pytest.mark.parametrize("what", [oversize_part, oversize_instance])
def test_a_partner_cannot_fill_our_disk_or_memory(
    server: Server,
    partner: Instance,
    monkeypatch: pytest.MonkeyPatch,
    what: Callable[[Server, Instance, pytest.MonkeyPatch], None],
) -> None:
    what(server, partner, monkeypatch)
    assert refused(server) in {
        FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE,
        FaultCode.GLOBAL_CONF_PART_FILE_SAVE_FAILURE,
    }
    assert set(server.files()) == OURS


def test_the_parts_of_one_update_are_bounded_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted, "MAX_UPDATE_BYTES", 3000)
    report = server.poll()
    assert report.own.error is not None
    assert report.own.error.code is FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE


def test_a_part_of_another_generation_is_no_part_of_this_one(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """The man in the middle answers for the new part with the old one, and the reverse."""
    server.poll()
    old = partner.files[content_of(partner, EXTERNAL).parts[0].location.lstrip("/")]
    partner.registry = replace(partner.registry, ocsp_freshness_seconds=77)
    pass_time(server, instance, partner, minutes=1)
    location = content_of(partner, EXTERNAL).parts[0].location
    address = f"http://partner.example{location}"
    server.network.replaced[address] = FetchedResponse(200, (), old)
    assert refused(server) is FaultCode.GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE


def test_a_proxys_older_copy_does_not_bring_back_what_the_partner_replaced(
    server: Server, instance: Instance, partner: Instance
) -> None:
    """Our own source passes on a partner's parameters that are older than what we hold."""
    copied = content_of(partner, EXTERNAL).parts[0]
    partner.registry = replace(partner.registry, ocsp_freshness_seconds=77)
    pass_time(server, instance, partner, minutes=1)
    assert server.poll().federated[0].error is None
    instance.files |= {copied.location.lstrip("/"): partner.files[copied.location.lstrip("/")]}
    server.clock.at += timedelta(minutes=1)
    instance.publish(server.clock.at)
    content = content_of(instance, INTERNAL)
    resign(instance, INTERNAL, replace(content, parts=(*content.parts, copied)), instance.internal)
    server.network.broken.add("partner.example")
    assert server.poll().succeeded
    shared = server.configuration().shared("PARTNER")
    assert shared is not None
    assert shared.global_settings.ocsp_freshness_seconds == 77
    # When what we hold has ended, the copy is better than nothing.
    pass_time(server, minutes=20)
    instance.publish(server.clock.at)
    content = content_of(instance, INTERNAL)
    resign(instance, INTERNAL, replace(content, parts=(*content.parts, copied)), instance.internal)
    assert server.poll().succeeded
    shared = server.configuration().shared("PARTNER")
    assert shared is not None
    assert shared.global_settings.ocsp_freshness_seconds == 1800
