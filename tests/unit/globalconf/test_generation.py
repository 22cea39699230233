from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.directory import verify_directory
from postroad.globalconf.extensions import FetchInterval, Monitoring
from postroad.globalconf.generation import (
    DirectorySigner,
    GenerationSettings,
    OptionalPart,
    generate,
    prepare,
    private_parameters_of,
    shared_parameters_of,
)
from postroad.globalconf.private_parameters import PrivateParameters
from postroad.globalconf.shared_parameters import SUPPORTED_VERSIONS, SharedParameters
from postroad.globalconf.stored import load
from support.globalconf import (
    NOW,
    OWNER,
    REGISTRY,
    SHOP,
    boundaries,
    signing_key,
    snapshot,
)

if TYPE_CHECKING:
    from postroad.globalconf.generation import GeneratedConfiguration, RegistrySnapshot

INTERNAL = signing_key("generation-internal")
EXTERNAL = signing_key("generation-external", "RSA")
STAMP = "20260301120000250000000"


def generated(
    registry: RegistrySnapshot | None = None,
    *,
    internal: DirectorySigner | None = None,
    **settings: Any,
) -> GeneratedConfiguration:
    return generate(
        registry or snapshot(),
        at=NOW,
        internal=internal or INTERNAL.signer(),
        external=EXTERNAL.signer(),
        boundary=boundaries(),
        settings=GenerationSettings(**settings),
    )


def test_publishes_every_version_with_parts_in_a_stamped_directory() -> None:
    files = generated().files
    expected = {
        path
        for version in SUPPORTED_VERSIONS
        for path in (
            f"V{version}/internalconf",
            f"V{version}/externalconf",
            f"V{version}/{STAMP}/shared-params.xml",
            f"V{version}/{STAMP}/private-params.xml",
        )
    }
    assert set(files) == expected


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
def test_every_version_verifies_and_reads_back_as_the_registry_says(version: int) -> None:
    result = generated()
    directory = verify_directory(
        result.files[f"V{version}/internalconf"], [INTERNAL.certificate], at=NOW
    )
    assert directory.version == version
    assert directory.expires_at == NOW.replace(microsecond=0) + timedelta(seconds=600)
    contents = {}
    for part in directory.parts:
        content = result.files[part.location.lstrip("/")]
        assert part.matches(content)
        assert part.instance == "TEST"
        assert part.digest_algorithm is DigestAlgorithm.SHA512
        contents[part.identifier] = content
    private = PrivateParameters.parse(contents["PRIVATE-PARAMETERS"], version)
    assert private == private_parameters_of(snapshot())
    shared = SharedParameters.parse(contents["SHARED-PARAMETERS"], version)
    expected = shared_parameters_of(snapshot(), version)
    assert shared.members[0].name == expected.members[0].name
    assert [s.clients for s in shared.security_servers] == [
        s.clients for s in expected.security_servers
    ]
    if version == 6:
        assert shared == expected


def test_the_external_directory_lists_shared_parameters_only() -> None:
    part = OptionalPart("MONITORING", Monitoring(REGISTRY).encode())
    result = generated(replace(snapshot(), optional_parts=(part,)))
    for version in SUPPORTED_VERSIONS:
        external = verify_directory(
            result.files[f"V{version}/externalconf"], [EXTERNAL.certificate], at=NOW
        )
        assert [entry.identifier for entry in external.parts] == ["SHARED-PARAMETERS"]
        internal = verify_directory(
            result.files[f"V{version}/internalconf"], [INTERNAL.certificate], at=NOW
        )
        assert {entry.identifier for entry in internal.parts} == {
            "PRIVATE-PARAMETERS",
            "SHARED-PARAMETERS",
            "MONITORING",
        }


def test_old_versions_hash_authentication_certificates_with_sha1() -> None:
    assert {
        version: len(
            shared_parameters_of(snapshot(), version).security_servers[0].auth_certificate_hashes[0]
        )
        for version in SUPPORTED_VERSIONS
    } == {2: 20, 3: 32, 4: 32, 5: 32, 6: 32}


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
def test_before_version_5_maintenance_hides_the_subsystems_of_a_server(version: int) -> None:
    server = shared_parameters_of(snapshot(), version).security_servers[1]
    if version < 5:
        assert server.clients == (OWNER,)
        assert server.maintenance is None
    else:
        assert server.clients == (OWNER, SHOP)
        assert server.maintenance == "back at noon"


def test_the_owner_is_not_repeated_among_the_clients() -> None:
    registry = snapshot()
    server = replace(registry.security_servers[0], clients=(OWNER, SHOP))
    shared = shared_parameters_of(replace(registry, security_servers=(server,)), 6)
    assert shared.security_servers[0].clients == (SHOP,)


def test_trusted_anchors_are_distributed_in_private_parameters() -> None:
    anchor = Anchor("FI", NOW.replace(microsecond=0), (Source("http://fi/externalconf", (b"A",)),))
    result = generated(replace(snapshot(), trusted_anchors=(anchor,)))
    content = result.files[f"V6/{STAMP}/private-params.xml"]
    assert PrivateParameters.parse(content, 6).trusted_anchors == (anchor,)


def test_older_versions_can_be_left_out() -> None:
    files = generated(oldest_version=5).files
    assert {path.partition("/")[0] for path in files} == {"V5", "V6"}


def test_validity_is_a_setting() -> None:
    result = generated(validity=timedelta(days=1))
    assert result.expires_at == NOW.replace(microsecond=0) + timedelta(days=1)


@pytest.mark.parametrize(
    "settings",
    [{"oldest_version": 1}, {"oldest_version": 7}, {"validity": timedelta(0)}],
)
def test_refuses_impossible_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        generated(**settings)


def test_the_stored_copy_holds_the_newest_version_and_its_optional_parts() -> None:
    interval = FetchInterval(timedelta(seconds=90))
    registry = replace(
        snapshot(), optional_parts=(OptionalPart("FETCHINTERVAL", interval.encode()),)
    )
    configuration = load(generated(registry).stored_copy)
    configuration.ensure_valid(NOW)
    assert configuration.version == 6
    assert configuration.ocsp_fetch_interval == interval.interval


def test_raw_ecdsa_values_are_turned_into_the_form_that_clients_read() -> None:
    result = generated(internal=INTERNAL.signer(ecdsa_raw=True))
    for version in SUPPORTED_VERSIONS:
        data = result.files[f"V{version}/internalconf"]
        value = data.split(b"\r\n\r\n")[-1].split(b"\r\n")[0]
        assert value.startswith(b"M")  # Base64 of a DER sequence
        verify_directory(data, [INTERNAL.certificate], at=NOW)


@pytest.mark.parametrize("value", [b"", b"nonsense", bytes(64)])
def test_publishes_nothing_that_is_not_signed_well(value: bytes) -> None:
    broken = DirectorySigner(INTERNAL.certificate, INTERNAL.algorithm, lambda data: value)
    with pytest.raises(ConfigurationError) as caught:
        generated(internal=broken)
    assert caught.value.code is FaultCode.CANNOT_SIGN


def test_publishes_nothing_signed_with_another_key_than_the_certificate_holds() -> None:
    other = signing_key("other")
    mixed = DirectorySigner(INTERNAL.certificate, other.algorithm, other.signer().sign)
    with pytest.raises(ConfigurationError) as caught:
        generated(internal=mixed)
    assert caught.value.code is FaultCode.CANNOT_SIGN


def test_refuses_a_signing_certificate_that_cannot_be_read() -> None:
    broken = DirectorySigner(b"garbage", INTERNAL.algorithm, INTERNAL.signer().sign)
    with pytest.raises(ConfigurationError) as caught:
        generated(internal=broken)
    assert caught.value.code is FaultCode.CANNOT_SIGN


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": ()},
        {"members": ()},
        {"instance": "it's"},
        {"ocsp_freshness_seconds": 0},
        {"timestamping_interval_seconds": -1},
        {"optional_parts": (OptionalPart("MONITORING", b"garbage"),)},
        {"optional_parts": (OptionalPart("FOO", b"<x/>"),)},
        {"optional_parts": (OptionalPart("MONITORING", Monitoring().encode()),) * 2},
    ],
)
def test_one_value_that_cannot_be_written_stops_every_version(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        generated(replace(snapshot(), **changes))


def test_signing_may_happen_apart_from_preparing() -> None:
    prepared = prepare(snapshot(), at=NOW, boundary=boundaries())
    keys = {True: INTERNAL, False: EXTERNAL}
    signatures = [
        keys[pending.is_internal].signer().sign(pending.signed) for pending in prepared.pending
    ]
    result = prepared.assemble(
        signatures,
        internal=(INTERNAL.certificate, INTERNAL.algorithm),
        external=(EXTERNAL.certificate, EXTERNAL.algorithm),
    )
    assert set(result.files) == set(generated().files)


def test_boundaries_never_repeat_within_a_generation() -> None:
    asked: list[str] = []

    def boundary() -> str:
        asked.append(f"b{len(asked)}")
        return asked[-1]

    prepare(snapshot(), at=NOW, boundary=boundary)
    assert len(asked) == 2 * 2 * len(SUPPORTED_VERSIONS)
