from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from postroad.errors import FaultCode, TrustError, UnavailablePeer
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.directory import MAX_DIRECTORY_BYTES
from postroad.globalconf.generation import GenerationSettings
from postroad.globalconf.source_state import REPROBE_AFTER, RememberedLocation, SourceState
from postroad.globalconf.trusted import MAX_PART_BYTES, UpdateScope
from postroad.globalconf.updates import (
    Fetch,
    Fetched,
    UpdateOutcome,
    stored_shared_parameters,
    update_instance,
)
from support.globalconf import NOW, Instance, signing_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.globalconf.stored import StoredPart

OWN = UpdateScope("TEST", is_own=True)
BASE = "http://cs.example/internalconf"


class Talk:
    """Runs a dialogue against instances in memory and writes down what was asked."""

    def __init__(self, *instances: Instance, at: datetime = NOW) -> None:
        self.instances = {instance.address: instance for instance in instances}
        self.at = at
        self.asked: list[str] = []
        self.unreachable: set[str] = {"https"}
        self.statuses: dict[str, int] = {}

    def answer(self, step: Fetch) -> Fetched:
        self.asked.append(step.url)
        parts = urlsplit(step.url)
        if {parts.scheme, parts.hostname, step.url} & self.unreachable:
            return Fetched(0, b"connection refused", self.at)
        if step.url in self.statuses:
            return Fetched(self.statuses[step.url], b"", self.at)
        instance = self.instances.get(parts.hostname or "")
        version = int(parse_qs(parts.query).get("version", ["2"])[0])
        body = instance.answer(parts.path, version) if instance else None
        return Fetched(404 if body is None else 200, body or b"", self.at)

    def run(
        self,
        anchor: Anchor,
        stored: Mapping[str, Mapping[str, StoredPart]] | None = None,
        state: SourceState | None = None,
    ) -> UpdateOutcome:
        dialogue = update_instance(
            anchor, OWN, stored=stored or {}, state=state or SourceState("key"), shuffle=list
        )
        try:
            step = next(dialogue)
            while True:
                step = dialogue.send(self.answer(step))
        except StopIteration as end:
            outcome: UpdateOutcome = end.value
            return outcome

    @property
    def plain(self) -> list[str]:
        return [url for url in self.asked if url.startswith("http:")]


@pytest.fixture
def instance() -> Instance:
    made = Instance()
    made.publish()
    return made


def served_only_from(instance: Instance, *versions: int) -> None:
    instance.files = {
        path: data
        for path, data in instance.files.items()
        if int(path.partition("/")[0][1:]) in versions
    }


def test_asks_for_the_newest_version_first_and_takes_its_parts(instance: Instance) -> None:
    talk = Talk(instance)
    outcome = talk.run(instance.anchor())
    assert outcome.error is None
    assert outcome.accepted is not None
    assert outcome.accepted.directory.version == 6
    assert talk.plain[0] == f"{BASE}?version=6"
    assert [urlsplit(url).path.rpartition("/")[2] for url in talk.plain[1:]] == [
        "private-params.xml",
        "shared-params.xml",
    ]
    assert outcome.state.location == RememberedLocation(BASE, 6, NOW)
    assert outcome.state.history.version == 6


@pytest.mark.parametrize("newest", [6, 5, 4, 3, 2])
def test_goes_down_the_versions_until_one_is_there(instance: Instance, newest: int) -> None:
    served_only_from(instance, newest)
    talk = Talk(instance)
    outcome = talk.run(instance.anchor())
    assert outcome.accepted is not None
    assert outcome.accepted.directory.version == newest
    asked = [url for url in talk.plain if "version=" in url]
    assert asked == [f"{BASE}?version={version}" for version in range(6, newest - 1, -1)]


@pytest.mark.parametrize("status", [500, 403, 302, 204])
def test_any_status_but_not_found_means_that_the_version_is_there(
    instance: Instance, status: int
) -> None:
    talk = Talk(instance)
    talk.statuses[f"{BASE}?version=6"] = status
    outcome = talk.run(instance.anchor())
    assert outcome.accepted is None
    assert isinstance(outcome.error, UnavailablePeer)
    assert outcome.error.code is FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE
    assert talk.plain == [f"{BASE}?version=6"]


def test_an_unreachable_source_is_not_probed_further(instance: Instance) -> None:
    talk = Talk(instance)
    talk.unreachable = {"cs.example"}
    outcome = talk.run(instance.anchor())
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_GET_VERSION_FAILED
    assert len(talk.asked) == 2
    assert "connection refused" in str(outcome.error)


def test_a_source_without_any_version_is_unavailable(instance: Instance) -> None:
    talk = Talk()
    outcome = talk.run(instance.anchor())
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE
    assert talk.plain[-1] == f"{BASE}?version=2"


def test_an_address_that_pins_a_version_is_asked_as_it_is(instance: Instance) -> None:
    certificate = (instance.internal.certificate,)
    anchor = Anchor("TEST", NOW, (Source(f"{BASE}?version=2", certificate),))
    talk = Talk(instance)
    outcome = talk.run(anchor)
    assert outcome.accepted is not None
    assert outcome.accepted.directory.version == 2
    assert talk.plain[0] == f"{BASE}?version=2"
    assert outcome.state.location is None


def test_https_is_tried_first(instance: Instance) -> None:
    talk = Talk(instance)
    talk.unreachable = set()
    outcome = talk.run(instance.anchor())
    assert outcome.accepted is not None
    assert {urlsplit(url).scheme for url in talk.asked} == {"https"}


# --- memory ------------------------------------------------------------------------------------


def test_a_remembered_version_is_asked_for_without_probing(instance: Instance) -> None:
    served_only_from(instance, 3)
    talk = Talk(instance)
    first = talk.run(instance.anchor())
    talk.asked.clear()
    second = talk.run(instance.anchor(), state=first.state)
    assert second.accepted is not None
    assert talk.asked[0] == f"{BASE}?version=3"
    assert second.state.location == first.state.location


def test_versions_are_looked_at_again_after_an_hour(instance: Instance) -> None:
    remembered = SourceState("key", RememberedLocation(BASE, 3, NOW - REPROBE_AFTER))
    talk = Talk(instance)
    outcome = talk.run(instance.anchor(), state=remembered)
    assert outcome.accepted is not None
    assert outcome.accepted.directory.version == 6
    assert outcome.state.location == RememberedLocation(BASE, 6, NOW)


def test_the_newest_version_needs_no_second_look(instance: Instance) -> None:
    remembered = SourceState("key", RememberedLocation(BASE, 6, NOW - 2 * REPROBE_AFTER))
    talk = Talk(instance)
    assert talk.run(instance.anchor(), state=remembered).accepted is not None
    assert [url for url in talk.asked if "version=" in url] == [f"{BASE}?version=6"]


def test_a_remembered_version_that_is_gone_is_looked_for_again(instance: Instance) -> None:
    served_only_from(instance, 2, 3)
    remembered = SourceState("key", RememberedLocation(BASE, 5, NOW))
    outcome = Talk(instance).run(instance.anchor(), state=remembered)
    assert outcome.accepted is not None
    assert outcome.accepted.directory.version == 3


def test_a_remembered_address_that_fails_is_forgotten(instance: Instance) -> None:
    remembered = SourceState("key", RememberedLocation(BASE, 6, NOW))
    talk = Talk(instance)
    talk.unreachable = {"cs.example"}
    outcome = talk.run(instance.anchor(), state=remembered)
    assert outcome.state.location is None
    assert outcome.accepted is None


def test_history_survives_a_failure(instance: Instance) -> None:
    talk = Talk(instance)
    first = talk.run(instance.anchor())
    talk.unreachable = {"cs.example"}
    assert talk.run(instance.anchor(), state=first.state).state.history == first.state.history


# --- several addresses -------------------------------------------------------------------------


def anchor_of(instance: Instance, *addresses: str) -> Anchor:
    certificate = (instance.internal.certificate,)
    return Anchor(
        "TEST",
        NOW,
        tuple(Source(f"http://{address}/internalconf", certificate) for address in addresses),
    )


def test_the_next_address_is_tried_after_a_failure(instance: Instance) -> None:
    talk = Talk(instance)
    talk.unreachable |= {"dead.example"}
    outcome = talk.run(anchor_of(instance, "dead.example", "cs.example"))
    assert outcome.accepted is not None
    assert any("dead.example" in failure.url for failure in outcome.failures)


def test_a_forged_directory_at_one_address_does_not_stop_the_next(instance: Instance) -> None:
    forger = Instance(address="evil.example")
    forger.internal = signing_key("forger")
    forger.publish()
    talk = Talk(instance, forger)
    outcome = talk.run(anchor_of(instance, "evil.example", "cs.example"))
    assert outcome.accepted is not None
    assert [type(failure.error) for failure in outcome.failures if "http:" in failure.url] == [
        TrustError
    ]


def test_a_broken_proof_tells_more_than_an_unreachable_address(instance: Instance) -> None:
    forger = Instance(address="evil.example")
    forger.internal = signing_key("forger")
    forger.publish()
    talk = Talk(forger)
    outcome = talk.run(anchor_of(instance, "evil.example", "cs.example"))
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT


def test_an_anchor_without_usable_address_fails_openly(instance: Instance) -> None:
    anchor = Anchor("TEST", NOW, (Source("ftp://cs.example/x", (b"A",)),))
    outcome = Talk(instance).run(anchor)
    assert outcome.accepted is None
    assert outcome.failures == ()
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE


# --- parts -------------------------------------------------------------------------------------


def test_unchanged_parts_are_not_fetched_again(instance: Instance) -> None:
    talk = Talk(instance)
    first = talk.run(instance.anchor())
    assert first.accepted is not None
    talk.at = instance.later(minutes=1)
    talk.asked.clear()
    second = talk.run(instance.anchor(), stored=first.accepted.instances, state=first.state)
    assert second.accepted is not None
    assert second.accepted.fetched == ()
    assert talk.plain == [f"{BASE}?version=6"]
    assert second.accepted.directory.expires_at > first.accepted.directory.expires_at


def test_only_the_changed_part_is_fetched(instance: Instance) -> None:
    talk = Talk(instance)
    first = talk.run(instance.anchor())
    assert first.accepted is not None
    instance.registry = replace(instance.registry, ocsp_freshness_seconds=60)
    talk.at = instance.later(minutes=1)
    second = talk.run(instance.anchor(), stored=first.accepted.instances, state=first.state)
    assert second.accepted is not None
    assert second.accepted.fetched == (("TEST", "shared-params.xml"),)


def test_one_part_that_cannot_be_fetched_discards_the_whole_update(instance: Instance) -> None:
    instance.files = {p: d for p, d in instance.files.items() if "shared" not in p}
    outcome = Talk(instance).run(instance.anchor())
    assert outcome.accepted is None
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE


def test_one_part_with_other_bytes_discards_the_whole_update(instance: Instance) -> None:
    instance.files = {p: d + b" " * ("shared" in p) for p, d in instance.files.items()}
    outcome = Talk(instance).run(instance.anchor())
    assert outcome.accepted is None
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE


def test_parts_of_two_generations_never_mix(instance: Instance) -> None:
    """The directory of one generation with a part of the next one fails as a whole."""
    old = dict(instance.files)
    instance.registry = replace(instance.registry, ocsp_freshness_seconds=60)
    instance.later(minutes=1)
    new_shared = next(
        data
        for path, data in instance.files.items()
        if path not in old and "V6" in path and "shared" in path
    )
    mixed = {p: new_shared if p.startswith("V6") and "shared" in p else d for p, d in old.items()}
    instance.files = mixed
    assert Talk(instance).run(instance.anchor()).accepted is None


def test_what_is_asked_for_is_bounded(instance: Instance) -> None:
    dialogue = update_instance(
        instance.anchor(), OWN, stored={}, state=SourceState("key"), shuffle=list
    )
    step = next(dialogue)
    assert step.max_body == MAX_DIRECTORY_BYTES
    step = dialogue.send(Fetched(200, instance.files["V6/internalconf"], NOW))
    assert step.max_body == MAX_PART_BYTES


def test_the_moment_of_each_answer_counts(instance: Instance) -> None:
    talk = Talk(instance, at=NOW + timedelta(seconds=601))
    outcome = talk.run(instance.anchor())
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_OUTDATED


# --- rotation and roll-back --------------------------------------------------------------------


def with_keys(instance: Instance, *names: str) -> None:
    certificates = tuple(signing_key(name).certificate for name in names)
    source = replace(instance.registry.sources[0], internal_verification_certificates=certificates)
    instance.registry = replace(instance.registry, sources=(source,))


def test_keys_rotate_through_the_stored_shared_parameters(instance: Instance) -> None:
    talk = Talk(instance)
    anchor = instance.anchor()
    with_keys(instance, "TEST-internal", "next")  # both are announced
    talk.at = instance.later(minutes=1)
    first = talk.run(anchor)
    assert first.accepted is not None
    instance.internal = signing_key("next")  # the new one signs
    talk.at = instance.later(minutes=1)
    second = talk.run(anchor, stored=first.accepted.instances, state=first.state)
    assert second.accepted is not None
    with_keys(instance, "next")  # the old one is gone
    talk.at = instance.later(minutes=1)
    third = talk.run(anchor, stored=second.accepted.instances, state=second.state)
    assert third.accepted is not None
    fresh = talk.run(anchor)  # a newcomer with the old anchor alone can't follow
    assert fresh.accepted is None
    assert fresh.error is not None
    assert fresh.error.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT


def test_a_replayed_generation_is_refused(instance: Instance) -> None:
    replayed = dict(instance.files)
    talk = Talk(instance)
    talk.at = instance.later(minutes=2)
    first = talk.run(instance.anchor())
    assert first.accepted is not None
    instance.files = replayed
    outcome = talk.run(instance.anchor(), stored=first.accepted.instances, state=first.state)
    assert outcome.accepted is None
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_answers_of_not_found_cannot_force_an_older_version(instance: Instance) -> None:
    talk = Talk(instance)
    first = talk.run(instance.anchor())
    assert first.accepted is not None
    for version in (6, 5, 4, 3):
        talk.statuses[f"{BASE}?version={version}"] = 404
    talk.at = instance.later(minutes=1)
    outcome = talk.run(instance.anchor(), stored=first.accepted.instances, state=first.state)
    assert outcome.accepted is None
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_a_longer_validity_does_not_matter(instance: Instance) -> None:
    instance.settings = GenerationSettings(validity=timedelta(days=1))
    talk = Talk(instance)
    talk.at = instance.later(minutes=1)
    first = talk.run(instance.anchor())
    assert first.accepted is not None
    instance.settings = GenerationSettings()
    talk.at = instance.later(minutes=1)
    second = talk.run(instance.anchor(), stored=first.accepted.instances, state=first.state)
    assert second.accepted is not None


def test_broken_stored_parameters_give_no_locations(instance: Instance) -> None:
    accepted = Talk(instance).run(instance.anchor()).accepted
    assert accepted is not None
    part = accepted.instances["TEST"]["shared-params.xml"]
    assert stored_shared_parameters(accepted.instances, "TEST") is not None
    broken = {"TEST": {"shared-params.xml": replace(part, content=b"bit rot")}}
    assert stored_shared_parameters(broken, "TEST") is None
    assert stored_shared_parameters({}, "TEST") is None
