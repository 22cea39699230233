from __future__ import annotations

from datetime import timedelta

import pytest

from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.configurationproxy.instances import (
    MAX_KEYS,
    activate_signing_key,
    add_signing_key,
    create_instance,
    delete_signing_key,
    list_instances,
    load_instance,
)
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, PostroadError
from postroad.globalconf.anchor import Anchor
from support.configuration_proxy import Proxy, with_settings
from support.globalconf import NOW


def test_the_first_key_is_active_and_its_certificate_carries_it(proxy: Proxy) -> None:
    instance = load_instance(proxy.settings, "PX")
    assert instance.active_key == instance.keys[0]
    certificate = Certificate.from_der(instance.certificate(instance.keys[0]))
    assert "N/A" in certificate.subject_rfc2253
    assert instance.validity == timedelta(seconds=600)


def test_the_anchor_names_the_source_and_the_proxys_addresses_and_keys(proxy: Proxy) -> None:
    second = add_signing_key(proxy.settings, "PX", proxy.token, KeyAlgorithm.RSA)
    activate_signing_key(proxy.settings, "PX", second)
    instance = load_instance(proxy.settings, "PX")
    anchor = Anchor.parse(instance.build_anchor(proxy.settings, at=NOW).encode())
    assert anchor.instance == "TEST"
    assert [source.download_url for source in anchor.sources] == [
        "http://proxy.example/PX/conf",
        "https://proxy.example/PX/conf",
    ]
    active, other = instance.certificate(second), instance.certificate(instance.keys[0])
    for source in anchor.sources:
        assert source.verification_certificates == (active, other)


def test_there_is_no_anchor_without_address_or_key(proxy: Proxy) -> None:
    made = create_instance(proxy.settings, "NEW", proxy.source.anchor().encode())
    with pytest.raises(ConfigurationError) as caught:
        made.build_anchor(proxy.settings, at=NOW)
    assert caught.value.code is FaultCode.KEY_NOT_FOUND
    with_settings(proxy, address="")
    with pytest.raises(ConfigurationError, match="no address"):
        load_instance(proxy.settings, "PX").build_anchor(proxy.settings, at=NOW)


def test_an_instance_is_made_once(proxy: Proxy) -> None:
    with pytest.raises(ConfigurationError, match="already"):
        create_instance(proxy.settings, "PX", proxy.source.anchor().encode())


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "ü", "x" * 65, "-x"])
def test_a_name_that_could_leave_the_folder_is_refused(proxy: Proxy, name: str) -> None:
    with pytest.raises(ConfigurationError, match="can't name"):
        create_instance(proxy.settings, name, proxy.source.anchor().encode())


def test_nothing_is_left_of_an_instance_that_could_not_be_made(proxy: Proxy) -> None:
    anchor = proxy.source.anchor().encode()
    with pytest.raises(MalformedInput):
        create_instance(proxy.settings, "NEW", b"no anchor")
    with pytest.raises(ConfigurationError):
        create_instance(proxy.settings, "NEW", anchor, validity=1)
    with pytest.raises(ConfigurationError):
        create_instance(proxy.settings, "NEW", anchor, federations='"\nx = 1')
    assert [instance.name for instance in list_instances(proxy.settings)] == ["PX"]


def test_the_key_that_signs_is_not_deleted(proxy: Proxy) -> None:
    instance = load_instance(proxy.settings, "PX")
    with pytest.raises(ConfigurationError, match="signs"):
        delete_signing_key(proxy.settings, "PX", proxy.token, instance.keys[0])
    for call in (
        lambda: delete_signing_key(proxy.settings, "PX", proxy.token, "00" * 20),
        lambda: activate_signing_key(proxy.settings, "PX", "../../x"),
    ):
        with pytest.raises(PostroadError) as caught:
            call()
        assert caught.value.code is FaultCode.KEY_NOT_FOUND


def test_a_deleted_key_leaves_nothing(proxy: Proxy) -> None:
    key = add_signing_key(proxy.settings, "PX", proxy.token, KeyAlgorithm.EC)
    path = load_instance(proxy.settings, "PX").certificate_path(key)
    assert path.exists()
    delete_signing_key(proxy.settings, "PX", proxy.token, key)
    assert not path.exists()
    assert key not in load_instance(proxy.settings, "PX").keys
    assert not list(proxy.settings.token_path.rglob(f"{key}*"))


def test_the_number_of_keys_is_bounded(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroad.configurationproxy.instances.MAX_KEYS", 1)
    assert MAX_KEYS > 1
    with pytest.raises(ConfigurationError, match="delete one first"):
        add_signing_key(proxy.settings, "PX", proxy.token, KeyAlgorithm.EC)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "unknown = 1",
        "validity_interval_seconds = 0",
        'active_signing_key_id = "../../x"',
        'signing_key_ids = ["x"]',
    ],
)
def test_a_broken_file_is_told(proxy: Proxy, text: str) -> None:
    (proxy.settings.instances_path / "PX" / "instance.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"instance\.toml"):
        load_instance(proxy.settings, "PX")
