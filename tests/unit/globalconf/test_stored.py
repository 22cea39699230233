from __future__ import annotations

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.extensions import FetchInterval, NextUpdate
from postroad.globalconf.stored import (
    MAX_INSTANCES,
    ConfigurationLoader,
    encode_layout,
    load,
    load_parts,
)
from support.globalconf import HANDMADE, NOW, STORED, Instance, files_below


def stored(name: str) -> dict[str, bytes]:
    return files_below(STORED / name)


@pytest.mark.parametrize(
    ("name", "instances", "version"),
    [
        ("globalconf_good_v2", ("EE", "bar", "foo"), 2),
        ("globalconf_good_v3", ("EE", "bar", "foo_v2"), 3),
        ("globalconf_good_v4", ("EE", "bar", "baz_v3", "foo_v2"), 4),
        ("globalconf_good_v6", ("EE", "bar", "baz_v3", "foo_v2", "quux_v5", "qux_v4"), 6),
        ("globalconf_good2_v3", ("DEV",), 3),
    ],
)
def test_loads_real_directories_with_mixed_versions(
    name: str, instances: tuple[str, ...], version: int
) -> None:
    configuration = load(stored(name))
    assert configuration.instances == instances
    assert configuration.version == version
    assert configuration.warnings == ()


def test_foreign_private_parameters_are_not_ours_to_use() -> None:
    configuration = load(stored("globalconf_good_v2"))
    foo = configuration.instance("foo")
    assert foo is not None
    assert foo.private is None
    assert configuration.private.instance == "EE"
    assert configuration.shared("unknown") is None


def test_metadata_without_expiry_never_expires() -> None:
    configuration = load(stored("globalconf_good2_v3"))
    assert configuration.expires_at is None


def test_broken_parts_are_left_out_with_a_warning() -> None:
    configuration = load(stored("globalconf_malformed"))
    assert configuration.instances == ()
    assert len(configuration.warnings) == 1


def test_refuses_a_directory_without_any_instance() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(stored("globalconf_empty"))
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


@pytest.mark.parametrize("identifier", [None, b"", b" \n", b"\xff", b"x" * 5000])
def test_refuses_a_directory_without_instance_identifier(identifier: bytes | None) -> None:
    files = stored("globalconf_missing_identifier")
    if identifier is not None:
        files["instance-identifier"] = identifier
    with pytest.raises(ConfigurationError) as caught:
        load(files)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_refuses_absurdly_many_instances() -> None:
    files = {f"i{n}/shared-params.xml": b"" for n in range(MAX_INSTANCES + 1)}
    with pytest.raises(ConfigurationError):
        load({"instance-identifier": b"EE", **files})


def test_ignores_hidden_directories_and_stray_files() -> None:
    files = stored("globalconf_good_v2")
    for path in (".new/shared-params.xml", "files", "EE/a/b", "EE/other.xml"):
        files[path] = b"garbage"
    assert load(files).warnings == ()


def test_a_file_about_another_instance_is_left_out() -> None:
    files = stored("globalconf_good_v2")
    files["bar/shared-params.xml"] = files["foo/shared-params.xml"]
    configuration = load(files)
    assert configuration.shared("bar") is None
    assert "instance 'foo'" in configuration.warnings[0]


@pytest.mark.parametrize("metadata", [b"{", b'{"configurationVersion":"9"}'])
def test_a_part_with_broken_metadata_is_left_out(metadata: bytes) -> None:
    files = stored("globalconf_good_v2")
    files["bar/shared-params.xml.metadata"] = metadata
    configuration = load(files)
    assert configuration.shared("bar") is None
    assert len(configuration.warnings) == 1


def test_a_broken_reload_keeps_the_earlier_state_and_says_so() -> None:
    loader = ConfigurationLoader()
    files = stored("globalconf_good_v2")
    before = loader.load(files)
    broken = loader.load({**files, "bar/shared-params.xml": b"garbage"})
    assert broken.shared("bar") is before.shared("bar")
    assert "earlier state is kept" in broken.warnings[0]
    assert loader.load(files).warnings == ()


def test_a_removed_part_is_not_kept() -> None:
    loader = ConfigurationLoader()
    files = stored("globalconf_good_v2")
    loader.load(files)
    del files["bar/shared-params.xml"]
    assert loader.load(files).shared("bar") is None


def test_a_reload_parses_only_what_changed() -> None:
    loader = ConfigurationLoader()
    files = stored("globalconf_good_v2")
    before = loader.load(files)
    later = b'{"expirationDate":"2125-01-01T00:00:00Z"}'
    after = loader.load({**files, "EE/shared-params.xml.metadata": later})
    assert after.shared("EE") is before.shared("EE")
    assert after.own.shared_expires_at is not None
    assert after.own.shared_expires_at.year == 2125


def test_optional_parts_of_our_own_instance_are_used() -> None:
    files = stored("globalconf_good_v6")
    files["EE/fetchinterval-params.xml"] = (
        HANDMADE / "valid-fetchinterval-params.xml"
    ).read_bytes()
    files["EE/nextupdate-params.xml"] = NextUpdate(verify=False).encode()
    files["EE/monitoring-params.xml"] = (HANDMADE / "valid-monitoring-params.xml").read_bytes()
    files["bar/nextupdate-params.xml"] = b"foreign garbage"
    configuration = load(files)
    assert configuration.ocsp_fetch_interval.total_seconds() == 500
    assert configuration.ocsp_policy.verify_next_update is False
    assert str(configuration.monitoring_client) == "fdev/GOV/66655666"
    assert configuration.warnings == ()


def test_missing_optional_parts_mean_their_defaults() -> None:
    configuration = load(stored("globalconf_good_v6"))
    assert configuration.ocsp_fetch_interval == FetchInterval().interval
    assert configuration.ocsp_policy.verify_next_update is True
    assert configuration.monitoring_client is None


def test_a_generated_copy_loads_as_our_own_configuration() -> None:
    instance = Instance(name="a b/c", at=NOW)
    generated = instance.generated()
    configuration = load(generated.stored_copy)
    assert configuration.own_instance == "a b/c"
    assert configuration.version == 6
    assert configuration.expires_at == generated.expires_at
    configuration.ensure_valid(NOW)


def test_parts_are_written_and_read_back() -> None:
    files = stored("globalconf_good_v6")
    parts = load_parts(files)
    written = encode_layout("EE", parts.items())
    assert load_parts(written) == parts
    assert written["EE/shared-params.xml"] == files["EE/shared-params.xml"]


def test_reading_parts_leaves_out_those_with_broken_metadata() -> None:
    files = {"EE/a.xml": b"1", "EE/b.xml": b"2", "EE/b.xml.metadata": b"{"}
    assert list(load_parts(files)["EE"]) == ["a.xml"]
