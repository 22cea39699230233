from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from postroad.errors import ConfigurationError
from postroad.globalconf.generation import private_parameters_of, shared_parameters_of
from postroad.globalconf.parts import PartMetadata
from postroad.globalconf.republishing import PublishingProxy, Republished, republish
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.globalconf.stored import StoredPart
from support.globalconf import NOW, snapshot

if TYPE_CHECKING:
    from datetime import datetime

PROXY = PublishingProxy(name="PX", address="proxy.example", certificates=(b"KEY",))
SOON = NOW + timedelta(minutes=5)


def shared(
    instance: str = "TEST", expires_at: datetime | None = SOON, **changes: Any
) -> dict[str, StoredPart]:
    content = shared_parameters_of(snapshot(instance), 6).encode(6)
    values = {
        "content_identifier": "SHARED-PARAMETERS",
        "instance": instance,
        "expires_at": expires_at,
        "location": "/V6/20260301115900000000000/shared-params.xml",
        "version": 6,
    } | changes
    return {"shared-params.xml": StoredPart(content, PartMetadata(**values))}


def private() -> dict[str, StoredPart]:
    metadata = PartMetadata(
        content_identifier="PRIVATE-PARAMETERS",
        instance="TEST",
        expires_at=SOON,
        location="/V6/20260301115900000000000/private-params.xml",
        version=6,
    )
    return {"private-params.xml": StoredPart(private_parameters_of(snapshot()).encode(6), metadata)}


def made(stored: dict[str, dict[str, StoredPart]], **changes: Any) -> Republished:
    values = {"instance": "TEST", "version": 6, "folder": "1772366400000", "at": NOW} | changes
    return republish(stored, PROXY, **values)


def test_parts_are_passed_on_byte_for_byte_except_our_own_sources() -> None:
    stored = {"TEST": shared() | private(), "OTHER": shared("OTHER")}
    published = made(stored)
    files = published.files
    folder = "V6/20260301115900000000000"
    private_part = files[f"TEST/{folder}/private-params.xml"]
    assert private_part == stored["TEST"]["private-params.xml"].content
    foreign = files[f"OTHER/{folder}/shared-params.xml"]
    assert foreign == stored["OTHER"]["shared-params.xml"].content
    ours = SharedParameters.parse(files[f"TEST/{folder}/shared-params.xml"], 6)
    assert ours.sources == (PROXY.source,)


def test_the_directory_lists_every_file_at_its_address_with_its_digest() -> None:
    published = made({"TEST": shared() | private(), "OTHER": shared("OTHER")})
    assert published.directory.version == 6
    by_location = {part.location: part for part in published.directory.parts}
    assert set(by_location) == {f"/PX/1772366400000/{path}" for path in published.files}
    for path, content in published.files.items():
        assert by_location[f"/PX/1772366400000/{path}"].matches(content)
    assert [(part.instance, part.identifier) for part in published.directory.parts] == [
        ("TEST", "PRIVATE-PARAMETERS"),
        ("TEST", "SHARED-PARAMETERS"),
        ("OTHER", "SHARED-PARAMETERS"),
    ]


@pytest.mark.parametrize(
    ("source_expiry", "expected"),
    [
        (NOW + timedelta(minutes=5), NOW + timedelta(minutes=5)),
        (NOW + timedelta(days=1), NOW + timedelta(seconds=600)),
        (None, NOW + timedelta(seconds=600)),
    ],
)
def test_nothing_counts_longer_than_its_source_said(
    source_expiry: datetime | None, expected: datetime
) -> None:
    published = made({"TEST": shared(expires_at=source_expiry)})
    assert published.directory.expires_at == expected.replace(microsecond=0)


@pytest.mark.parametrize("stored", [{}, {"TEST": shared(expires_at=NOW - timedelta(seconds=1))}])
def test_what_has_expired_is_not_signed_anew(stored: dict[str, dict[str, StoredPart]]) -> None:
    with pytest.raises(ConfigurationError):
        made(stored)


def test_another_version_is_not_passed_off_as_this_one() -> None:
    with pytest.raises(ConfigurationError):
        made({"TEST": shared(version=5)})


def test_a_federated_instance_that_was_not_renewed_is_left_out() -> None:
    old = shared("OLD", expires_at=NOW - timedelta(minutes=1))
    ending = shared("ENDING", expires_at=NOW + timedelta(minutes=1))
    published = made({"TEST": shared(), "OLD": old, "ENDING": ending, "GOOD": shared("GOOD")})
    assert published.left_out == ("ENDING", "OLD")
    assert {part.instance for part in published.directory.parts} == {"TEST", "GOOD"}
    assert published.directory.expires_at == SOON.replace(microsecond=0)


def test_a_federated_instance_may_shorten_the_life_of_the_whole_by_half_at_most() -> None:
    other = shared("OTHER", expires_at=NOW + timedelta(minutes=3))
    published = made({"TEST": shared(), "OTHER": other})
    assert published.left_out == ()
    assert published.directory.expires_at == (NOW + timedelta(minutes=3)).replace(microsecond=0)


@pytest.mark.parametrize(
    "location",
    [
        "/V6/../../../etc/passwd",
        "http://elsewhere.example/..//x",
        "",
        "/" + "a/" * 20 + "x.xml",
        "/V6/%2e%2e/x.xml",
        "/.hidden/x.xml",
    ],
)
def test_a_location_that_may_be_no_path_gives_way_to_the_file_name(location: str) -> None:
    published = made({"TEST": shared(location=location)})
    assert set(published.files) == {"TEST/shared-params.xml"}


def test_two_parts_of_one_location_do_not_overwrite_each_other() -> None:
    parts = shared(location="/same/x.xml") | {
        name: replace(part, metadata=replace(part.metadata, location="/same/x.xml"))
        for name, part in private().items()
    }
    assert len(made({"TEST": parts}).files) == 2


def test_instances_of_any_name_have_a_folder_of_their_own() -> None:
    published = made({"TEST": shared(), "a b/c": shared("a b/c")})
    folder = "V6/20260301115900000000000"
    assert f"a+b%2Fc/{folder}/shared-params.xml" in published.files
    locations = [part.location for part in published.directory.parts]
    assert f"/PX/1772366400000/a%2Bb%252Fc/{folder}/shared-params.xml" in locations
