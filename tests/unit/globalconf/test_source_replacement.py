from __future__ import annotations

from dataclasses import replace

import pytest

from postroad.errors import MalformedInput
from postroad.globalconf.generation import shared_parameters_of
from postroad.globalconf.shared_parameters import ConfigurationSource, SharedParameters
from postroad.globalconf.source_replacement import replace_sources
from support.globalconf import SIGNED, snapshot

PROXY = ConfigurationSource("proxy.example", (b"KEY",), (b"KEY",))
VERSIONS = (3, 4, 5, 6)


def shared(version: int) -> bytes:
    return shared_parameters_of(snapshot(), version).encode(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_sources_are_other_ones(version: int) -> None:
    before = shared(version)
    after = replace_sources(before, version, [PROXY])
    wanted = replace(SharedParameters.parse(before, version), sources=(PROXY,))
    assert SharedParameters.parse(after, version) == wanted
    head, _, rest = before.partition(b"<source>")
    tail = rest.rpartition(b"</source>")[2]
    assert after.startswith(head)
    assert after.endswith(tail)


def test_several_sources_become_one() -> None:
    first, second = ConfigurationSource("a", (b"1",), (b"2",)), ConfigurationSource("b")
    before = replace(shared_parameters_of(snapshot(), 6), sources=(first, second)).encode(6)
    assert SharedParameters.parse(replace_sources(before, 6, [PROXY]), 6).sources == (PROXY,)


def test_version_2_knows_no_sources_and_stays_as_it_is() -> None:
    assert replace_sources(shared(2), 2, [PROXY]) == shared(2)


def test_what_we_do_not_understand_is_passed_on() -> None:
    """An extension after the last element, which the reference's proxy loses."""
    extension = b'    <extra xmlns="urn:somebody">kept</extra>\n</ns3:conf>'
    before = shared(6).replace(b"</ns3:conf>", extension)
    assert extension in replace_sources(before, 6, [PROXY])


def test_a_document_in_another_encoding_is_written_anew() -> None:
    before = shared(6).decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16")
    after = replace_sources(before, 6, [PROXY])
    wanted = replace(SharedParameters.parse(shared(6), 6), sources=(PROXY,))
    assert SharedParameters.parse(after, 6) == wanted


@pytest.mark.parametrize("version", [4, 6])
def test_parameters_of_the_reference_keep_all_but_their_source(version: int) -> None:
    (path,) = (SIGNED / "current" / f"V{version}").glob("*/shared-params.xml")
    before = path.read_bytes()
    after = replace_sources(before, version, [PROXY])
    start, end = before.index(b"<source>"), before.rindex(b"</source>") + len(b"</source>")
    assert after.startswith(before[:start])
    assert after.endswith(before[end:])
    assert SharedParameters.parse(after, version).sources == (PROXY,)


def test_what_are_no_shared_parameters_is_refused() -> None:
    with pytest.raises(MalformedInput):
        replace_sources(b"<conf/>", 6, [PROXY])
