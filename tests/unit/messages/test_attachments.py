from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.attachments import (
    BoundaryGuard,
    PackageEvent,
    PackageForm,
    PackageLimits,
    PackageReader,
    PackageWriter,
    package_form,
)
from postroad.messages.events import AttachmentData, AttachmentEnd, AttachmentStart, SoapMessage
from postroad.messages.soap import SoapFault
from support.soap_messages import body, envelope

RELATED = "multipart/related; boundary=b"
SOAP = envelope()


def part(
    content: bytes, content_type: str = "a/b", headers: str = "", boundary: str = "b"
) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n{headers}\r\n".encode() + content


def package(*parts: bytes) -> bytes:
    return b"".join((part(SOAP, "text/xml"), *parts, b"\r\n--b--\r\n"))


def read(
    data: bytes, content_type: str = RELATED, *, limits: PackageLimits | None = None
) -> list[PackageEvent]:
    reader = PackageReader(content_type, limits=limits)
    return [*reader.feed(data), *reader.finish()]


def refused(
    data: bytes, content_type: str = RELATED, limits: PackageLimits | None = None
) -> FaultCode:
    with pytest.raises(MalformedInput) as caught:
        read(data, content_type, limits=limits)
    return caught.value.code


def contents(events: list[PackageEvent]) -> list[bytes]:
    found: list[bytes] = []
    for event in events:
        if isinstance(event, AttachmentStart):
            found.append(b"")
        elif isinstance(event, AttachmentData):
            found[-1] += event.data
    return found


def test_reads_soap_alone() -> None:
    (event,) = read(SOAP, "text/xml; charset=utf-8")
    assert isinstance(event, SoapMessage)
    assert (event.content_type, event.headers, event.xml) == ("text/xml; charset=utf-8", (), SOAP)


def test_reads_a_package_of_soap_alone() -> None:
    (event,) = read(package())
    assert isinstance(event, SoapMessage)
    assert (event.content_type, event.xml) == ("text/xml", SOAP)


def test_tells_attachments_with_their_headers_in_order() -> None:
    events = read(package(part(b"1", "a/b; c=d", "X: 1\r\nx: 2\r\n"), part(b"")))
    assert events[1:] == [
        AttachmentStart(1, "a/b; c=d", (("X", "1"), ("x", "2"))),
        AttachmentData(b"1"),
        AttachmentEnd(),
        AttachmentStart(2, "a/b", ()),
        AttachmentEnd(),
    ]


def test_octets_are_never_decoded() -> None:
    events = read(
        package(part(b"=41\r\n", headers="Content-Transfer-Encoding: quoted-printable\r\n"))
    )
    assert contents(events) == [b"=41\r\n"]


@pytest.mark.parametrize("cut", range(0, 1400, 11))
def test_reads_a_package_split_at_any_byte(cut: int) -> None:
    inner = part(b"x", boundary="q") + part(b"y", boundary="q") + b"\r\n--q--"
    data = package(part(b"1\r\n--"), part(inner, "multipart/mixed; boundary=q"))
    reader = PackageReader(RELATED)
    events = [*reader.feed(data[:cut]), *reader.feed(data[cut:]), *reader.finish()]
    assert contents(events) == [b"1\r\n--", b"x", b"y"]


def test_a_fault_is_told_as_one() -> None:
    fault = envelope(body("<s:Fault><faultcode>c</faultcode></s:Fault>"))
    (event,) = read(fault, "text/xml")
    assert isinstance(event, SoapMessage)
    assert isinstance(event.document, SoapFault)
    assert event.xml == fault


def test_text_around_the_parts_is_dropped() -> None:
    assert contents(read(b"This is MIME." + package(part(b"1")) + b"The end.")) == [b"1"]


def test_the_last_delimiter_may_lack_its_end() -> None:
    data = package(part(b"1"))
    for cut in (2, 3, 4):  # "--b--", "--b-", "--b"
        assert contents(read(data[:-cut])) == [b"1"]
    assert refused(data[:-5]) is FaultCode.MIME_PARSING_FAILED


def test_a_multipart_without_a_boundary_is_an_attachment_like_any_other() -> None:
    assert contents(read(package(part(b"1", "multipart/mixed")))) == [b"1"]


@pytest.mark.parametrize(
    ("data", "content_type", "code"),
    [
        (b"", RELATED, FaultCode.MISSING_SOAP),
        (b"no parts", RELATED, FaultCode.MISSING_SOAP),
        (SOAP, "multipart/related", FaultCode.INVALID_CONTENT_TYPE),
        (SOAP, "text/plain", FaultCode.INVALID_CONTENT_TYPE),
        (b"", "text/xml", FaultCode.INVALID_SOAP),
        (part(SOAP) + b"\r\n--b--", RELATED, FaultCode.INVALID_CONTENT_TYPE),
        (b"--b\r\n\r\n" + SOAP + b"\r\n--b--", RELATED, FaultCode.INVALID_CONTENT_TYPE),
        (package(b"\r\n--b\r\nX: 1\r\n\r\n1"), RELATED, FaultCode.INVALID_CONTENT_TYPE),
        (package(part(b"1", "nonsense")), RELATED, FaultCode.INVALID_CONTENT_TYPE),
        (package(part(b"1", headers="no colon\r\n")), RELATED, FaultCode.MIME_PARSING_FAILED),
        (package(part(b"1"))[:-8], RELATED, FaultCode.MIME_PARSING_FAILED),
        (
            package(part(b"1", "multipart/mixed; boundary=q")),
            RELATED,
            FaultCode.MIME_PARSING_FAILED,
        ),
        (part(b"", "text/xml") + b"\r\n--b--", RELATED, FaultCode.INVALID_SOAP),
    ],
)
def test_refuses_a_broken_package(data: bytes, content_type: str, code: FaultCode) -> None:
    assert refused(data, content_type) is code


def test_bounds_parts_nesting_and_surrounding_text() -> None:
    limits = PackageLimits(parts=3, nesting=2, surrounding_bytes=100)
    assert len(contents(read(package(part(b""), part(b"")), limits=limits))) == 2
    assert refused(package(*[part(b"")] * 3), limits=limits) is FaultCode.MIME_PARSING_FAILED
    inner = part(b"1", boundary="r") + b"\r\n--r--"
    middle = part(inner, "multipart/mixed; boundary=r", boundary="q") + b"\r\n--q--"
    nested = package(part(middle, "multipart/mixed; boundary=q"))
    assert contents(read(nested)) == [b"1"]
    assert refused(nested, limits=limits) is FaultCode.MIME_PARSING_FAILED
    assert refused(b"x" * 101 + package(), limits=limits) is FaultCode.MIME_PARSING_FAILED


def test_parts_of_inner_multiparts_count_together() -> None:
    inner = b"".join((*[part(b"1", boundary="q")] * 3, b"\r\n--q--"))
    data = package(*[part(inner, "multipart/mixed; boundary=q")] * 2)
    assert len(contents(read(data))) == 6
    assert refused(data, limits=PackageLimits(parts=6)) is FaultCode.MIME_PARSING_FAILED


@pytest.mark.parametrize(
    ("original", "codec", "has_attachments", "form"),
    [
        ("text/xml", "utf-8", False, PackageForm("text/xml; charset=UTF-8", None)),
        ("", "ascii", False, PackageForm("text/xml; charset=UTF-8", None)),
        ("application/xop+xml", "utf-8", False, PackageForm("text/xml; charset=UTF-8", None)),
        ("text/xml", "iso-8859-15", False, PackageForm("text/xml; charset=ISO-8859-15", None)),
        ("text/xml", "cp1257", False, PackageForm("text/xml; charset=windows-1257", None)),
        ("text/xml", "utf-16-le", False, PackageForm("text/xml; charset=UTF-16", None)),
        (
            "Multipart/Related; boundary=b",
            "utf-8",
            False,
            PackageForm("Multipart/Related; boundary=b", "b"),
        ),
        (
            'multipart/related; boundary="a b"',
            "utf-8",
            True,
            PackageForm('multipart/related; boundary="a b"', "a b"),
        ),
        (
            "text/xml",
            "utf-8",
            True,
            PackageForm('multipart/related; type="text/xml"; boundary=new', "new"),
        ),
    ],
)
def test_the_form_follows_the_original_type(
    original: str, codec: str, has_attachments: bool, form: PackageForm
) -> None:
    assert form == package_form(
        original, codec=codec, has_attachments=has_attachments, fresh_boundary="new"
    )


@pytest.mark.parametrize("original", ["multipart/related", "blah"])
def test_refuses_an_original_type_that_is_none(original: str) -> None:
    with pytest.raises(MalformedInput):
        package_form(original, codec="utf-8", has_attachments=False, fresh_boundary="new")


def test_writes_what_it_reads() -> None:
    writer = PackageWriter(PackageForm(RELATED, "b"))
    data = writer.soap("text/xml", SOAP, (("Content-ID", "<1>"),))
    data += writer.attachment("a/b", (("X", "1"),)) + b"one"
    data += writer.attachment("c/d") + b"" + writer.finish()
    assert data.startswith(b"--b\r\ncontent-type: text/xml\r\nContent-ID: <1>\r\n\r\n<s:Env")
    assert data.endswith(b"\r\n--b\r\ncontent-type: c/d\r\n\r\n\r\n--b--\r\n")
    assert contents(read(data)) == [b"one", b""]


def test_soap_alone_is_written_as_it_is() -> None:
    writer = PackageWriter(PackageForm("text/xml", None))
    assert writer.soap("text/xml", SOAP) + writer.finish() == SOAP
    with pytest.raises(RuntimeError):
        writer.attachment("a/b")


@pytest.mark.parametrize(
    ("slices", "holds"),
    [
        ([b"--b"], True),
        ([b"x\r\n--b--"], True),
        ([b"x\n", b"-", b"-", b"b"], True),
        ([b"x--b"], False),
        ([b"-", b"-c\n-", b"\n--", b"c"], False),
        ([b"\r\n-- b"], False),
        ([b"", b"x"], False),
    ],
)
def test_a_part_must_not_hold_the_boundary_of_its_package(slices: list[bytes], holds: bool) -> None:
    guard = BoundaryGuard("b")
    guard.feed(b"the part before\n--")
    guard.begin_part()

    def feed() -> None:
        for data in slices:
            guard.feed(data)

    if not holds:
        feed()
        return
    with pytest.raises(MalformedInput) as caught:
        feed()
    assert caught.value.code is FaultCode.MIME_PARSING_FAILED
