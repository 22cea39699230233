from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.errors import MalformedInput
from postroad.messages.events import SoapMessage
from postroad.messages.soap import SoapEnvelope
from postroad.messages.soap_reading import read_soap
from postroad.securityserver.resources import Resources
from postroad.securityserver.soap_package import OutgoingPackage, boundary_guard
from postroad.securityserver.spool import BodyBuffer
from postroad.securityserver.transport import Attachment
from support.soap_messages import envelope


def written(tmp_path: Path, original_type: str, *octets: bytes) -> tuple[OutgoingPackage, bytes]:
    document = read_soap(envelope())
    assert isinstance(document, SoapEnvelope)
    soap = SoapMessage("text/xml", (("Content-ID", "<1>"),), document)

    async def write(resources: Resources) -> tuple[OutgoingPackage, bytes]:
        attachments = []
        for data in octets:
            body = BodyBuffer(tmp_path)
            resources.callback(body.close)
            await body.write(data)
            await body.finish()
            attachments.append(Attachment(body, "a/b", (("X", "1"),)))
        package = OutgoingPackage(original_type, soap, document, attachments)
        return package, b"".join([data async for data in package.chunks()])

    with Resources() as resources:
        return asyncio.run(write(resources))


@pytest.mark.parametrize("original_type", ["", "text/xml", "multipart/related; boundary=b"])
@pytest.mark.parametrize("octets", [(), (b"",), (b"one", bytes(200_000))])
def test_the_size_is_known_before_it_is_written(
    tmp_path: Path, original_type: str, octets: tuple[bytes, ...]
) -> None:
    package, data = written(tmp_path, original_type, *octets)
    assert package.size == len(data)
    assert envelope() in data
    assert package.content_type.startswith(
        "multipart/related" if octets or "related" in original_type else "text/xml"
    )


def test_a_boundary_of_our_own_is_random(tmp_path: Path) -> None:
    types = {written(tmp_path, "text/xml", b"one")[0].content_type for _ in range(5)}
    assert len(types) == 5


def test_only_packages_have_a_boundary_to_guard() -> None:
    assert boundary_guard("") is None
    assert boundary_guard("text/xml") is None
    guard = boundary_guard("multipart/related; boundary=b")
    assert guard is not None
    with pytest.raises(MalformedInput):
        guard.feed(b"--b")
