from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry import trusted_anchors
from postroad.centralserver.registry.change import details_of
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.trusted_anchors import (
    add_trusted_anchor,
    delete_trusted_anchor,
    list_trusted_anchors,
    load_trusted_anchor,
    preview_trusted_anchor,
)
from postroad.globalconf.anchor import Anchor, Source, fingerprint
from support.globalconf import ANCHORS, NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.central_server import Registry

ANCHOR = Anchor("PARTNER", NOW, (Source("http://partner.example/externalconf", (b"DER",)),))
DATA = ANCHOR.encode()


def changed(**changes: object) -> bytes:
    return replace(ANCHOR, **changes).encode()


def refused(registry: Registry, data: bytes) -> Problem:
    with pytest.raises(RegistryRefusal) as caught, registry.changing() as change:
        add_trusted_anchor(change, data)
    with registry.reading() as session, pytest.raises(RegistryRefusal) as previewed:
        preview_trusted_anchor(session, data)
    assert previewed.value.problem is caught.value.problem
    return caught.value.problem


def test_an_anchor_is_kept_byte_for_byte_with_its_fingerprint(registry: Registry) -> None:
    with registry.changing() as change:
        assert add_trusted_anchor(change, DATA)
        (entry,) = change.entries
        assert entry.event == "Add trusted anchor"
        assert details_of(entry)["anchorFileHash"] == fingerprint(DATA)
    with registry.reading() as session:
        (row,) = list_trusted_anchors(session)
        assert (row.instance_identifier, row.anchor) == ("PARTNER", DATA)
        assert row.fingerprint == fingerprint(DATA)
        assert row.generated_at == NOW


def test_the_same_file_changes_nothing(registry: Registry) -> None:
    with registry.changing() as change:
        add_trusted_anchor(change, DATA)
        assert not add_trusted_anchor(change, DATA)


def test_a_preview_shows_the_fingerprint_and_what_would_be_replaced(registry: Registry) -> None:
    with registry.reading() as session:
        shown = preview_trusted_anchor(session, DATA)
    assert (shown.anchor, shown.fingerprint, shown.replaces) == (ANCHOR, fingerprint(DATA), None)
    with registry.changing() as change:
        add_trusted_anchor(change, DATA)
        newer = changed(generated_at=NOW + timedelta(days=1))
        assert preview_trusted_anchor(change.session, newer).replaces == fingerprint(DATA)


def test_a_newer_anchor_replaces_the_one_of_the_same_instance(registry: Registry) -> None:
    newer = changed(generated_at=NOW + timedelta(days=1))
    other = changed(instance="OTHER")
    with registry.changing() as change:
        for data in (DATA, other, newer):
            add_trusted_anchor(change, data)
        assert [row.anchor for row in list_trusted_anchors(change.session)] == [other, newer]


@pytest.mark.parametrize("generated_at", [NOW - timedelta(seconds=1), None])
def test_an_older_anchor_replaces_nothing(registry: Registry, generated_at: object) -> None:
    with registry.changing() as change:
        add_trusted_anchor(change, DATA)
    assert refused(registry, changed(generated_at=generated_at)) is Problem.TRUSTED_ANCHOR_OLDER
    with registry.changing() as change:
        delete_trusted_anchor(change, fingerprint(DATA))
        assert add_trusted_anchor(change, changed(generated_at=generated_at))


def test_an_anchor_without_time_may_be_replaced_by_any(registry: Registry) -> None:
    with registry.changing() as change:
        add_trusted_anchor(change, changed(generated_at=None))
        assert add_trusted_anchor(change, DATA)


@pytest.mark.parametrize("instance", ["DEV", "dev"])
def test_our_own_instance_is_not_federated_with_itself(registry: Registry, instance: str) -> None:
    problem = refused(registry, changed(instance=instance))
    assert problem is Problem.TRUSTED_ANCHOR_OF_OWN_INSTANCE


@pytest.mark.parametrize(
    "data",
    [
        b"not an xml.",
        (ANCHORS / "trusted-anchor-invalid-1.xml").read_bytes(),
        (ANCHORS / "trusted-anchor-invalid-2.xml").read_bytes(),
        changed(sources=(Source("ftp://partner.example/externalconf", (b"DER",)),)),
        changed(sources=(Source("http://a@partner.example/externalconf", (b"DER",)),)),
        changed(instance="P" * 256),
    ],
)
def test_what_is_no_usable_anchor_is_refused(registry: Registry, data: bytes) -> None:
    assert refused(registry, data) is Problem.MALFORMED_ANCHOR


@pytest.mark.parametrize(
    ("name", "instance", "shown"),
    [
        (
            "trusted-anchor.xml",
            "CS0",
            "40:2A:4F:94:05:D2:9B:ED:C9:EE:A2:6D:EC:EC:11:94:5D:C9:A8:3E:29:1F:B2:92:A6:E4:DF:1D",
        ),
        (
            "trusted-anchor-2.xml",
            "CS2",
            "95:6C:C8:A5:9B:B5:51:5A:FB:9F:9C:84:38:C0:62:6B:93:48:AE:D7:54:44:16:0C:83:28:59:54",
        ),
    ],
)
def test_anchors_of_the_reference_show_its_fingerprints(
    registry: Registry, name: str, instance: str, shown: str
) -> None:
    with registry.reading() as session:
        found = preview_trusted_anchor(session, (ANCHORS / name).read_bytes())
    assert (found.anchor.instance, found.fingerprint) == (instance, shown)


@pytest.mark.parametrize("written", [str, str.lower, lambda text: text.replace(":", "")])
def test_an_anchor_is_found_by_its_fingerprint_as_people_write_it(
    registry: Registry, written: Callable[[str], str]
) -> None:
    with registry.changing() as change:
        add_trusted_anchor(change, DATA)
        found = load_trusted_anchor(change.session, written(fingerprint(DATA)))
        assert found.anchor == DATA


def test_a_deleted_anchor_is_gone_and_recorded(registry: Registry) -> None:
    with registry.changing() as change:
        add_trusted_anchor(change, DATA)
        delete_trusted_anchor(change, fingerprint(DATA))
        assert change.entries[-1].event == "Delete trusted anchor"
        assert details_of(change.entries[-1])["instanceIdentifier"] == "PARTNER"
        assert not list_trusted_anchors(change.session)
    with pytest.raises(RegistryRefusal) as caught, registry.changing() as change:
        delete_trusted_anchor(change, fingerprint(DATA))
    assert caught.value.problem is Problem.TRUSTED_ANCHOR_NOT_FOUND


def test_the_number_of_federations_is_bounded(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted_anchors, "MAX_TRUSTED_ANCHORS", 1)
    with registry.changing() as change:
        add_trusted_anchor(change, DATA)
    with pytest.raises(RegistryRefusal) as caught, registry.changing() as change:
        add_trusted_anchor(change, changed(instance="OTHER"))
    assert caught.value.problem is Problem.TOO_MANY_TRUSTED_ANCHORS
