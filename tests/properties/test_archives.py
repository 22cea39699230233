from __future__ import annotations

import io
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from postroad.errors import MalformedInput
from postroad.evidence.linking_info import ArchiveEnd, LinkingInfo
from postroad.evidence.log_archive import ArchiveReader, archive_file_name, check_links
from support.archives import AT, archive_of, read, rewritten

contents = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=6, unique=True)
ends = st.builds(
    ArchiveEnd,
    st.text("0123456789abcdef", min_size=64, max_size=128),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1).filter(
        lambda name: name != "-"
    ),
)


def problems(data: bytes) -> list[str]:
    return [wrong for _name, _data, wrong in check_links(read(data)) if wrong]


@given(contents, ends)
def test_whatever_was_archived_is_found_whole(parts: list[bytes], previous: ArchiveEnd) -> None:
    end, data = archive_of(*parts, previous=previous)
    archive = read(data)
    assert [archive.read(name) for name in archive.names] == parts
    assert archive.linking.previous == previous
    assert archive.linking.last_digest == end.digest
    assert problems(data) == []


@given(contents, st.data())
def test_no_container_can_be_taken_away_exchanged_or_changed(
    parts: list[bytes], draw: st.DataObject
) -> None:
    _end, data = archive_of(*parts)
    names = read(data).names
    name = draw.draw(st.sampled_from(names))
    other = draw.draw(st.sampled_from(names))
    new = draw.draw(st.none() | st.binary(max_size=50))
    if new is not None and new == read(data).read(name):
        return
    assert problems(rewritten(data, {name: new}))
    if other != name:
        swapped = {name: read(data).read(other), other: read(data).read(name)}
        assert problems(rewritten(data, dict(swapped)))


@given(contents, st.data())
def test_a_changed_byte_never_changes_what_is_believed(
    parts: list[bytes], draw: st.DataObject
) -> None:
    _end, data = archive_of(*parts)
    place = draw.draw(st.integers(0, len(data) - 1))
    changed = bytearray(data)
    changed[place] ^= draw.draw(st.integers(1, 255))
    try:
        archive = ArchiveReader(io.BytesIO(bytes(changed)))
        found = list(check_links(archive))
    except MalformedInput:
        return
    if not any(wrong for _name, _data, wrong in found):
        # What isn't covered, such as the time of an entry or a name, may differ; contents can't.
        assert [content for _name, content, _wrong in found] == parts


@given(st.binary(max_size=300))
def test_anything_is_read_or_refused(data: bytes) -> None:
    for parse in (LinkingInfo.parse, lambda raw: list(check_links(read(raw)))):
        try:
            parse(data)
        except MalformedInput:
            continue


@given(st.binary(max_size=200))
def test_any_linking_info_is_read_or_refused(data: bytes) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.asice", b"x")
        archive.writestr("linkinginfo", data)
    try:
        list(check_links(read(out.getvalue())))
    except MalformedInput:
        return


@given(st.text())
def test_any_group_gives_a_plain_name(group: str) -> None:
    try:
        group.encode()
    except UnicodeEncodeError:
        return
    name = archive_file_name(group, AT, AT, "ab" * 64, encrypted=True)
    assert len(name.encode()) <= 255
    assert not set(name) & set("/\\\0\n\r")
