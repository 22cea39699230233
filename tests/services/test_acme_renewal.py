"""Certificates that renew themselves: a real signer, the lab's ACME and OCSP over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from postroad.adapters.signer_protocol import CertificateRecord, CertificateStatus
from postroad.adapters.system_clock import SystemClock
from postroad.cli import server_acme
from postroad.clock import FixedClock
from postroad.crypto.certificates import Certificate
from postroad.errors import FaultCode, UnavailablePeer
from postroad.globalconf.view import GlobalConfiguration
from postroad.securityserver import globalconf_files
from postroad.securityserver.acme.renewal import Renewal, RenewalReport
from postroad.securityserver.acme.renewal_job import RenewalJob
from postroad.securityserver.acme.renewal_state import RenewalStates
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.ocsp_fetching import OcspClient
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ClientEntry,
    ServerConfSnapshot,
    SnapshotFile,
    store_snapshot,
)
from postroad.securityserver.settings import Settings
from postroad.securityserver.snapshots import OcspDirectory
from postroad.trustlab.faults import FaultPlan
from support.acme import Bench, acme_bench
from support.trust import OWNER

AUTOMATIC = {
    "automatic_activate_auth_certificate": True,
    "automatic_activate_acme_sign_certificate": True,
}


@dataclass
class Desk:
    """A bench at a chosen moment; registrations are remembered, and may fail."""

    bench: Bench
    at: datetime = field(default_factory=lambda: SystemClock().now())
    section: dict[str, object] = field(default_factory=dict)
    registered: list[Certificate] = field(default_factory=list)
    registry_is_away: bool = False
    told: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        settings = self.bench.settings
        section = msgspec.structs.replace(settings.acme, **self.section)
        return msgspec.structs.replace(settings, acme=section)

    def look(self) -> RenewalReport:
        """One run of the job."""
        clock = FixedClock(self.at)

        async def register(certificate: Certificate, _globalconf: object) -> None:
            if self.registry_is_away:
                raise UnavailablePeer("the registry is away")
            self.registered.append(certificate)

        async def run(signer, http) -> RenewalReport:
            ordering = self.bench.ordering(signer, http)
            directory = OcspDirectory(self.settings.ocsp_path)
            directory.refresh()
            renewal = Renewal(
                ordering=type(ordering)(
                    settings=self.settings,
                    signer=signer,
                    fetcher=http,
                    book=self.bench.book,
                    clock=clock,
                ),
                states=RenewalStates(self.settings.acme_path / "renewals.json"),
                ocsp=OcspClient(self.settings.ocsp_path, http, clock),
                register=register,
                responses=lambda: directory.responses,
                random=lambda: 0.5,
                tell=lambda event, facts: self.told.append((event, facts)),
            )
            with self.bench.book.locked() as is_ours:
                assert is_ours
                return await renewal.run(self.bench.globalconf(), frozenset({OWNER}))

        return self.bench.run(run)

    def record(self, certificate_hash: str) -> CertificateRecord:
        return next(each for each in self.records() if each.hash == certificate_hash)

    def records(self) -> list[CertificateRecord]:
        info = self.bench.run(lambda signer, _http: signer.info())
        return [each for key in info.token.keys for each in key.certificates]

    def keys(self) -> int:
        return len(self.bench.run(lambda signer, _http: signer.info()).token.keys)

    def set(self, certificate_hash: str, **state: object) -> None:
        self.bench.run(lambda signer, _http: signer.set_certificate(certificate_hash, **state))

    def first(self, *, signing: bool = False) -> str:
        """A certificate in use; its hash."""
        found = self.bench.fulfil(self.bench.wanted(signing=signing))
        self.set(found.hash, active=True, status=CertificateStatus.REGISTERED)
        self.list()
        return found.hash

    def list(self) -> None:
        """Let the global configuration list all our authentication certificates."""
        self.bench.ecosystem.auth_certificates = tuple(
            each.der for each in self.records() if each.member is None
        )

    def answer_ocsp(self, certificate_hash: str) -> None:
        """Fetch and store the response for a certificate, as the OCSP job does."""
        certificate = Certificate.from_der(self.record(certificate_hash).der)

        async def fetch(_signer, http) -> None:
            from postroad.securityserver.ocsp_fetching import targets_of

            globalconf = self.bench.globalconf()
            client = OcspClient(self.settings.ocsp_path, http, FixedClock(self.at))
            for target in targets_of(certificate, globalconf):
                await client.fetch(target, globalconf)

        self.bench.run(fetch)

    def make_due(self) -> None:
        """The moment comes; what is issued from now on lasts for longer."""
        port = self.bench.settings.acme.acme_challenge_port
        self.bench.lab.set(challenge_port=port, days=400)
        self.section["acme_renewal_time_before_expiration_date"] = 99.0
        self.pass_by(days=2)

    def pass_by(self, **time: float) -> None:
        """Later, for us and for the lab's OCSP responder."""
        self.at += timedelta(**time)
        shift = int((self.at - SystemClock().now()).total_seconds())
        plan = self.bench.lab.home.load_faults()
        self.bench.lab.home.store_faults(plan.updated(b'{"ocsp": {"time_shift": %d}}' % shift))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with acme_bench(tmp_path, days=100) as bench:
        yield Desk(bench)


def test_certificates_are_renewed_registered_activated_and_only_then_replaced(
    desk: Desk,
) -> None:
    desk.section = dict(AUTOMATIC)
    authentication, signing = desk.first(), desk.first(signing=True)
    assert desk.look().renewed == []
    planned = desk.record(signing).next_renewal
    assert planned is not None
    assert 85 < (datetime.fromisoformat(planned) - desk.at).days < 87
    desk.make_due()
    assert set(desk.look().renewed) == {authentication, signing}
    successors = {old: str(desk.record(old).renewed_by) for old in (authentication, signing)}
    new = desk.record(successors[authentication])
    assert (new.active, new.status) == (False, CertificateStatus.SAVED)

    report = desk.look()  # signing needs no registration; OCSP was asked
    assert report.activated == [successors[signing]]
    assert [each.der for each in desk.registered] == [new.der]
    assert desk.record(authentication).active
    desk.set(new.hash, status=CertificateStatus.REGISTRATION_IN_PROGRESS)
    assert desk.look().activated == []
    desk.set(new.hash, status=CertificateStatus.REGISTERED)
    assert desk.look().activated == []  # our status says so, the registry doesn't
    desk.list()
    assert desk.look().activated == [new.hash]
    assert desk.record(authentication).active
    assert len(desk.registered) == 1

    desk.look()
    desk.pass_by(hours=25)
    assert desk.look().retired == []  # the OCSP responses are a day old
    for each in successors.values():
        desk.answer_ocsp(each)
    assert set(desk.look().retired) == {authentication, signing}
    assert desk.record(new.hash).active
    assert desk.keys() == 4
    assert desk.look() == RenewalReport(next_in=3600.0) or desk.look().renewed == []


def test_without_automatic_activation_people_decide(desk: Desk) -> None:
    signing = desk.first(signing=True)
    desk.make_due()
    assert desk.look().renewed == [signing]
    successor = str(desk.record(signing).renewed_by)
    assert desk.look().activated == []
    desk.set(successor, active=True)
    desk.pass_by(hours=48)
    desk.answer_ocsp(successor)
    assert desk.look().retired == []
    assert desk.record(signing).active


def test_renewed_certificate_that_is_revoked_is_not_used(desk: Desk) -> None:
    desk.section = dict(AUTOMATIC)
    signing = desk.first(signing=True)
    desk.make_due()
    desk.look()
    successor = desk.record(str(desk.record(signing).renewed_by))
    lab, home = desk.bench.lab.home.load(), desk.bench.lab.home
    serial = Certificate.from_der(successor.der).serial
    lab.revoke(serial, at=desk.at)
    home.record_revoked(serial, at=desk.at)
    report = desk.look()
    assert list(report.failed) == [signing]
    assert not desk.record(successor.hash).active
    assert desk.record(signing).active
    assert desk.record(signing).renewed_by == successor.hash
    assert desk.record(signing).renewal_error


def test_failures_are_told_retried_later_and_survive_a_restart(desk: Desk) -> None:
    authentication = desk.first()
    desk.make_due()
    home = desk.bench.lab.home
    home.store_faults(home.load_faults().updated(b'{"acme": {"stopped": true}}'))
    report = desk.look()
    assert "status 503" in report.failed[authentication]
    assert report.next_in == 60.0
    assert "status 503" in str(desk.record(authentication).renewal_error)
    home.store_faults(home.load_faults().updated(b'{"acme": {}}'))
    report = desk.look()  # a new job, as after a restart: not yet
    assert list(report.failed) == [authentication]
    assert report.renewed == []
    desk.pass_by(seconds=61)
    keys = desk.keys()
    assert desk.look().renewed == [authentication]
    assert desk.keys() == keys  # the key that was made for the first attempt
    assert desk.record(authentication).renewal_error is None

    desk.registry_is_away = True
    assert "registry is away" in desk.look().failed[authentication]
    desk.registry_is_away = False
    desk.pass_by(seconds=61)
    assert desk.look().failed == {}
    assert len(desk.registered) == 1
    assert [event for event, _facts in desk.told].count("renewal failed") == 2


def test_renewal_cut_off_after_the_import_is_not_repeated(desk: Desk) -> None:
    signing = desk.first(signing=True)
    desk.make_due()
    note = Renewal._note

    async def killed(*_args: object, **_more: object) -> None:
        raise asyncio.CancelledError

    Renewal._note = killed
    try:
        with pytest.raises(asyncio.CancelledError):
            desk.look()
    finally:
        Renewal._note = note
    assert len(desk.records()) == 2
    assert desk.look().renewed == [signing]
    assert len(desk.records()) == 2
    assert desk.record(signing).renewed_by in {each.hash for each in desk.records()}


def test_moment_that_the_service_suggests_is_followed(desk: Desk) -> None:
    bench = desk.bench
    bench.lab.set(
        challenge_port=bench.settings.acme.acme_challenge_port, days=100, renew_before_days=50
    )
    signing = desk.first(signing=True)
    assert desk.look().renewed == []
    planned = datetime.fromisoformat(str(desk.record(signing).next_renewal))
    end = Certificate.from_der(desk.record(signing).der).not_after
    assert planned == (end - timedelta(days=49.5)).replace(microsecond=0)
    bench.lab.set(
        challenge_port=bench.settings.acme.acme_challenge_port, days=100, renew_before_days=101
    )
    desk.pass_by(days=2)  # a service that has revoked certificates moves its window
    assert desk.look().renewed == [signing]


def test_two_never_work_on_orders_at_a_time(desk: Desk) -> None:
    with desk.bench.book.locked() as first, desk.bench.book.locked() as second:
        assert first
        assert not second


class Configuration:
    """What the configuration client has stored."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def get(self) -> GlobalConfiguration:
        return self.bench.globalconf()


def test_job_continues_what_a_person_began_and_tells_how_it_went(desk: Desk) -> None:
    bench = desk.bench
    store_snapshot(
        bench.settings.snapshot_path,
        ServerConfSnapshot(
            format=FORMAT,
            revision=1,
            server=bench.settings.server_id.encoded(),
            clients=(ClientEntry(OWNER.encoded(), "registered", "NOSSL", (), (), (), ()),),
            timestamping=(),
        ),
    )

    def look() -> Outcome:
        async def run(signer, http) -> Outcome:
            job = RenewalJob(
                bench.settings,
                signer,
                Configuration(bench),
                SnapshotFile(bench.settings.snapshot_path),
                http,
                SystemClock(),
            )
            return await job.run()

        return bench.run(run)

    bench.wanted(signing=True)
    bench.lab.home.store_faults(FaultPlan.parse(b'{"acme": {"stopped": true}}'))
    outcome = look()
    assert outcome.error is not None
    assert outcome.error.code is FaultCode.ACME_FAILED
    assert "status 503" in str(outcome.facts["failed"])
    assert (bench.settings.acme_path / "renewals.json").stat().st_mode & 0o777 == 0o600
    with bench.book.locked() as is_ours:
        assert is_ours
        assert look().silent  # somebody else is at work
    bench.lab.home.store_faults(FaultPlan())
    (bench.settings.acme_path / "renewals.json").unlink()
    assert look().error is None
    assert bench.book.unfinished() == []
    assert [each.member for each in desk.records()] == [OWNER.encoded()]


def test_command_orders_a_certificate(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = desk.bench
    globalconf = bench.globalconf()
    monkeypatch.setattr(globalconf_files, "load_globalconf", lambda _settings: globalconf)
    monkeypatch.setattr(server_acme, "local_members", lambda _settings: frozenset({OWNER}))
    command = ["--home", str(bench.home), "--ca", "Lab CA"]
    result = CliRunner().invoke(server_acme.order, [*command, "--usage", "auth"])
    assert result.exit_code == 0, result.exception
    assert Certificate.from_der(desk.record(result.output.strip()).der).is_authentication()
    result = CliRunner().invoke(
        server_acme.order, [*command, "--usage", "sign", "--member", "TEST/GOV/9"]
    )
    assert "no client" in str(result.exception)
    command[-1] = "Other CA"
    result = CliRunner().invoke(server_acme.order, [*command, "--usage", "auth"])
    assert "'Lab CA'" in str(result.exception)
