from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.errors import MalformedInput
from postroad.identifiers import (
    MemberId,
    SecurityServerId,
    ServiceId,
    SubsystemId,
    client_id,
    parse_client_id,
    percent_decode_segment,
    percent_encode_segment,
)

PARTS = st.text(min_size=1, max_size=40).filter(
    lambda text: text.strip() != "" and not any(0xD800 <= ord(char) <= 0xDFFF for char in text)
)


@given(PARTS)
def test_segment_round_trips(text: str) -> None:
    assert percent_decode_segment(percent_encode_segment(text)) == text


@given(st.tuples(PARTS, PARTS, PARTS, st.none() | PARTS))
def test_client_identifier_round_trips_through_its_header_form(
    parts: tuple[str, str, str, str | None],
) -> None:
    client = client_id(*parts)
    assert parse_client_id(client.encoded()) == client


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("a-._~!$'()*,;&=@:+", "a-._~!$'()*,;&=@:+"),
        ("a/b", "a%2Fb"),
        ("ä %", "%C3%A4%20%25"),
        ("\ufeff", "%EF%BB%BF"),
    ],
)
def test_escapes_the_set_of_a_path_segment(text: str, encoded: str) -> None:
    assert percent_encode_segment(text) == encoded


@pytest.mark.parametrize(
    "segment", ["%", "%2", "%zz", "a b", "ä", "%ff", "a<b", "%C0%AF", "%ED%A0%80", 'a"b', "a\x00b"]
)
def test_rejects_segments_outside_the_grammar(segment: str) -> None:
    with pytest.raises(MalformedInput):
        percent_decode_segment(segment)


@pytest.mark.parametrize(
    "text", ["", "EE", "EE/GOV", "EE/GOV/1/a/b", "EE//1", "EE/%20/1", "/EE/GOV"]
)
def test_rejects_client_identifiers_of_another_shape(text: str) -> None:
    with pytest.raises(MalformedInput):
        parse_client_id(text)


def test_plus_is_literal_and_slash_may_be_escaped() -> None:
    assert parse_client_id("EE/GOV/a+b%2Fc") == MemberId("EE", "GOV", "a+b/c")


def test_service_leaves_absent_parts_out() -> None:
    service = ServiceId(SubsystemId("EE", "GOV", "1", "reg"), "persons")
    assert service.encoded() == "EE/GOV/1/reg/persons"
    assert ServiceId.parse(service.encoded()) == service
    assert str(ServiceId(MemberId("EE", "GOV", "1"), "s", "v1")) == "EE/GOV/1/s/v1"


def test_server_names_its_owner() -> None:
    assert SecurityServerId.parse("EE/GOV/1/SS1").owner == MemberId("EE", "GOV", "1")


def test_rejects_parts_longer_than_the_registry_holds() -> None:
    with pytest.raises(MalformedInput, match="256 characters"):
        MemberId("EE", "GOV", "x" * 256)
