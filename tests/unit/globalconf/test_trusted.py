from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput, PostroadError, TrustError
from postroad.globalconf.directory import (
    PartReference,
    SignedDirectory,
    sign_directory,
    verify_directory,
)
from postroad.globalconf.federation import AllowedFederations
from postroad.globalconf.generation import private_parameters_of, shared_parameters_of
from postroad.globalconf.moments import encode_stamp
from postroad.globalconf.trusted import (
    DOWNGRADE_MARGIN,
    History,
    TrustedUpdate,
    UpdateScope,
    generation_of,
    private_parameters_in,
)
from support.globalconf import (
    NOW,
    Instance,
    boundaries,
    signing_key,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from postroad.globalconf.stored import StoredPart
    from postroad.globalconf.trusted import AcceptedUpdate

KEY = signing_key("TEST-internal")
OWN = UpdateScope("TEST", is_own=True)
FEDERATED = UpdateScope("TEST", is_own=False)
SHARED = shared_parameters_of(snapshot(), 6).encode(6)
PRIVATE = private_parameters_of(snapshot()).encode(6)
SHARED_SLOT = ("TEST", "shared-params.xml")
PRIVATE_SLOT = ("TEST", "private-params.xml")
EXPIRY = NOW.replace(microsecond=0) + timedelta(minutes=10)


def part(content: bytes, identifier: str, instance: str = "TEST", **changes: Any) -> PartReference:
    values: dict[str, Any] = {
        "identifier": identifier,
        "instance": instance,
        "location": f"/V6/{encode_stamp(NOW)}/{identifier.lower()}.xml",
        "digest_algorithm": DigestAlgorithm.SHA512,
        "digest": DigestAlgorithm.SHA512.digest(content),
    }
    return PartReference(**{**values, **changes})


def parts(at: datetime = NOW) -> tuple[PartReference, ...]:
    folder = f"/V6/{encode_stamp(at)}"
    return (
        part(PRIVATE, "PRIVATE-PARAMETERS", location=f"{folder}/private-params.xml"),
        part(SHARED, "SHARED-PARAMETERS", location=f"{folder}/shared-params.xml"),
    )


def signed(*references: PartReference, version: int = 6, expires_at: datetime = EXPIRY) -> bytes:
    return sign_directory(
        SignedDirectory(expires_at, version, references),
        boundaries=(boundaries()(), "inner"),
        certificate=KEY.certificate,
        algorithm=KEY.algorithm,
        sign=KEY.signer().sign,
    )


def started(
    data: bytes,
    scope: UpdateScope = OWN,
    stored: Mapping[str, Mapping[str, StoredPart]] | None = None,
    history: History | None = None,
    at: datetime = NOW,
) -> TrustedUpdate:
    update = TrustedUpdate(scope, stored or {}, history)
    update.accept_directory(data, [KEY.certificate], at=at)
    return update


def finished(update: TrustedUpdate) -> AcceptedUpdate:
    for slot, content in ((SHARED_SLOT, SHARED), (PRIVATE_SLOT, PRIVATE)):
        if slot in dict(update.missing):
            update.accept_part(slot, content)
    return update.complete()


# --- the order ---------------------------------------------------------------------------------


def test_a_whole_update_holds_every_part_with_its_metadata() -> None:
    accepted = finished(started(signed(*parts())))
    stored = accepted.instances["TEST"]
    assert stored["shared-params.xml"].content == SHARED
    metadata = stored["private-params.xml"].metadata
    assert metadata.content_identifier == "PRIVATE-PARAMETERS"
    assert metadata.instance == "TEST"
    assert metadata.expires_at == EXPIRY
    assert metadata.version == 6
    assert metadata.location == f"/V6/{encode_stamp(NOW)}/private-params.xml"
    assert set(accepted.fetched) == {SHARED_SLOT, PRIVATE_SLOT}
    assert accepted.history == History(NOW, EXPIRY, 6)
    private = private_parameters_in(accepted, "TEST")
    assert private == private_parameters_of(snapshot())
    assert private_parameters_in(accepted, "FI") is None


def test_nothing_comes_out_while_a_part_is_missing() -> None:
    update = started(signed(*parts()))
    update.accept_part(SHARED_SLOT, SHARED)
    assert [slot for slot, _reference in update.missing] == [PRIVATE_SLOT]
    with pytest.raises(TrustError) as caught:
        update.complete()
    assert caught.value.code is FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE


def test_nothing_comes_out_without_a_directory() -> None:
    update = TrustedUpdate(OWN, {})
    with pytest.raises(TrustError):
        update.complete()


def test_a_second_directory_is_refused() -> None:
    update = started(signed(*parts()))
    with pytest.raises(TrustError):
        update.accept_directory(signed(*parts()), [KEY.certificate], at=NOW)


def test_an_unproven_directory_is_refused() -> None:
    update = TrustedUpdate(OWN, {})
    with pytest.raises(TrustError) as caught:
        update.accept_directory(signed(*parts()), [b"another certificate"], at=NOW)
    assert caught.value.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT
    with pytest.raises(TrustError):
        update.complete()


def test_an_expired_directory_is_refused() -> None:
    with pytest.raises(TrustError) as caught:
        started(signed(*parts()), at=EXPIRY + timedelta(seconds=1))
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


# --- parts -------------------------------------------------------------------------------------


def test_parts_that_are_stored_already_are_not_asked_for() -> None:
    stored = finished(started(signed(*parts()))).instances
    update = started(signed(*parts(), expires_at=EXPIRY + timedelta(minutes=1)), stored=stored)
    assert update.missing == ()
    accepted = update.complete()
    assert accepted.fetched == ()
    metadata = accepted.instances["TEST"]["shared-params.xml"].metadata
    assert metadata.expires_at == EXPIRY + timedelta(minutes=1)


def test_a_stored_part_with_other_bytes_is_asked_for_again() -> None:
    stored = finished(started(signed(*parts()))).instances
    broken = replace(stored["TEST"]["shared-params.xml"], content=b"bit rot")
    held = {"TEST": {**stored["TEST"], "shared-params.xml": broken}}
    update = started(signed(*parts()), stored=held)
    assert [slot for slot, _reference in update.missing] == [SHARED_SLOT]


def test_a_stored_part_must_fit_the_version_of_the_new_directory() -> None:
    stored = finished(started(signed(*parts()))).instances
    with pytest.raises(MalformedInput):
        started(signed(*parts(), version=5), stored=stored)


def test_a_part_with_another_digest_is_refused() -> None:
    update = started(signed(*parts()))
    with pytest.raises(TrustError) as caught:
        update.accept_part(SHARED_SLOT, SHARED + b" ")
    assert caught.value.code is FaultCode.GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE
    assert SHARED_SLOT in dict(update.missing)


def test_a_part_that_breaks_the_schema_of_the_version_is_refused() -> None:
    update = started(signed(*parts(), version=5))
    with pytest.raises(MalformedInput) as caught:
        update.accept_part(SHARED_SLOT, SHARED)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


@pytest.mark.parametrize("identifier", ["SHARED-PARAMETERS", "PRIVATE-PARAMETERS"])
def test_a_part_about_another_instance_than_it_claims_is_refused(identifier: str) -> None:
    foreign = snapshot("FI")
    content = (
        shared_parameters_of(foreign, 6).encode(6)
        if identifier == "SHARED-PARAMETERS"
        else private_parameters_of(foreign).encode(6)
    )
    references = [r for r in parts() if r.identifier != identifier]
    update = started(signed(*references, part(content, identifier)))
    slot = SHARED_SLOT if identifier == "SHARED-PARAMETERS" else PRIVATE_SLOT
    with pytest.raises(TrustError) as caught:
        update.accept_part(slot, content)
    assert caught.value.code is FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER


def test_unknown_parts_of_our_own_source_are_kept_unread() -> None:
    update = started(signed(*parts(), part(b"free", "FOO", file_name="foo.bin")))
    update.accept_part(("TEST", "foo.bin"), b"free")
    accepted = finished(update)
    stored = accepted.instances["TEST"]["foo.bin"]
    assert stored.content == b"free"
    assert stored.metadata.file_name == "foo.bin"


def test_a_part_without_instance_belongs_to_the_source() -> None:
    update = started(signed(*parts(), part(b"free", "", instance="", file_name="foo.bin")))
    assert ("TEST", "foo.bin") in dict(update.missing)


@pytest.mark.parametrize("name", ["../evil", "shared-params.xml", "a/b"])
def test_a_part_whose_file_name_leaves_the_directory_is_refused(name: str) -> None:
    with pytest.raises(MalformedInput):
        started(signed(*parts(), part(b"x", "FOO", file_name=name)))


def test_two_parts_for_one_place_are_refused() -> None:
    with pytest.raises(TrustError):
        started(signed(*parts(), parts()[1]))


# --- whose configuration it is -----------------------------------------------------------------


def test_a_federated_source_gives_its_own_shared_parameters_and_nothing_else() -> None:
    foreign = part(b"x", "SHARED-PARAMETERS", instance="OTHER")
    extra = part(b"x", "FOO", file_name="foo.bin")
    update = started(signed(*parts(), foreign, extra), FEDERATED)
    assert [slot for slot, _reference in update.missing] == [SHARED_SLOT]
    accepted = finished(update)
    assert {name: set(files) for name, files in accepted.instances.items()} == {
        "TEST": {"shared-params.xml"}
    }


def test_a_federated_source_that_speaks_for_another_instance_is_refused() -> None:
    scope = UpdateScope("PARTNER", is_own=False)
    with pytest.raises(TrustError) as caught:
        started(signed(parts()[1]), scope)
    assert caught.value.code is FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER


def test_a_federated_filter_does_not_widen_what_a_federated_source_may_say() -> None:
    scope = UpdateScope("PARTNER", is_own=False, allowed=AllowedFederations.parse("all"))
    with pytest.raises(TrustError):
        started(signed(parts()[1]), scope)


def test_our_own_source_must_give_private_parameters() -> None:
    with pytest.raises(TrustError):
        started(signed(parts()[1]))


def test_our_own_source_may_leave_shared_parameters_to_another() -> None:
    accepted = finished(started(signed(parts()[0])))
    assert set(accepted.instances["TEST"]) == {"private-params.xml"}


def test_private_parameters_of_another_instance_are_refused() -> None:
    foreign = part(b"x", "PRIVATE-PARAMETERS", instance="OTHER")
    with pytest.raises(TrustError) as caught:
        started(signed(*parts(), foreign))
    assert caught.value.code is FaultCode.GLOBAL_CONF_PART_INVALID_INSTANCE_IDENTIFIER


@pytest.mark.parametrize(("allowed", "taken"), [("none", False), ("FI", True), ("all", True)])
def test_a_configuration_proxy_may_give_other_instances_that_are_allowed(
    allowed: str, taken: bool
) -> None:
    content = shared_parameters_of(snapshot("FI"), 6).encode(6)
    foreign = part(content, "SHARED-PARAMETERS", instance="FI")
    scope = replace(OWN, allowed=AllowedFederations.parse(allowed))
    update = started(signed(*parts(), foreign), scope)
    slot = ("FI", "shared-params.xml")
    assert (slot in dict(update.missing)) is taken
    if taken:
        update.accept_part(slot, content)
        assert finished(update).instances["FI"]["shared-params.xml"].content == content


def test_extra_parts_of_other_instances_are_ignored() -> None:
    foreign = part(b"x", "MONITORING", instance="FI")
    scope = replace(OWN, allowed=AllowedFederations.parse("all"))
    update = started(signed(*parts(), foreign), scope)
    assert {slot[0] for slot, _reference in update.missing} == {"TEST"}


# --- never backwards ---------------------------------------------------------------------------


def test_an_older_generation_is_refused_although_it_is_signed_and_unexpired() -> None:
    history = History(NOW, EXPIRY, 6)
    older = parts(NOW - timedelta(seconds=1))
    with pytest.raises(TrustError) as caught:
        started(signed(*older, expires_at=EXPIRY + timedelta(hours=1)), history=history)
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_the_same_generation_and_newer_ones_are_accepted() -> None:
    history = History(NOW, EXPIRY, 6)
    for at in (NOW, NOW + timedelta(seconds=1)):
        assert started(signed(*parts(at)), history=history).missing


def test_a_shorter_validity_is_accepted_with_a_newer_generation() -> None:
    history = History(NOW, EXPIRY + timedelta(days=1), 6)
    assert started(signed(*parts(NOW + timedelta(seconds=1))), history=history).missing


def unstamped() -> tuple[PartReference, ...]:
    return tuple(replace(r, location=f"/{r.identifier}.xml") for r in parts())


def test_without_a_generation_the_expiry_must_not_go_back() -> None:
    history = History(None, EXPIRY, 6)
    assert started(signed(*unstamped()), history=history).missing
    with pytest.raises(TrustError) as caught:
        started(signed(*unstamped(), expires_at=EXPIRY - timedelta(seconds=1)), history=history)
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_a_stamp_cannot_be_dropped_to_go_back() -> None:
    history = History(NOW, EXPIRY, 6)
    with pytest.raises(TrustError):
        started(signed(*unstamped(), expires_at=EXPIRY - timedelta(seconds=1)), history=history)


def test_a_source_whose_clock_is_ahead_is_not_remembered_as_the_future() -> None:
    ahead = NOW + timedelta(days=1)
    accepted = finished(started(signed(*parts(ahead), expires_at=ahead)))
    assert accepted.history.generated_at == NOW


def test_a_lower_version_is_refused_while_what_we_hold_is_good() -> None:
    history = History(NOW, EXPIRY, 6)
    later = parts(NOW + timedelta(seconds=1))
    with pytest.raises(TrustError) as caught:
        started(signed(*later, version=5), history=history)
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_a_lower_version_is_accepted_before_what_we_hold_expires() -> None:
    history = History(NOW, EXPIRY, 6)
    at = EXPIRY - DOWNGRADE_MARGIN
    data = signed(*parts(at), version=5, expires_at=EXPIRY + timedelta(minutes=10))
    assert started(data, history=history, at=at).missing


def test_generation_is_the_newest_stamp_of_the_parts() -> None:
    references = (*parts(NOW), parts(NOW + timedelta(minutes=1))[0])
    directory = SignedDirectory(EXPIRY, 6, references)
    assert generation_of(directory) == NOW + timedelta(minutes=1)
    assert generation_of(SignedDirectory(EXPIRY, 6, unstamped())) is None


def test_our_own_generation_is_accepted_step_by_step() -> None:
    instance = Instance()
    instance.publish()
    data = instance.files["V6/internalconf"]
    update = TrustedUpdate(OWN, {})
    update.accept_directory(data, [instance.internal.certificate], at=NOW)
    for slot, reference in update.missing:
        update.accept_part(slot, instance.files[reference.location.lstrip("/")])
    accepted = update.complete()
    expected = verify_directory(data, [instance.internal.certificate], at=NOW)
    assert accepted.directory == expected
    assert accepted.history.generated_at == NOW


def test_no_foreign_bytes_ever_come_out_after_a_refusal() -> None:
    update = started(signed(*parts()))
    for content in (b"", SHARED[:-1], PRIVATE):
        with pytest.raises(PostroadError):
            update.accept_part(SHARED_SLOT, content)
    assert finished(update).instances["TEST"]["shared-params.xml"].content == SHARED
