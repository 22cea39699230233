"""What each check makes of what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from postroad.adapters.log_protocol import LogStatus
from postroad.adapters.signer_protocol import TokenInfo, TokenRecord, TokenStatus
from postroad.crypto.certificates import Certificate
from postroad.errors import FaultCode, TrustError, UnavailablePeer
from postroad.globalconf.view import ProviderServer
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.securityserver.doctor import (
    certificates,
    clocks,
    files,
    message_log,
    own_ports,
    peers,
    ports,
    processes,
    registration,
    server,
    token,
)
from postroad.securityserver.doctor.clocks import Reading
from postroad.securityserver.doctor.files import SeenFile
from postroad.securityserver.doctor.findings import Finding
from postroad.securityserver.doctor.handshakes import SeenServerPort
from postroad.securityserver.doctor.message_log import Backlog
from postroad.securityserver.doctor.own_ports import SeenOcspPort
from postroad.securityserver.doctor.peers import SeenPeer
from postroad.securityserver.doctor.ports import Port, SeenPort
from postroad.securityserver.doctor.processes import SeenJob
from postroad.securityserver.doctor.registration import Known
from postroad.securityserver.doctor.server import SeenChild, SeenServer
from postroad.securityserver.messagelog.stop_rule import TimestampingState
from support.exchange import NOW
from support.trust import CLIENT, OWNER, SERVER, Ecosystem, key_certificate

UNREACHABLE = UnavailablePeer("it can't be reached")


def only(findings: list[Finding]) -> tuple[str, str]:
    assert len(findings) == 1, findings
    return findings[0].verdict.value, findings[0].seen


# --- clocks ---------------------------------------------------------------------------------------


def reading(who: str, seconds: float, *, old: bool = False) -> Reading:
    return Reading(who, NOW + timedelta(seconds=seconds), NOW, may_be_old=old)


@pytest.mark.parametrize(
    ("readings", "verdict", "phrase"),
    [
        ([("tsa", 1), ("cs", -2)], "ok", "within 10 s"),
        ([("tsa", 30), ("cs", 0)], "warning", "clock of tsa is 30 s ahead of ours"),
        ([("tsa", 900), ("cs", 0)], "failed", "clock of tsa is 900 s ahead of the others"),
        ([("tsa", -900), ("cs", 0)], "failed", "clock of tsa is 900 s behind the others"),
        ([("tsa", 900), ("cs", 905)], "failed", "our own clock is wrong: tsa, cs agree"),
        ([("tsa", 900)], "failed", "who is right can't be told"),
        ([("tsa", 900), ("cs", -5000)], "failed", "who is right can't be told"),
        ([], "unknown", "nobody"),
    ],
)
def test_the_clock_that_lies_is_named(
    readings: list[tuple[str, float]], verdict: str, phrase: str
) -> None:
    found, seen = only(clocks.judge([reading(*each) for each in readings]))
    assert found == verdict
    assert phrase in seen


def test_an_old_ocsp_answer_accuses_nobody_and_may_agree() -> None:
    old = reading("ocsp", -900, old=True)
    assert only(clocks.judge([old, reading("cs", 0)]))[0] == "ok"
    assert only(clocks.judge([old]))[0] == "unknown"
    assert "our own clock" in only(clocks.judge([old, reading("cs", -910)]))[1]
    assert (
        "ocsp is 900 s ahead"
        in only(clocks.judge([reading("ocsp", 900, old=True), reading("cs", 0)]))[1]
    )


# --- certificates ---------------------------------------------------------------------------------


def authentication(**changes: object) -> tuple[str, str]:
    lab = Ecosystem()
    own = lab.lab.auth_certificate(SERVER).certificate
    registered = replace(lab, auth_certificates=(own.der,))
    key = replace(
        key_certificate(own.der, usage="AUTHENTICATION"), **changes
    )  # values of its fields
    findings = certificates.judge_authentication([key], registered.globalconf(), SERVER, NOW)
    return only(findings)


def test_a_registered_authentication_certificate_is_good() -> None:
    assert authentication() == ("ok", authentication()[1])


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"active": False}, "not active"),
        ({"token_active": False}, "not logged in"),
        ({"status": "registration in progress"}, "registration in progress"),
    ],
)
def test_an_authentication_certificate_that_cannot_be_used(
    changes: dict[str, object], phrase: str
) -> None:
    verdict, seen = authentication(**changes)
    assert verdict == "failed"
    assert phrase in seen


def test_an_expired_certificate_is_named_and_so_is_one_that_ends_soon() -> None:
    lab = Ecosystem()
    own = lab.lab.auth_certificate(SERVER).certificate
    globalconf = replace(lab, auth_certificates=(own.der,)).globalconf()
    key = key_certificate(own.der, usage="AUTHENTICATION")
    day = timedelta(days=1)
    late = certificates.judge_authentication([key], globalconf, SERVER, own.not_after + day)
    assert "has expired" in only(late)[1]
    soon = certificates.judge_authentication([key], globalconf, SERVER, own.not_after - 5 * day)
    assert only(soon)[0] == "warning"
    early = certificates.judge_authentication([key], globalconf, SERVER, own.not_before - day)
    assert "not valid before" in only(early)[1]


def test_a_certificate_of_an_unapproved_authority_or_of_nobody_is_refused() -> None:
    lab = Ecosystem()
    foreign = Ecosystem().lab.auth_certificate(SERVER).certificate
    key = key_certificate(foreign.der, usage="AUTHENTICATION")
    findings = certificates.judge_authentication([key], lab.globalconf(), SERVER, NOW)
    assert "no approved authority" in only(findings)[1]
    own = lab.lab.auth_certificate(SERVER).certificate
    key = key_certificate(own.der, usage="AUTHENTICATION")
    findings = certificates.judge_authentication([key], lab.globalconf(), SERVER, NOW)
    assert "doesn't list it" in only(findings)[1]
    listed = replace(lab, auth_certificates=(own.der,)).globalconf()
    other = SecurityServerId("TEST", "GOV", "1", "SS2")
    findings = certificates.judge_authentication([key], listed, other, NOW)
    assert "for another server" in only(findings)[1]
    assert only(certificates.judge_authentication([], listed, other, NOW))[1] == "there is none"


def test_a_good_certificate_beside_an_old_one_is_enough() -> None:
    lab = Ecosystem()
    own = lab.lab.auth_certificate(SERVER).certificate
    globalconf = replace(lab, auth_certificates=(own.der,)).globalconf()
    good = key_certificate(own.der, usage="AUTHENTICATION")
    old = replace(good, active=False)
    assert only(certificates.judge_authentication([old, good], globalconf, SERVER, NOW))[0] == "ok"


def test_every_member_needs_a_signing_certificate() -> None:
    lab = Ecosystem()
    own = lab.lab.sign_certificate(OWNER).certificate
    key = replace(key_certificate(own.der), member=OWNER.encoded())
    globalconf = lab.globalconf()
    assert only(certificates.judge_signing([key], globalconf, [CLIENT], NOW))[0] == "ok"
    other = SubsystemId("TEST", "GOV", "9", "app")
    findings = certificates.judge_signing([key], globalconf, [CLIENT, other], NOW)
    assert [each.verdict.value for each in findings] == ["ok", "failed"]
    assert "nothing is signed" in findings[1].seen
    assert only(certificates.judge_signing([key], globalconf, [], NOW))[0] == "failed"


# --- this machine ---------------------------------------------------------------------------------


def child(name: str = "worker-0", **changes: object) -> SeenChild:
    made = SeenChild(name, "running", 11, 0, "", is_alive=True)
    return replace(made, **changes)  # values of its fields


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ok"),
        ({"is_alive": False}, "failed"),
        ({"state": "waiting", "pid": 0}, "failed"),
        ({"restarts": 2, "started": NOW - timedelta(minutes=5)}, "warning"),
        ({"restarts": 2, "started": NOW - timedelta(hours=5)}, "ok"),
    ],
)
def test_processes_must_be_there(changes: dict[str, object], verdict: str) -> None:
    assert only(processes.judge([child(**changes)], [], NOW))[0] == verdict


def test_an_overdue_job_is_told_when_its_process_runs() -> None:
    late = SeenJob("ocsp", NOW - timedelta(hours=1))
    assert "ocsp" in only(processes.judge([child()], [late], NOW))[1]
    assert only(processes.judge([child()], [replace(late, name="archiving")], NOW))[0] == "ok"
    both = processes.judge([child("background", is_alive=False)], [late], NOW)
    assert "background is down" in only(both)[1]


RUNNING = SeenServer("running", 10, is_alive=True, children=(child(),))
DOWN = SeenServer("stopped", 10, is_alive=False)
PEERS = Port("peers", "0.0.0.0", 5500)


@pytest.mark.parametrize(
    ("seen", "listeners", "owners", "verdict", "phrase"),
    [
        (RUNNING, 1, {11}, "ok", "5500"),
        (RUNNING, 1, set(), "ok", "5500"),
        (RUNNING, 0, set(), "failed", "nothing listens"),
        (RUNNING, 1, {99}, "failed", "taken by process 99"),
        (DOWN, 1, set(), "failed", "taken"),
        (DOWN, 0, set(), "unknown", "because of server"),
        (
            replace(RUNNING, children=(child(last_end="exit code 1", restarts=3),)),
            1,
            set(),
            "failed",
            "taken",
        ),
    ],
)
def test_ports_are_held_by_this_server(
    seen: SeenServer, listeners: int, owners: set[int], verdict: str, phrase: str
) -> None:
    found, text = only(ports.judge(seen, [SeenPort(PEERS, listeners, frozenset(owners))]))
    assert found == verdict
    assert phrase in text


def test_a_server_is_up_down_or_was_never_there() -> None:
    assert only(server.judge(RUNNING))[0] == "ok"
    assert "is down" in only(server.judge(DOWN))[1]
    assert "no server has run" in only(server.judge(SeenServer("", 0, is_alive=False)))[1]
    stopping = replace(RUNNING, state="stopping")
    assert "stopping" in only(server.judge(stopping))[1]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ok"),
        ({"exposed": 0o40}, "failed"),
        ({"exposed": 0o44, "secret": False}, "ok"),
        ({"exposed": 0o02, "secret": False}, "failed"),
        ({"owner": 1}, "failed"),
        ({"mode": 0o000}, "failed"),
        ({"is_folder": True, "mode": 0o600}, "failed"),
    ],
)
def test_files_are_the_servers_own(changes: dict[str, object], verdict: str) -> None:
    home = SeenFile("home", True, 0o700, 0, 0, secret=False)
    key = SeenFile("home/key", False, 0o600, 0, 0, secret=True)
    changed = replace(key, **changes)  # values of its fields
    assert only(files.judge([home, changed]))[0] == verdict


# --- token, log, registration ---------------------------------------------------------------------


def info(**changes: object) -> TokenInfo:
    values: dict[str, object] = {
        "token": TokenRecord(),
        "active": True,
        "status": TokenStatus.OK,
    } | changes
    return TokenInfo(**values)  # values of its fields


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"active": False}, "nobody gave its PIN"),
        ({"active": False, "status": TokenStatus.USER_PIN_INCORRECT}, "last PIN was wrong"),
        ({"active": False, "status": TokenStatus.USER_PIN_LOCKED}, "USER_PIN_LOCKED"),
        ({"active": False, "status": TokenStatus.NOT_INITIALIZED}, "no PIN yet"),
        ({"available": False, "problem": "no library"}, "no library"),
    ],
)
def test_a_token_that_cannot_sign_is_named(changes: dict[str, object], phrase: str) -> None:
    assert only(token.judge([info()], has_pin_source=False))[0] == "ok"
    verdict, seen = only(token.judge([info(**changes)], has_pin_source=False))
    assert verdict == "failed"
    assert phrase in seen


def test_a_hardware_token_that_is_away_keeps_nothing_else_from_being_judged() -> None:
    away = info(token=TokenRecord(id="hsm"), available=False)
    findings = token.judge([info(), away], has_pin_source=True)
    assert [each.is_sick for each in findings] == [False, False]


STATUS = LogStatus(queued=0, written=1, oldest_pending=None, log_bytes=0)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("status", "backlog", "verdict"),
    [
        (STATUS, Backlog(0, None, TimestampingState(configured=True)), "ok"),
        (STATUS, Backlog(3, NOW - timedelta(hours=1), TimestampingState()), "warning"),
        (STATUS, Backlog(3, NOW, TimestampingState(failing_since=NOW)), "warning"),
        (UNREACHABLE, Backlog(0, None, TimestampingState()), "failed"),
        (STATUS, UNREACHABLE, "failed"),
        (
            LogStatus(refusing="x", queued=0, written=0, oldest_pending=None, log_bytes=0),
            UNREACHABLE,
            "failed",
        ),
    ],
)
def test_the_log_takes_records_and_stamping_keeps_up(
    status: LogStatus, backlog: Backlog, verdict: str
) -> None:
    assert only(message_log.judge(status, backlog, DAY, NOW))[0] == verdict


KNOWN = Known(exists=True, address="ss1", maintenance=None, unregistered=(), saved=())


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        (KNOWN, "ok"),
        (replace(KNOWN, exists=False), "failed"),
        (replace(KNOWN, address=None), "failed"),
        (replace(KNOWN, unregistered=("a",)), "failed"),
        (replace(KNOWN, saved=("a",)), "warning"),
        (replace(KNOWN, maintenance="until noon"), "warning"),
    ],
)
def test_the_registry_knows_the_server(known: Known, verdict: str) -> None:
    assert only(registration.judge(known))[0] == verdict


# --- ports as peers see them ----------------------------------------------------------------------


def certificate() -> Certificate:
    return Ecosystem().lab.auth_certificate(SERVER).certificate


def test_an_address_that_cannot_be_called_from_inside_is_a_warning() -> None:
    own = certificate()
    outside = SeenServerPort("out:5500", UNREACHABLE, connected=False)
    inside = SeenServerPort("in:5500", chain=(own,))
    assert only(own_ports.judge_server_port(outside, inside, {own.der}))[0] == "warning"
    assert only(own_ports.judge_server_port(outside, outside, {own.der}))[0] == "failed"
    assert only(own_ports.judge_server_port(inside, None, {own.der}))[0] == "ok"
    closed, good = SeenOcspPort("o", UNREACHABLE, answered=False), SeenOcspPort("i", None, True)
    assert only(own_ports.judge_ocsp_port(closed, good, server_port_reached=False))[0] == "warning"
    assert only(own_ports.judge_ocsp_port(closed, good, server_port_reached=True))[0] == "failed"


def test_one_good_server_of_a_provider_is_enough() -> None:
    chain = (certificate(),)
    one = ProviderServer(SERVER, "a")
    good = SeenPeer(one, SeenServerPort("a:5500", chain=chain))
    bad = SeenPeer(one, SeenServerPort("b:5500", UNREACHABLE, connected=False))
    refused = TrustError("revoked", code=FaultCode.CERT_VALIDATION)
    assert [f.verdict.value for f in peers.judge(CLIENT, [good, bad])] == ["ok", "warning"]
    assert only(peers.judge(CLIENT, [bad]))[0] == "failed"
    assert only(peers.judge(CLIENT, [replace(good, ocsp_problem=refused)]))[0] == "failed"
    assert only(peers.judge(CLIENT, [replace(good, certificate_problem=refused)]))[0] == "failed"
    resting = replace(good, server=ProviderServer(SERVER, "a", "until noon"))
    assert "until noon" in only(peers.judge(CLIENT, [resting]))[1]
    assert "no Security Server hosts" in only(peers.judge(CLIENT, []))[1]
