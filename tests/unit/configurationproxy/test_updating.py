from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.configurationproxy.instances import (
    activate_signing_key,
    add_signing_key,
    create_instance,
    delete_signing_key,
    load_instance,
)
from postroad.configurationproxy.publishing import published
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.generation import GenerationSettings
from support.configuration_proxy import Proxy, with_settings
from support.globalconf import NOW

if TYPE_CHECKING:
    from pathlib import Path


def pass_time(proxy: Proxy, **delta: float) -> None:
    proxy.clock.at += timedelta(**delta)
    for each in (proxy.source, proxy.partner):
        each.publish(proxy.clock.at)


def test_every_version_is_passed_on(proxy: Proxy) -> None:
    report = proxy.update()
    assert report.error is None
    assert [each.version for each in report.versions] == [6, 5, 4, 3, 2]
    assert [each.error for each in report.versions] == [None] * 5
    public = proxy.settings.public_path / "PX"
    assert set(published(public)) == {2, 3, 4, 5, 6}
    assert {path.name for path in public.iterdir() if path.is_file()} == {
        f"conf-v{version}" for version in range(2, 7)
    }


def test_the_oldest_version_is_a_setting(proxy: Proxy) -> None:
    with_settings(proxy, minimum_version=5)
    proxy.update()
    assert set(published(proxy.settings.public_path / "PX")) == {5, 6}


def test_a_security_server_lives_on_the_proxy_alone(proxy: Proxy, tmp_path: Path) -> None:
    proxy.update()
    server = proxy.client(tmp_path / "ss")
    report = server.poll()
    assert report.succeeded
    assert report.own.version == 6
    configuration = server.configuration()
    configuration.ensure_valid(NOW)
    assert configuration.own_instance == "TEST"
    own = configuration.shared("TEST")
    assert own is not None
    assert [source.address for source in own.sources] == ["proxy.example"]
    # From now on the addresses come from the shared parameters, and are the proxy's again.
    pass_time(proxy, minutes=1)
    proxy.update()
    assert server.poll().succeeded
    assert all("proxy.example" in url for url in server.network.asked)


def test_a_client_of_an_old_version_finds_it(proxy: Proxy, tmp_path: Path) -> None:
    for path in [path for path in proxy.source.files if path.startswith(("V4", "V5", "V6"))]:
        del proxy.source.files[path]
    report = proxy.update()
    assert [each.version for each in report.versions if each.error is None] == [3, 2]
    assert proxy.client(tmp_path / "ss").poll().own.version == 3


def test_federated_instances_come_through_the_proxy(proxy: Proxy, tmp_path: Path) -> None:
    proxy.federate()
    proxy.update()
    server = proxy.client(tmp_path / "ss", allowed="PARTNER")
    assert server.poll().succeeded
    assert server.configuration().instances == ("TEST", "PARTNER")
    unwilling = proxy.client(tmp_path / "ss2")
    assert unwilling.poll().succeeded
    assert unwilling.configuration().instances == ("TEST",)


def test_a_federated_instance_that_cannot_be_renewed_ends_at_the_client_too(
    proxy: Proxy, tmp_path: Path
) -> None:
    """The reference's proxy would sign it anew for ever (G-09)."""
    with_settings(proxy, minimum_version=6)
    for each in (proxy.source, proxy.partner):
        each.settings = GenerationSettings(oldest_version=6)
    proxy.federate()
    proxy.update()
    server = proxy.client(tmp_path / "ss", allowed="all")
    server.poll()
    proxy.network.broken.add("partner.example")
    for _minute in range(11):
        pass_time(proxy, minutes=1)
        report = proxy.update()
        assert report.error is None
        assert server.poll().succeeded
        server.configuration().ensure_valid(proxy.clock.at)
    assert report.versions[0].left_out == ("PARTNER",)
    assert report.versions[0].federated_errors
    assert server.configuration().visible_at(proxy.clock.at).instances == ("TEST",)


def test_an_instance_that_is_dropped_at_the_source_is_dropped_here(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.federate()
    proxy.update()
    proxy.source.registry = type(proxy.source)().registry
    pass_time(proxy, minutes=1)
    proxy.update()
    (directory,) = [published(proxy.settings.public_path / "PX")[6]]
    assert {part.instance for part in directory.parts} == {"TEST"}


def test_a_source_that_is_gone_ends_at_the_proxy_when_its_configuration_does(
    proxy: Proxy,
) -> None:
    proxy.update()
    before = published(proxy.settings.public_path / "PX")
    proxy.network.broken.add("cs.example")
    proxy.clock.at += timedelta(minutes=5)
    report = proxy.update()
    assert report.error is not None
    # Nothing is signed anew meanwhile, and nothing is taken away before its time.
    assert published(proxy.settings.public_path / "PX") == before
    proxy.clock.at += timedelta(minutes=6)
    proxy.update()
    assert published(proxy.settings.public_path / "PX") == {}


def test_a_forged_source_is_not_passed_on(proxy: Proxy) -> None:
    proxy.source.internal = proxy.source.external
    proxy.source.publish()
    report = proxy.update()
    assert report.error is not None
    assert report.error.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT
    assert published(proxy.settings.public_path / "PX") == {}


def test_an_external_source_gives_shared_parameters_only(proxy: Proxy, tmp_path: Path) -> None:
    anchor = proxy.source.anchor(external=True).encode()
    create_instance(proxy.settings, "EXT", anchor)
    add_signing_key(proxy.settings, "EXT", proxy.token, KeyAlgorithm.EC)
    assert proxy.update("EXT").error is None
    directory = published(proxy.settings.public_path / "EXT")[6]
    assert [part.identifier for part in directory.parts] == ["SHARED-PARAMETERS"]


def test_keys_rotate_without_a_new_anchor(proxy: Proxy, tmp_path: Path) -> None:
    """A client that polls learns of the new key before it signs."""
    server = proxy.client(tmp_path / "ss")
    proxy.update()
    assert server.poll().succeeded
    first = load_instance(proxy.settings, "PX").active_key
    second = add_signing_key(proxy.settings, "PX", proxy.token, KeyAlgorithm.EC)
    assert load_instance(proxy.settings, "PX").active_key == first
    with pytest.raises(ConfigurationError, match="not published yet"):
        activate_signing_key(proxy.settings, "PX", second)
    pass_time(proxy, minutes=1)
    proxy.update()
    assert server.poll().succeeded
    activate_signing_key(proxy.settings, "PX", second)
    delete_signing_key(proxy.settings, "PX", proxy.token, first or "")
    pass_time(proxy, minutes=1)
    proxy.update()
    assert server.poll().succeeded


def test_in_an_emergency_a_key_signs_that_was_never_published(proxy: Proxy) -> None:
    proxy.update()
    second = add_signing_key(proxy.settings, "PX", proxy.token, KeyAlgorithm.EC)
    activate_signing_key(proxy.settings, "PX", second, force=True)
    assert load_instance(proxy.settings, "PX").active_key == second


def test_generations_are_forgotten_once_nobody_needs_them(proxy: Proxy) -> None:
    public = proxy.settings.public_path / "PX"

    def generations() -> set[str]:
        return {path.name for path in public.iterdir() if path.is_dir()}

    proxy.update()
    first = generations()
    assert len(first) == 5
    pass_time(proxy, minutes=9)
    proxy.update()
    assert first <= generations()
    pass_time(proxy, minutes=2)
    proxy.update()
    assert not first & generations()


def test_without_a_key_or_an_address_nothing_is_published(proxy: Proxy) -> None:
    create_instance(proxy.settings, "NEW", proxy.source.anchor().encode())
    report = proxy.update("NEW")
    assert report.error is not None
    assert report.error.code is FaultCode.KEY_NOT_FOUND
    with_settings(proxy, address="")
    assert proxy.update("PX").error is not None


def test_an_unknown_instance_is_refused(proxy: Proxy) -> None:
    with pytest.raises(ConfigurationError, match="no proxy instance"):
        proxy.update("NOBODY")
