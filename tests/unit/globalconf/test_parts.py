from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.parts import (
    MAX_METADATA_BYTES,
    PartMetadata,
    decode_directory_name,
    encode_directory_name,
    file_name_of,
    parse_version,
)
from support.globalconf import NOW, STORED


def test_reads_every_real_metadata_file() -> None:
    files = sorted(STORED.glob("*/*/*.metadata"))
    assert len(files) > 20
    for file in files:
        metadata = PartMetadata.parse(file.read_bytes())
        assert 2 <= metadata.version <= 6


def test_metadata_is_one_line_with_the_keys_that_readers_know() -> None:
    metadata = PartMetadata(
        content_identifier="SHARED-PARAMETERS",
        instance="Ü",
        expires_at=NOW,
        location="/V6/1/shared-params.xml",
        version=6,
    )
    assert metadata.encode().decode() == (
        '{"contentIdentifier":"SHARED-PARAMETERS","instanceIdentifier":"Ü",'
        '"expirationDate":"2026-03-01T12:00:00Z","contentLocation":"/V6/1/shared-params.xml",'
        '"configurationVersion":"6"}'
    )


def test_absent_keys_mean_the_oldest_version_that_never_expires() -> None:
    metadata = PartMetadata.parse(b"{}")
    assert (metadata.version, metadata.expires_at) == (2, None)


def test_unknown_keys_are_ignored() -> None:
    assert PartMetadata.parse(b'{"configurationVersion": 3, "other": []}').version == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 5000,
        b'{"expirationDate": 5}',
        b'{"expirationDate": "soon"}',
        b'{"configurationVersion": "7"}',
        b" " * (MAX_METADATA_BYTES + 1),
    ],
)
def test_refuses_broken_metadata(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        PartMetadata.parse(data)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


@pytest.mark.parametrize("text", ["1", "7", "06", "six", "", "-2"])
def test_refuses_versions_that_we_do_not_speak(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_version(text)


@pytest.mark.parametrize(
    ("instance", "name"),
    [
        ("EE", "EE"),
        ("ee-test_1.x*", "ee-test_1.x*"),
        ("a b/c~", "a+b%2Fc%7E"),
        ("Ü", "%C3%9C"),
        (".", "%2E"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("../x", "%2E.%2Fx"),
    ],
)
def test_an_instance_names_one_harmless_directory(instance: str, name: str) -> None:
    assert encode_directory_name(instance) == name
    assert decode_directory_name(name) == instance


@pytest.mark.parametrize("instance", ["", "x" * 256, "\ud800"])
def test_refuses_an_instance_that_cannot_name_a_directory(instance: str) -> None:
    with pytest.raises(MalformedInput):
        encode_directory_name(instance)


@pytest.mark.parametrize(
    ("identifier", "hint", "location", "name"),
    [
        ("SHARED-PARAMETERS", "other.xml", "/V6/1/x.xml", "shared-params.xml"),
        ("PRIVATE-PARAMETERS", None, "/x", "private-params.xml"),
        ("MONITORING", None, "/x", "monitoring-params.xml"),
        ("FOO", "foo.xml", "/x", "foo.xml"),
        ("FOO", None, "http://h/V6/foo.xml?a=/b#c", "foo.xml"),
    ],
)
def test_chooses_the_file_name(identifier: str, hint: str | None, location: str, name: str) -> None:
    assert file_name_of(identifier, hint, location) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a/b",
        ".hidden",
        "x.metadata",
        "shared-params.xml",
        "instance-identifier",
        "ä",
        "a\\b",
        "x" * 200,
        "a\n",
    ],
)
def test_refuses_file_names_that_leave_the_directory_or_collide(name: str) -> None:
    with pytest.raises(MalformedInput):
        file_name_of("FOO", name, f"/V6/{name}")
