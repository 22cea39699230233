"""SOAP messages and packages: any chunking, any garbage, nothing changed but what must be."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.errors import MalformedInput
from postroad.messages.attachments import (
    PackageEvent,
    PackageForm,
    PackageReader,
    PackageWriter,
)
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import (
    AttachmentData,
    AttachmentStart,
    Direction,
    Event,
    SoapMessage,
)
from postroad.messages.soap import SoapDocument, SoapEnvelope, check_correlation
from postroad.messages.soap_reading import SoapReader, read_soap
from postroad.messages.soap_writing import with_request_hash
from postroad.wire.xml import escape_text
from support.soap_messages import FIELDS, body, envelope, header

VECTORS = Path(__file__).parents[1] / "data" / "reference" / "messages" / "proxy"
SAMPLES = sorted(path.read_bytes() for path in VECTORS.glob("*.answer"))
few = settings(max_examples=80, deadline=None)
cuts = st.lists(st.integers(0, 3000), max_size=8)
texts = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"
    ),
    max_size=40,
)


def slices(data: bytes, at: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut for cut in at if cut < len(data))})
    return [data[start:end] for start, end in pairwise(points)]


def outcome(data: bytes, at: list[int]) -> SoapDocument | str:
    reader = SoapReader()
    try:
        for piece in slices(data, at):
            reader.feed(piece)
        return reader.finish()
    except MalformedInput as error:
        return error.code


@few
@given(st.sampled_from(SAMPLES), cuts)
def test_the_chunking_of_a_message_does_not_matter(data: bytes, at: list[int]) -> None:
    assert outcome(data, at) == outcome(data, [])


@few
@given(
    st.sampled_from(SAMPLES),
    st.integers(0, 1500),
    st.integers(0, 8),
    st.binary(max_size=8),
)
def test_a_damaged_message_is_read_or_refused_in_our_own_words(
    data: bytes, at: int, removed: int, added: bytes
) -> None:
    damaged = data[:at] + added + data[at + removed :]
    document = outcome(damaged, [])
    if isinstance(document, SoapEnvelope):
        assert document.xml == damaged
        again = read_soap(with_request_hash(document, bytes(64)))
        assert isinstance(again, SoapEnvelope)
        assert again.header.request_hash is not None
        assert again.header.client == document.header.client
        assert again.body_name == document.body_name


@few
@given(st.binary(max_size=300))
def test_garbage_is_refused_in_our_own_words(data: bytes) -> None:
    assert isinstance(outcome(data, []), str)


@few
@given(texts, texts, texts)
def test_texts_are_read_as_written(query_id: str, user_id: str, content: str) -> None:
    fields = FIELDS.replace("q-1", escape_text(query_id))
    fields += f"<x:userId>{escape_text(user_id)}</x:userId>"
    request = read_soap(envelope(header(fields), body("<find/>")))
    answer = read_soap(
        envelope(header(fields), body(f"<findResponse>{escape_text(content)}</findResponse>"))
    )
    assert isinstance(request, SoapEnvelope)
    assert isinstance(answer, SoapEnvelope)
    assert (request.header.query_id, request.header.user_id) == (query_id, user_id)
    rewritten = with_request_hash(answer, request.digest)
    response = read_soap(rewritten)
    assert isinstance(response, SoapEnvelope)
    check_correlation(request, response)
    # Nothing but the inserted element differs.
    end = rewritten.index(b"</x:requestHash>") + len(b"</x:requestHash>")
    start = rewritten.index(b"<x:requestHash")
    assert rewritten[:start] + rewritten[end:] == answer.xml


attachments = st.lists(
    st.tuples(st.binary(max_size=60), st.sampled_from(["a/b", "text/plain; charset=x"])), max_size=4
)


def contents(events: list[PackageEvent] | list[Event]) -> list[bytes]:
    found: list[bytes] = []
    for event in events:
        if isinstance(event, AttachmentStart):
            found.append(b"")
        elif isinstance(event, AttachmentData):
            found[-1] += event.data
    return found


@few
@given(attachments, cuts)
def test_a_package_is_read_as_written(parts: list[tuple[bytes, str]], at: list[int]) -> None:
    writer = PackageWriter(PackageForm("", "xroadXYZ"))
    data = writer.soap("text/xml", envelope())
    data += b"".join(writer.attachment(kind) + octets for octets, kind in parts) + writer.finish()
    reader = PackageReader("multipart/related; boundary=xroadXYZ")
    events = [event for piece in slices(data, at) for event in reader.feed(piece)]
    events += reader.finish()
    assert isinstance(events[0], SoapMessage)
    assert events[0].xml == envelope()
    assert contents(events) == [octets for octets, _ in parts]


@few
@given(attachments, cuts)
def test_a_transport_message_is_read_as_written(
    parts: list[tuple[bytes, str]], at: list[int]
) -> None:
    encoder = TransportEncoder("xtopXYZ", Direction.REQUEST)
    data = encoder.soap("text/xml", envelope())
    for octets, kind in parts:
        data += encoder.attachment(kind, nested_boundary="xattXYZ") + encoder.attachment_data(
            octets
        )
    data += encoder.signature(b"<s/>") + encoder.finish()
    decoder = TransportDecoder(encoder.content_type, direction=Direction.REQUEST)
    events = [event for piece in slices(data, at) for event in decoder.feed(piece)]
    decoder.finish()
    assert isinstance(events[0], SoapMessage)
    assert contents(events) == [octets for octets, _ in parts]


@few
@given(st.binary(max_size=200), st.integers(0, 400), cuts)
def test_a_damaged_package_is_read_or_refused_in_our_own_words(
    added: bytes, at: int, cut: list[int]
) -> None:
    good = (VECTORS / "attachm.query").read_bytes()
    data = good[: len(good) - at] + added + good[len(good) - at :]
    reader = PackageReader("multipart/related; boundary=jetty771207119h3h10dty")
    try:
        for piece in slices(data, cut):
            reader.feed(piece)
        reader.finish()
    except MalformedInput:
        pass
