from __future__ import annotations

import zipfile

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.linking_info import ArchiveEnd, LinkedFile, LinkingInfo, link
from support.signing import REFERENCE

CHAIN = REFERENCE / "messagelog" / "archive-chain"


@pytest.mark.parametrize("name", ["message-archive-0.zip", "message-archive-1.zip"])
def test_the_references_own_file_is_written_byte_for_byte(name: str) -> None:
    with zipfile.ZipFile(CHAIN / name) as archive:
        data = archive.read("linkinginfo")
        previous = LinkingInfo.parse(data).previous
        digest, files = previous.digest, []
        for entry in archive.namelist()[:-1]:
            content = DigestAlgorithm.SHA512.digest(archive.read(entry))
            digest = link(digest, content, DigestAlgorithm.SHA512)
            files.append(LinkedFile(entry, digest))
    assert LinkingInfo(previous, DigestAlgorithm.SHA512, tuple(files)).encode() == data


def test_a_name_may_hold_spaces() -> None:
    written = LinkingInfo(
        ArchiveEnd("ab", "mlog-A B-1.zip"),
        DigestAlgorithm.SHA256,
        (LinkedFile("a+b-request-1.asice", "cd"),),
    )
    assert LinkingInfo.parse(written.encode()) == written
    assert LinkingInfo.parse(written.encode().removesuffix(b"\n")) == written


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-",
        b"- -",
        b"- - SHA-1\n",
        b"- - MD5\n",
        b"ab - SHA-512\n",
        b"- name SHA-512\n",
        b"- - SHA-512\nab\n",
        b"- - SHA-512\n\n",
        b"- - SHA-512\n ab\n",
        b"\xff",
    ],
)
def test_refuses_what_is_not_in_its_form(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        LinkingInfo.parse(data)
    assert caught.value.code is FaultCode.MLOG_INVALID_ARCHIVE
