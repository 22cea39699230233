from __future__ import annotations

import struct
import zipfile
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.asic import (
    MIME_TYPE,
    AsicContainer,
    Attachment,
    ContainerLimits,
    container_file_name,
    encode_container,
    parse_container,
)
from support.signing import NOW, REFERENCE

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = AsicContainer(message=b"<m/>", signatures=b"<s/>")
FULL = AsicContainer(
    message=b"<m/>",
    signatures=b"<s/>",
    hash_chain_result=b"hr",
    hash_chain=b"hc",
    timestamp_chain_result=b"tr",
    timestamp_chain=b"tc",
    timestamp=b"token",
    attachments=(Attachment("attachment1", b"a1"), Attachment("attachment2", b"")),
)


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


MINIMUM = (
    ("mimetype", MIME_TYPE.encode()),
    ("message.xml", b"<m/>"),
    ("META-INF/signatures.xml", b"<s/>"),
)


def refused_with(code: FaultCode, data: bytes, **limits: int) -> MalformedInput:
    with pytest.raises(MalformedInput) as refused:
        parse_container(data, limits=ContainerLimits(**limits))
    assert refused.value.code is code, refused.value
    return refused.value


@pytest.mark.parametrize("container", [PLAIN, FULL], ids=["plain", "full"])
def test_what_was_written_is_read(container: AsicContainer) -> None:
    assert parse_container(encode_container(container, NOW)) == container


def test_entries_stand_in_the_order_of_the_reference() -> None:
    with zipfile.ZipFile(BytesIO(encode_container(FULL, NOW))) as archive:
        assert archive.namelist() == [
            "mimetype",
            "message.xml",
            "META-INF/signatures.xml",
            "sig-hashchainresult.xml",
            "sig-hashchain.xml",
            "ts-hashchainresult.xml",
            "ts-hashchain.xml",
            "META-INF/manifest.xml",
            "META-INF/ASiCManifest.xml",
            "META-INF/timestamp.tst",
            "attachment1",
            "attachment2",
        ]
        assert archive.read("mimetype") == b"application/vnd.etsi.asic-e+zip"
        assert archive.comment == b"mimetype=application/vnd.etsi.asic-e+zip"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}


def test_plain_container_has_no_time_stamp_entries() -> None:
    with zipfile.ZipFile(BytesIO(encode_container(PLAIN, NOW))) as archive:
        assert archive.namelist() == [
            "mimetype",
            "message.xml",
            "META-INF/signatures.xml",
            "META-INF/manifest.xml",
        ]


def test_entries_bear_the_moment_of_the_record() -> None:
    moment = datetime(2026, 3, 1, 12, 30, 44, tzinfo=UTC)
    with zipfile.ZipFile(BytesIO(encode_container(PLAIN, moment))) as archive:
        for info in archive.infolist():
            assert info.date_time == (2026, 3, 1, 12, 30, 44)
            assert info.extra == struct.pack("<HHBl", 0x5455, 5, 1, int(moment.timestamp()))


@pytest.mark.parametrize("year", [1970, 2050, 2200])
def test_writes_moments_that_a_zip_file_cannot_hold(year: int) -> None:
    data = encode_container(PLAIN, datetime(year, 1, 1, tzinfo=UTC))
    assert parse_container(data) == PLAIN


def test_writing_is_repeatable() -> None:
    assert encode_container(FULL, NOW) == encode_container(FULL, NOW)


def test_manifest_lists_what_is_not_about_the_container() -> None:
    with zipfile.ZipFile(BytesIO(encode_container(FULL, NOW))) as archive:
        root = etree.fromstring(archive.read("META-INF/manifest.xml"))
    name = "{urn:oasis:names:tc:opendocument:xmlns:manifest:1.0}"
    assert root.tag == name + "manifest"
    assert root.get(name + "version") == "1.2"
    assert [(entry.get(name + "full-path"), entry.get(name + "media-type")) for entry in root] == [
        ("/", MIME_TYPE),
        ("message.xml", "text/xml"),
        ("sig-hashchainresult.xml", "text/xml"),
        ("sig-hashchain.xml", "text/xml"),
        ("ts-hashchainresult.xml", "text/xml"),
        ("ts-hashchain.xml", "text/xml"),
        ("attachment1", "application/octet-stream"),
        ("attachment2", "application/octet-stream"),
    ]


def test_asic_manifest_is_that_of_the_reference_except_for_the_digest() -> None:
    with zipfile.ZipFile(REFERENCE / "asic" / "valid-batch-ts.asice") as archive:
        theirs = archive.read("META-INF/ASiCManifest.xml")
        result = archive.read("ts-hashchainresult.xml")
    container = AsicContainer(
        message=b"",
        signatures=b"",
        timestamp_chain_result=result,
        timestamp_chain=b"c",
        timestamp=b"t",
    )
    with zipfile.ZipFile(BytesIO(encode_container(container, NOW))) as archive:
        ours = archive.read("META-INF/ASiCManifest.xml")
    # The digest is over the same octets, so it's the same, too.
    assert ours.split() == theirs.split()


def test_refuses_to_write_attachments_of_other_names() -> None:
    container = AsicContainer(
        message=b"", signatures=b"", attachments=(Attachment("../attachment1", b""),)
    )
    with pytest.raises(ValueError):
        encode_container(container, NOW)


# --- reading --------------------------------------------------------------------------------


STRUCTURE = {
    "structure-no-mimetype": FaultCode.ASIC_MIME_TYPE_NOT_FOUND,
    "structure-not-asic": FaultCode.ASIC_MIME_TYPE_NOT_FOUND,
    "structure-no-message": FaultCode.ASIC_MESSAGE_NOT_FOUND,
    "structure-no-signature": FaultCode.ASIC_SIGNATURE_NOT_FOUND,
}


@pytest.mark.parametrize(("name", "code"), STRUCTURE.items(), ids=STRUCTURE.keys())
def test_refuses_the_broken_containers_of_the_reference(name: str, code: FaultCode) -> None:
    refused_with(code, (REFERENCE / "asic" / f"{name}.asice").read_bytes())


@pytest.mark.parametrize(
    "path", sorted((REFERENCE / "asic").glob("[!s]*.asice")), ids=lambda path: path.stem
)
def test_reads_the_containers_of_the_reference(path: Path) -> None:
    container = parse_container(path.read_bytes())
    assert container.message
    assert container.signatures


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], FaultCode.ASIC_MIME_TYPE_NOT_FOUND),
        ([("mimetype", b"application/zip")], FaultCode.ASIC_INVALID_MIME_TYPE),
        (MINIMUM[:1], FaultCode.ASIC_MESSAGE_NOT_FOUND),
        (MINIMUM[:2], FaultCode.ASIC_SIGNATURE_NOT_FOUND),
        ([*MINIMUM, ("sig-hashchain.xml", b"")], FaultCode.ASIC_HASH_CHAIN_RESULT_NOT_FOUND),
        ([*MINIMUM, ("sig-hashchainresult.xml", b"")], FaultCode.ASIC_HASH_CHAIN_NOT_FOUND),
        ([*MINIMUM, ("ts-hashchain.xml", b"")], FaultCode.ASIC_HASH_CHAIN_RESULT_NOT_FOUND),
        ([*MINIMUM, ("ts-hashchainresult.xml", b"")], FaultCode.ASIC_HASH_CHAIN_NOT_FOUND),
        (
            [*MINIMUM, ("ts-hashchain.xml", b"c"), ("ts-hashchainresult.xml", b"r")],
            FaultCode.ASIC_TIMESTAMP_NOT_FOUND,
        ),
        ([*MINIMUM, ("META-INF/timestamp.tst", b"")], FaultCode.ASIC_TIMESTAMP_NOT_FOUND),
        ([*MINIMUM, ("META-INF/manifest.xml", b" ")], FaultCode.ASIC_MANIFEST_NOT_FOUND),
        ([*MINIMUM, ("META-INF/ASiCManifest.xml", b"\n")], FaultCode.ASIC_MANIFEST_NOT_FOUND),
    ],
)
def test_tells_what_is_missing(entries: list[tuple[str, bytes]], code: FaultCode) -> None:
    refused_with(code, zipped(*entries))


def test_reads_names_in_any_letter_case() -> None:
    container = parse_container(
        zipped(
            ("MimeType", MIME_TYPE.encode() + b"\n"),
            ("Message.XML", b"<m/>"),
            ("meta-inf/my-Signatures-1.xml", b"<s/>"),
            ("Attachment1", b"a"),
            ("Sig-HashChain.xml", b"c"),
            ("sig-hashchainRESULT.xml", b"r"),
        )
    )
    assert (container.message, container.signatures) == (b"<m/>", b"<s/>")
    assert container.attachments == (Attachment("attachment1", b"a"),)
    assert (container.hash_chain, container.hash_chain_result) == (b"c", b"r")


def test_names_the_entries_that_it_does_not_read() -> None:
    data = zipped(*MINIMUM, ("folder/", b""), ("hashchain.xml", b"x"), ("META-INF/other", b"y"))
    assert parse_container(data).ignored == ("hashchain.xml", "META-INF/other")


@pytest.mark.parametrize(
    "name", ["message.xml", "MESSAGE.xml", "META-INF/signatures2.xml", "META-INF/SIGNATURES.xml"]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_two_entries_for_one_thing(name: str) -> None:
    error = refused_with(FaultCode.INVALID_MESSAGE, zipped(*MINIMUM, (name, b"other")))
    assert "two entries" in error.message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_refuses_two_entries_of_one_name_even_if_it_reads_neither() -> None:
    refused_with(FaultCode.INVALID_MESSAGE, zipped(*MINIMUM, ("x", b"1"), ("X", b"2")))


def test_refuses_too_many_entries() -> None:
    entries = [(f"e{number}", b"") for number in range(20)]
    refused_with(FaultCode.INVALID_MESSAGE, zipped(*MINIMUM, *entries), max_entries=10)


def test_refuses_what_unpacks_to_too_much() -> None:
    data = zipped(*MINIMUM, ("attachment1", b"x" * 5000))
    refused_with(FaultCode.INVALID_MESSAGE, data, max_total_bytes=4000)
    refused_with(FaultCode.INVALID_MESSAGE, data, max_ratio=2)
    assert len(parse_container(data).attachments[0].data) == 5000


def test_refuses_entries_that_overlap() -> None:
    data = bytearray(zipped(*MINIMUM, ("attachment1", b"x" * 1000), method=zipfile.ZIP_STORED))
    # Claim in the central directory that one entry is as large as several files.
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 24] = struct.pack("<L", 2_000_000)
    refused_with(FaultCode.INVALID_MESSAGE, bytes(data))


def test_refuses_an_entry_that_unpacks_to_more_than_it_claims() -> None:
    data = bytearray(zipped(*MINIMUM, ("attachment1", b"x" * 1000)))
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<L", 10)
    refused_with(FaultCode.ASIC_MIME_TYPE_NOT_FOUND, bytes(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_refuses_methods_of_compression_that_no_container_uses(method: int) -> None:
    refused_with(FaultCode.ASIC_MIME_TYPE_NOT_FOUND, zipped(*MINIMUM, method=method))


def test_refuses_an_entry_without_a_name() -> None:
    data = zipped(*MINIMUM, ("x", b""), method=zipfile.ZIP_STORED)
    at = data.rindex(b"PK\x01\x02")
    nameless = data[: at + 28] + b"\0\0" + data[at + 30 : at + 46] + data[at + 47 :]
    size = int.from_bytes(data[-10:-6], "little") - 1
    nameless = nameless[:-10] + size.to_bytes(4, "little") + nameless[-6:]
    refused_with(FaultCode.ASIC_MIME_TYPE_NOT_FOUND, nameless)


def test_refuses_encrypted_entries_and_unknown_methods() -> None:
    for offset, value in ((8, b"\x01\x00"), (10, b"\x63\x00")):
        data = bytearray(zipped(*MINIMUM))
        for signature, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):
            entry = data.index(signature) + offset + shift
            data[entry : entry + 2] = value
        refused_with(FaultCode.ASIC_MIME_TYPE_NOT_FOUND, bytes(data))


@pytest.mark.parametrize("cut", [0, 1, 30, 100])
def test_refuses_a_file_that_was_cut(cut: int) -> None:
    refused_with(FaultCode.ASIC_MIME_TYPE_NOT_FOUND, zipped(*MINIMUM)[:cut])


def test_refuses_an_entry_whose_check_sum_is_wrong() -> None:
    data = zipped(*MINIMUM, method=zipfile.ZIP_STORED).replace(b"<m/>", b"<n/>", 1)
    refused_with(FaultCode.ASIC_MIME_TYPE_NOT_FOUND, data)


# --- names of files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query_id", "escaped"),
    [
        ("abc-1.2_3*", "abc-1.2_3*"),
        ("a b", "a+b"),
        ("a/b\\c:d~", "a%2Fb%5Cc%3Ad%7E"),
        ("õ", "%C3%B5"),
        ("../x", "..%2Fx"),
        ("x" * 300, "x" * 226),
        ("/" * 100, ("%2F" * 100)[:226]),
    ],
)
def test_file_name_holds_the_escaped_query_id(query_id: str, escaped: str) -> None:
    name = container_file_name(query_id, is_response=True, record_id=1)
    assert name == f"{escaped}-response-1.asice"


@pytest.mark.parametrize(
    ("record_id", "text"), [(0, "0"), (31, "v"), (32, "10"), (1234567, "15lk7")]
)
def test_file_name_holds_the_record_in_base_32(record_id: int, text: str) -> None:
    name = container_file_name("q", is_response=False, record_id=record_id)
    assert name == f"q-request-{text}.asice"
    assert int(text, 32) == record_id
