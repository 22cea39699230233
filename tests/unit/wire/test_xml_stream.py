from __future__ import annotations

from collections.abc import Mapping

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.wire.xml_stream import StreamLimits, XmlStream, expanded


class Recorder:
    """Notes every event with its position."""

    def __init__(self, *, limits: StreamLimits | None = None) -> None:
        self.stream = XmlStream(self, limits=limits, code=FaultCode.INVALID_SOAP)
        self.events: list[tuple[object, ...]] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.events.append(("start", name, dict(attributes), self.stream.position))
        self.stream.tell_text(wanted=True)

    def end(self, name: str) -> None:
        self.events.append(("end", name, self.stream.position))

    def text(self, text: str) -> None:
        self.events.append(("text", text))

    def read(self, data: bytes, size: int = 1 << 20) -> list[tuple[object, ...]]:
        for start in range(0, len(data), size):
            self.stream.feed(data[start : start + size])
        self.stream.close()
        return self.events


def refused(data: bytes, *, limits: StreamLimits | None = None, size: int = 1 << 20) -> str:
    with pytest.raises(MalformedInput) as caught:
        Recorder(limits=limits).read(data, size)
    assert caught.value.code is FaultCode.INVALID_SOAP
    return caught.value.message


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_tells_elements_attributes_and_texts_with_their_positions(size: int) -> None:
    data = b'<?xml version="1.0"?>\n<a xmlns="u" b="1">t<!--c-->u<![CDATA[<z>]]><b/></a >'
    assert Recorder().read(data, size) == [
        ("start", "u}a", {"b": "1"}, 22),
        ("text", "tu<z>"),
        ("start", "u}b", {}, 66),
        ("end", "u}b", 70),
        ("end", "u}a", 70),
    ]


def test_spares_texts_that_nobody_wants() -> None:
    recorder = Recorder()
    recorder.start = lambda name, attributes: None  # tells no wish
    assert recorder.read(b"<a>text</a>") == [("end", "a", 7)]


def test_expanded_names_are_those_of_the_events() -> None:
    assert Recorder().read(b'<p:a xmlns:p="urn:x"/>')[0][1] == expanded("urn:x", "a")


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        ("<a>ä</a>".encode(), "utf-8"),
        ('\ufeff<?xml version="1.0" encoding="UTF-8"?><a>ä</a>'.encode(), "utf-8"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><a>ä</a>".encode("latin-1"), "iso-8859-1"),
        ('<?xml version="1.0" encoding="windows-1257"?><a>ä</a>'.encode("cp1257"), "cp1257"),
        (
            '<?xml version="1.0" encoding="iso-8859-15"?><a>ä</a>'.encode("iso-8859-15"),
            "iso-8859-15",
        ),
        ("\ufeff<a>ä</a>".encode("utf-16-le"), "utf-16-le"),
        ('\ufeff<?xml version="1.0" encoding="utf-16"?><a>ä</a>'.encode("utf-16-be"), "utf-16-be"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_reads_the_encoding_that_the_document_names(data: bytes, codec: str, size: int) -> None:
    recorder = Recorder()
    assert ("text", "ä") in recorder.read(data, size)
    assert recorder.stream.codec == codec


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"text",
        b"<!-- only -->",
        b"<!-- open",
        b"<?open",
        b"<",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a>&x;</a>",
        b"<a b='1' b='2'/>",
        b"<a>\x00</a>",
        b"<a>\xff</a>",
        b"<a>&#0;</a>",
        b"<p:a/>",
        b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
        b"<a xmlns='x}y'/>",
        b" <?xml version='1.0'?><a/>",
        b"<?xml version='1.1'?><a/>",
        b"<?xml encoding='utf-8'?><a/>",
        b"<?xml version='1.0' encoding='utf-7'?><a/>",
        b"<?xml version='1.0' encoding='shift_jis'?><a/>",
        b"<?xml version='1.0' encoding='zlib'?><a/>",
        b"<?xml version='1.0' encoding='utf-16'?><a/>",
        "<?xml version='1.0' encoding='utf-8'?><a>ä</a>".encode("latin-1"),
        "\ufeff<?xml version='1.0' encoding='iso-8859-1'?><a/>".encode(),
        "\ufeff<?xml version='1.0' encoding='utf-8'?><a/>".encode("utf-16-le"),
        "<a/>".encode("utf-16-le"),
        "<a/>".encode("utf-16-be"),
        "\ufeff<a/>".encode("utf-32-le"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_refuses_what_is_not_namespace_well_formed_xml(data: bytes, size: int) -> None:
    refused(data, size=size)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE a><a/>",
        b"<?xml version='1.0'?><!-- c -->\n<?p i?><!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        "\ufeff<!DOCTYPE a><a/>".encode("utf-16-be"),
        "<!DOCTYPE a><a/>".encode("utf-16-le"),
        b"<!ELEMENT a ANY><a/>",
    ],
)
def test_a_document_type_never_reaches_the_parser(data: bytes) -> None:
    assert "document type" in refused(data)


@pytest.mark.parametrize(
    ("data", "limits", "message"),
    [
        (b"<a>" + b"x" * 100 + b"</a>", StreamLimits(max_bytes=100), "exceeds 100 bytes"),
        (b"<a>" * 4 + b"</a>" * 4, StreamLimits(max_depth=3), "deeper than 3"),
        (b"<a>" + b"<b/>" * 4 + b"</a>", StreamLimits(max_elements=4), "more than 4 elements"),
        (b"<a b='" + b"x" * 400_000 + b"'/>", StreamLimits(), "a tag or comment of more"),
        (b"<a><!--" + b"x" * 400_000 + b"--></a>", StreamLimits(), "a tag or comment of more"),
        (b" " * 20_000 + b"<a/>", StreamLimits(), "without an element"),
    ],
)
@pytest.mark.parametrize("size", [1000, 65536])
def test_refuses_what_exceeds_a_limit(
    data: bytes, limits: StreamLimits, message: str, size: int
) -> None:
    assert message in refused(data, limits=limits, size=size)


def test_a_long_text_is_no_long_tag() -> None:
    data = b"<a>" + b"x" * 1_000_000 + b"</a>"
    texts = [event[1] for event in Recorder().read(data, 65536) if event[0] == "text"]
    assert "".join(str(text) for text in texts) == "x" * 1_000_000


def test_an_error_of_the_handler_ends_the_reading() -> None:
    class Refusing(Recorder):
        def start(self, name: str, attributes: Mapping[str, str]) -> None:
            if name == "no":
                raise MalformedInput("no", code=FaultCode.MISSING_BODY)

    recorder = Refusing()
    with pytest.raises(MalformedInput) as caught:
        recorder.read(b"<a><no/><b/></a>")
    assert caught.value.code is FaultCode.MISSING_BODY
    assert recorder.events == []
