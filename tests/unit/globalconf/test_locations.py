from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.locations import (
    MAX_LOCATIONS,
    Location,
    check_url,
    has_version,
    locations_of,
    part_url,
    with_version,
)
from postroad.globalconf.shared_parameters import ConfigurationSource, SharedParameters
from support.globalconf import HANDMADE, NOW

if TYPE_CHECKING:
    from collections.abc import Sequence


def anchor(*urls: str, certificate: bytes = b"anchor") -> Anchor:
    return Anchor("EE", NOW, tuple(Source(url, (certificate,)) for url in urls))


def shared(*sources: ConfigurationSource) -> SharedParameters:
    return SharedParameters(instance="EE", sources=sources)


def node(address: str) -> ConfigurationSource:
    return ConfigurationSource(address, (b"internal",), (b"external", b"internal"))


def urls(
    anchor: Anchor, shared: SharedParameters | None = None, first: tuple[str, ...] = ()
) -> list[str]:
    found = locations_of(anchor, shared, shuffle=list, first=first)
    return [location.url for location in found]


def test_tries_https_twins_before_http() -> None:
    assert urls(anchor("http://a/internalconf", "http://b/internalconf")) == [
        "https://a/internalconf",
        "https://b/internalconf",
        "http://a/internalconf",
        "http://b/internalconf",
    ]


def test_addresses_in_shared_parameters_come_before_the_anchors() -> None:
    assert urls(anchor("http://old/internalconf"), shared(node("n1"), node("n2"))) == [
        "https://n1/internalconf",
        "https://n2/internalconf",
        "http://n1/internalconf",
        "http://n2/internalconf",
        "https://old/internalconf",
        "http://old/internalconf",
    ]


def test_an_https_entry_with_an_http_twin_is_tried_once() -> None:
    assert urls(anchor("http://a/internalconf", "https://a/internalconf")) == [
        "https://a/internalconf",
        "http://a/internalconf",
    ]


def test_an_anchor_with_https_only_is_used_as_it_is() -> None:
    assert urls(anchor("https://a/internalconf"), shared(node("n"))) == [
        "https://n/internalconf",
        "http://n/internalconf",
        "https://a/internalconf",
    ]


@pytest.mark.parametrize(
    ("path", "certificates"),
    [
        ("internalconf", (b"internal",)),
        ("internalconf?version=2", (b"internal",)),
        ("externalconf", (b"external", b"internal")),
        ("PROXY/conf", (b"internal", b"external")),
    ],
)
def test_a_node_is_trusted_with_the_keys_of_the_directory_that_is_asked(
    path: str, certificates: tuple[bytes, ...]
) -> None:
    found = locations_of(anchor(f"http://a/{path}"), shared(node("n")), shuffle=list)
    assert found[0] == Location(f"https://n/{path}", certificates)
    assert found[-1].certificates == (b"anchor",)


@pytest.mark.parametrize(
    ("folder", "version", "nodes"), [("V2", 2, 0), ("V3", 3, 1), ("V3-many-nodes", 3, 3)]
)
def test_derives_locations_from_real_shared_parameters(
    folder: str, version: int, nodes: int
) -> None:
    data = (HANDMADE / folder / "EE" / "shared-params.xml").read_bytes()
    parameters = SharedParameters.parse(data, version)
    found = urls(anchor("http://anchor/internalconf"), parameters)
    derived = [url for url in found if "//anchor/" not in url]
    assert len(derived) == 2 * nodes
    assert len([url for url in derived if url.startswith("https://")]) == nodes


def test_what_worked_before_is_tried_first() -> None:
    remembered = "http://b/internalconf"
    assert urls(anchor("http://a/internalconf", remembered), first=(remembered,))[0] == remembered


def test_an_address_that_is_not_listed_any_more_is_not_tried() -> None:
    assert "http://gone/x" not in urls(anchor("http://a/internalconf"), first=("http://gone/x",))


def test_nodes_are_shuffled_within_their_list_and_scheme() -> None:
    calls: list[list[str]] = []

    def shuffle(entries: Sequence[Location]) -> list[Location]:
        calls.append([entry.url for entry in entries])
        return list(reversed(entries))

    found = locations_of(
        anchor("http://a/internalconf", "http://b/internalconf"), None, shuffle=shuffle
    )
    assert [location.url[:9] for location in found] == [
        "https://b",
        "https://a",
        "http://b/",
        "http://a/",
    ]
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("cs.example", "http://cs.example/internalconf"),
        ("192.0.2.1", "http://192.0.2.1/internalconf"),
        ("2001:db8::1", "http://[2001:db8::1]/internalconf"),
        ("[2001:db8::1]", "http://[2001:db8::1]/internalconf"),
        ("cs.example:8080", "http://cs.example:8080/internalconf"),
    ],
)
def test_writes_hosts_of_every_kind(address: str, url: str) -> None:
    assert url in urls(anchor("http://a/internalconf"), shared(node(address)))


@pytest.mark.parametrize(
    "address", ["", "a/b", "a@b", "a b", "http://a", "a?b", "a#b", "a\r\nb", "[", "a" * 300]
)
def test_leaves_out_addresses_that_are_no_hosts(address: str) -> None:
    found = urls(anchor("http://a/internalconf"), shared(node(address)))
    assert found == ["https://a/internalconf", "http://a/internalconf"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/x",
        "file:///etc/passwd",
        "http:///x",
        "http://user@a/x",
        "http://a/x y",
        "http://a/\n",
        "http://a:99999/x",
        "http://a:0/x",
        "http://[::1/x",
        "http://a/" + "x" * 2000,
        "nonsense",
    ],
)
def test_refuses_addresses_that_are_not_plain_http(url: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        check_url(url)
    assert caught.value.code is FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE
    assert urls(anchor(url)) == []


def test_the_number_of_locations_is_bounded() -> None:
    nodes = tuple(node(f"n{number}") for number in range(MAX_LOCATIONS))
    assert len(urls(anchor("http://a/internalconf"), shared(*nodes))) == MAX_LOCATIONS


def test_asks_for_a_version() -> None:
    assert with_version("http://a/conf?x=1", 5) == "http://a/conf?x=1&version=5"
    assert has_version("http://a/conf?version=2")
    assert has_version("http://a/conf?x=1&version=")
    assert not has_version("http://a/conf?conversion=2")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/V6/1/shared-params.xml", "http://a/V6/1/shared-params.xml"),
        ("x.xml", "http://a/P/x.xml"),
        ("https://b/x.xml", "https://b/x.xml"),
    ],
)
def test_a_part_is_found_relative_to_the_directory_without_its_query(
    location: str, url: str
) -> None:
    assert part_url("http://a/P/conf?version=6", location) == url


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", "//user@b/x"])
def test_refuses_impossible_locations_of_parts(location: str) -> None:
    with pytest.raises(MalformedInput):
        part_url("http://a/conf", location)


def test_an_anchor_without_a_path_gives_no_addresses_of_nodes() -> None:
    assert urls(anchor("http://a"), shared(node("n"))) == ["https://a", "http://a"]
