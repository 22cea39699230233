from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf.anchor import (
    MAX_ANCHOR_BYTES,
    MAX_SOURCES,
    Anchor,
    Source,
    build_anchor,
    fingerprint,
)
from support.globalconf import ANCHORS, NOW


def read(name: str) -> bytes:
    return (ANCHORS / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "configuration_anchor_CS_internal.xml",
            "54:70:AF:FE:15:78:E0:03:69:FB:C3:BE:99:D0:B0:0B:D0:77:21:52:14:87:3D:2C:B3:6D:7C:C7",
        ),
        (
            "trusted-anchor.xml",
            "40:2A:4F:94:05:D2:9B:ED:C9:EE:A2:6D:EC:EC:11:94:5D:C9:A8:3E:29:1F:B2:92:A6:E4:DF:1D",
        ),
        (
            "internal-configuration-anchor.xml",
            "B3:7E:02:C0:B3:10:49:7C:05:D9:38:A8:C4:44:6D:FA:80:72:2F:97:12:38:52:BA:8B:F2:0D:57",
        ),
        (
            "trusted-anchor-2.xml",
            "95:6C:C8:A5:9B:B5:51:5A:FB:9F:9C:84:38:C0:62:6B:93:48:AE:D7:54:44:16:0C:83:28:59:54",
        ),
    ],
)
def test_fingerprint_is_what_people_see_in_the_reference(name: str, expected: str) -> None:
    assert fingerprint(read(name)) == expected


@pytest.mark.parametrize(
    ("name", "instance", "sources"),
    [
        ("configuration_anchor_CS_internal.xml", "DEV", 2),
        ("configuration-anchor1.xml", "EE", 3),
        ("trusted-anchor.xml", "CS0", 1),
        ("trusted-anchor-2.xml", "CS2", 1),
        ("trusted-anchor-CS2-E2E.xml", "CS2-E2E", 1),
        ("internal-configuration-anchor.xml", "CS", 1),
    ],
)
def test_reads_real_anchors(name: str, instance: str, sources: int) -> None:
    anchor = Anchor.parse(read(name))
    assert anchor.instance == instance
    assert len(anchor.sources) == sources
    assert all(source.verification_certificates for source in anchor.sources)


def test_real_anchors_differ_from_each_other_and_equal_themselves() -> None:
    one, two = (Anchor.parse(read(f"configuration-anchor{n}.xml")) for n in (1, 2))
    assert one == Anchor.parse(read("configuration-anchor1.xml"))
    assert one != two


def test_rebuilds_an_anchor_of_a_real_central_server_byte_for_byte() -> None:
    data = read("trusted-anchor.xml")
    anchor = Anchor.parse(data)
    assert anchor.generated_at == datetime(2023, 2, 15, 9, 26, 34, 235_000, tzinfo=UTC)
    assert anchor.encode() == data


@pytest.mark.parametrize("name", ["trusted-anchor-invalid-1.xml", "trusted-anchor-invalid-2.xml"])
def test_refuses_broken_anchors(name: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        Anchor.parse(read(name))
    assert caught.value.code is FaultCode.MALFORMED_ANCHOR


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<instanceIdentifier>CS0<", b"<instanceIdentifier> <"),
        (b"2023-02-15T09:26:34.235Z", b"2023-02-30T09:26:34.235Z"),
        (b"<verificationCert>MII", b"<verificationCert>***"),
        (b"<?xml", b"<!DOCTYPE x><?xml"),
    ],
)
def test_refuses_an_anchor_with_one_flaw(old: bytes, new: bytes) -> None:
    data = read("trusted-anchor.xml")
    assert old in data
    with pytest.raises(MalformedInput) as caught:
        Anchor.parse(data.replace(old, new))
    assert caught.value.code is FaultCode.MALFORMED_ANCHOR


def test_refuses_an_oversized_anchor_unread() -> None:
    with pytest.raises(MalformedInput) as caught:
        Anchor.parse(b" " * (MAX_ANCHOR_BYTES + 1))
    assert caught.value.code is FaultCode.MALFORMED_ANCHOR


def test_refuses_more_sources_than_any_real_anchor_has() -> None:
    source = Source("http://cs/internalconf", (b"certificate",))
    anchor = Anchor("TEST", NOW, (source,) * (MAX_SOURCES + 1))
    with pytest.raises(ConfigurationError):
        anchor.encode()


def test_generation_time_without_offset_is_utc() -> None:
    data = read("trusted-anchor.xml").replace(b"34.235Z", b"34")
    assert Anchor.parse(data).generated_at == datetime(2023, 2, 15, 9, 26, 34, tzinfo=UTC)


def test_generation_time_may_be_absent() -> None:
    anchor = replace(Anchor.parse(read("trusted-anchor.xml")), generated_at=None)
    assert Anchor.parse(anchor.encode()) == anchor


def test_builds_http_entries_of_all_nodes_before_their_https_twins() -> None:
    anchor = build_anchor(
        "TEST", [("cs1", [b"A", b"B"]), ("cs2", [b"C"])], directory="externalconf", at=NOW
    )
    assert [source.download_url for source in anchor.sources] == [
        "http://cs1/externalconf",
        "http://cs2/externalconf",
        "https://cs1/externalconf",
        "https://cs2/externalconf",
    ]
    assert anchor.sources[0].verification_certificates == (b"A", b"B")
    assert anchor.sources[3].verification_certificates == (b"C",)


def test_writes_no_anchor_that_nobody_could_use() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_anchor("TEST", [], directory="internalconf", at=NOW).encode()
    assert caught.value.code is FaultCode.MALFORMED_ANCHOR


@pytest.mark.parametrize("text", ["\x01", "\ud800"])
def test_writes_no_text_that_xml_cannot_carry(text: str) -> None:
    with pytest.raises(ConfigurationError):
        build_anchor(text, [("cs", [b"A"])], directory="internalconf", at=NOW).encode()
