"""The judged path and the matcher, against naive models."""

from __future__ import annotations

import posixpath
from urllib.parse import quote, unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.authorization import paths as service_paths
from postroad.authorization.paths import Refusal, path_matches, safe_service_path
from postroad.authorization.rights import AccessRight, Allowed, Endpoint, decide_access
from postroad.identifiers import ServiceId, SubsystemId

CLIENT = SubsystemId("TEST", "GOV", "1", "app")
SERVICE = ServiceId(SubsystemId("TEST", "COM", "2", "registry"), "pets")

HAZARDS = ["/", "//", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "%3b", "%25", "%252e", "%c0%af"]
HAZARDS += ["%00", "%3f", "%23", "?", "#", "%", "%zz", "a", "B", "7", "%20", "é", "%C3%A9", "*"]
raw_paths = st.lists(st.sampled_from(HAZARDS), max_size=10).map(lambda parts: "/" + "".join(parts))
patterns = st.lists(
    st.sampled_from(["/", "*", "**", "a", "b", ".", "\\*", "\\\\", "\\", "(", "?"]), max_size=8
).map("".join)
paths = st.text(alphabet="/ab*\\.(?\n", max_size=10)


def naive_match(pattern: str, path: str) -> bool:
    """Possessive matching as a scanner, without regular expressions."""
    at = 0
    index = 0
    while index < len(pattern):
        if pattern[index] == "*":
            stars = 1
            while index + stars < len(pattern) and pattern[index + stars] == "*":
                stars += 1
            index += stars
            while at < len(path) and (stars > 1 or path[at] != "/"):
                at += 1
            continue
        if pattern[index] == "\\" and pattern[index + 1 : index + 2] in {"*", "\\"}:
            index += 1
        if at >= len(path) or path[at] != pattern[index]:
            return False
        at += 1
        index += 1
    return at == len(path)


@settings(max_examples=100, deadline=None)
@given(patterns, paths)
def test_matcher_agrees_with_a_naive_scanner(pattern: str, path: str) -> None:
    assert path_matches(pattern, path) is naive_match(pattern, path)


@settings(max_examples=100, deadline=None)
@given(raw_paths)
def test_accepted_path_is_the_same_for_every_kind_of_provider(raw: str) -> None:
    path = safe_service_path(raw)
    if isinstance(path, Refusal):
        return
    assert path == unquote(raw, errors="strict")
    # A provider that decodes twice, normalises, splits before decoding or turns backslashes:
    assert unquote(path) == path
    assert posixpath.normpath(path) == (path.rstrip("/") or "/")
    assert [unquote(segment) for segment in raw.split("/")] == path.split("/")
    assert "\\" not in path
    # A provider that strips ";parameters" of each segment sees neither dots nor nothing:
    names = [segment.split(";")[0] for segment in path.split("/")[1:]]
    assert not {".", ".."} & set(names)
    assert "" not in names[:-1]


@settings(max_examples=100, deadline=None)
@given(raw_paths, patterns)
def test_stripping_parameters_never_leaves_a_granted_wildcard(raw: str, tail: str) -> None:
    """What a pattern without ';' grants, it also grants to a provider that drops parameters."""
    path = safe_service_path(raw)
    pattern = "/" + tail
    if isinstance(path, Refusal) or not path_matches(pattern, path):
        return
    stripped = "/".join(segment.split(";")[0] for segment in path.split("/"))
    assert path_matches(pattern, stripped)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), max_size=4))
def test_quoted_path_is_judged_as_the_text_it_spells_or_refused(segments: list[str]) -> None:
    try:
        raw = "".join("/" + quote(segment, safe="") for segment in segments)
    except UnicodeEncodeError:  # lone surrogates have no UTF-8
        return
    path = safe_service_path(raw)
    assert isinstance(path, Refusal) or path == "".join("/" + segment for segment in segments)


@settings(max_examples=100, deadline=None)
@given(raw_paths, st.lists(st.tuples(st.sampled_from(["GET", "*", "PUT"]), patterns), max_size=4))
def test_decision_agrees_with_a_naive_model(raw: str, endpoints: list[tuple[str, str]]) -> None:
    rights = [AccessRight(CLIENT, "pets", Endpoint(method, path)) for method, path in endpoints]
    decision = decide_access(CLIENT, SERVICE, "GET", raw, rights, lambda _client, _group: False)
    path = safe_service_path(raw)
    expected = not isinstance(path, Refusal) and any(
        method in {"GET", "*"} and naive_match(pattern, path) for method, pattern in endpoints
    )
    assert isinstance(decision, Allowed) is expected


@given(st.text(alphabet="/.~-_aZ0;:%25", max_size=12))
def test_a_plain_path_is_taken_only_where_the_full_judgement_takes_it(raw: str) -> None:
    assert safe_service_path(raw) == (
        service_paths._refuse_raw(raw) or service_paths._decode_once(raw)
    )
