"""What follows from the registry for clients and authentication certificates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from postroad.adapters.signer_client import SignerClient
from postroad.globalconf.view import GlobalConfiguration
from postroad.securityserver.globalconf_files import CurrentConfiguration
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.registrations import (
    RegistrationJob,
    changing_clients,
    following_certificate_status,
)
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ClientEntry,
    ServerConfSnapshot,
    ServerConfView,
    SnapshotFile,
    store_snapshot,
)
from support.trust import (
    CLIENT,
    INSTANCE,
    OWNER,
    SERVER,
    STRANGER,
    Ecosystem,
    SignerDouble,
    key_certificate,
)

HEIR = STRANGER
AUTH = Ecosystem().lab.auth_certificate(SERVER).certificate.der
LISTED = Ecosystem(auth_certificates=(AUTH,)).globalconf()
UNLISTED = Ecosystem().globalconf()


@pytest.mark.parametrize(
    ("status", "when_listed", "when_missing"),
    [
        ("saved", "registered", None),
        ("registration in progress", "registered", None),
        ("registered", None, "global error"),
        ("global error", "registered", None),
        ("deletion in progress", None, None),
    ],
)
def test_authentication_certificate_follows_the_registry(
    status: str, when_listed: str | None, when_missing: str | None
) -> None:
    key = key_certificate(AUTH, usage="AUTHENTICATION", status=status)
    assert following_certificate_status(key, LISTED, SERVER) == when_listed
    assert following_certificate_status(key, UNLISTED, SERVER) == when_missing


def test_certificate_of_another_server_is_not_registered_for_this_one() -> None:
    key = key_certificate(AUTH, usage="AUTHENTICATION", status="saved")
    other = type(SERVER)(INSTANCE, "GOV", "1", "SS2")
    assert following_certificate_status(key, LISTED, other) is None


def test_signing_certificate_stays_as_it_is() -> None:
    assert following_certificate_status(key_certificate(AUTH), LISTED, SERVER) is None


def snapshot(*statuses: tuple[str, str]) -> ServerConfSnapshot:
    return ServerConfSnapshot(
        format=FORMAT,
        revision=1,
        server=SERVER.encoded(),
        clients=tuple(
            ClientEntry(identifier, status, "SSLAUTH", (), (), (), ())
            for identifier, status in statuses
        ),
        timestamping=(),
    )


def test_clients_that_differ_are_named() -> None:
    view = ServerConfView(
        snapshot(
            (OWNER.encoded(), "saved"),
            (CLIENT.encoded(), "registered"),
            ("TEST/GOV/1/gone", "registered"),
            ("TEST/GOV/1/new", "saved"),
        )
    )
    assert changing_clients(view, LISTED) == [
        (OWNER.encoded(), "registered"),
        ("TEST/GOV/1/gone", "global error"),
    ]


class Configuration(CurrentConfiguration):
    def __init__(self) -> None:
        pass

    async def get(self) -> GlobalConfiguration:
        return LISTED


class Signer(SignerDouble, SignerClient):
    """A double that passes for the client."""


def test_job_changes_what_differs_and_nothing_the_second_time(tmp_path: Path) -> None:
    path = tmp_path / "serverconf.snapshot"
    store_snapshot(path, snapshot((CLIENT.encoded(), "saved")))
    signer = Signer(key_certificate(AUTH, usage="AUTHENTICATION", status="saved"))
    updates: list[int] = []

    async def update_clients() -> None:
        updates.append(1)
        store_snapshot(path, snapshot((CLIENT.encoded(), "registered")))

    job = RegistrationJob(
        signer=signer,
        configuration=Configuration(),
        snapshot=SnapshotFile(path),
        update_clients=update_clients,
    )

    def run() -> Outcome:
        return asyncio.run(job.run())

    first = run()
    assert not first.silent
    assert len(first.facts["changed"]) == 2  # it is a list
    assert signer.keys[0].status == "registered"
    assert updates == [1]
    assert run().silent
    assert updates == [1]


def job(path: Path, signer: Signer, globalconf: GlobalConfiguration) -> tuple[Outcome, int]:
    """What one look finds, and how often the database is brought up to date."""
    updates: list[int] = []

    async def update_clients() -> None:
        updates.append(1)

    class Known(Configuration):
        async def get(self) -> GlobalConfiguration:
            return globalconf

    following = RegistrationJob(
        signer=signer,
        configuration=Known(),
        snapshot=SnapshotFile(path),
        update_clients=update_clients,
    )
    return asyncio.run(following.run()), len(updates)


@pytest.mark.parametrize(("address", "expected"), [("ss1.example", 1), ("else.example", 0)])
def test_job_closes_requests_whose_outcome_is_there(
    tmp_path: Path, address: str, expected: int
) -> None:
    path = tmp_path / "serverconf.snapshot"
    submitted = (("addressChange", "", address),)
    store_snapshot(path, msgspec.structs.replace(snapshot(), submitted=submitted))
    assert job(path, Signer(), LISTED)[1] == expected


def test_job_finds_out_that_the_server_has_another_owner(tmp_path: Path) -> None:
    path = tmp_path / "serverconf.snapshot"
    store_snapshot(path, snapshot((OWNER.encoded(), "registered"), (HEIR.encoded(), "registered")))
    signer = Signer(key_certificate(AUTH, usage="AUTHENTICATION"))
    changed = Ecosystem(owner=HEIR, auth_certificates=(AUTH,)).globalconf()
    outcome, updates = job(path, signer, changed)
    assert updates == 1
    assert outcome.facts["changed"] == [{"server": "TEST/GOV/9/SS1"}]
    assert signer.keys[0].status == "registered", "judged under the new name, at the next look"
