"""When certificates are renewed, used and given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from postroad.adapters.signer_protocol import (
    CertificateRecord,
    CertificateStatus,
    KeyRecord,
    KeyUsage,
)
from postroad.identifiers import SecurityServerId
from postroad.securityserver.acme.renewal_rules import (
    KEEP_OLD,
    Next,
    Succession,
    due_moment,
    is_candidate,
    next_step,
    retry_delay,
)
from postroad.securityserver.settings_sections import AcmeSection
from postroad.trustlab.authority import TrustLab

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=30)
LIFE = (NOW - timedelta(days=30), END)
MANUAL = AcmeSection()
AUTOMATIC = AcmeSection(
    automatic_activate_auth_certificate=True, automatic_activate_acme_sign_certificate=True
)
LAB = TrustLab.create(at=NOW)
SERVER = SecurityServerId("TEST", "GOV", "1", "SS1")
OLD = CertificateRecord(
    der=LAB.auth_certificate(SERVER).certificate.der,
    status=CertificateStatus.REGISTERED,
    active=True,
)
NEW = CertificateRecord(
    der=LAB.auth_certificate(SERVER, days=90).certificate.der,
    status=CertificateStatus.REGISTERED,
    active=True,
)
WORKING = Succession(
    usage=KeyUsage.AUTHENTICATION,
    old=OLD,
    new=NEW,
    is_listed=True,
    is_good=True,
    active_since=NOW - KEEP_OLD,
)


def with_new(**changes: object) -> Succession:
    return replace(WORKING, new=msgspec.structs.replace(NEW, **changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"active": False}, False),
        ({"status": CertificateStatus.SAVED}, False),
        ({"status": CertificateStatus.GLOBAL_ERROR}, False),
        ({"renewed_by": "AB"}, False),
        ({"renewal_error": "no", "next_renewal": "2026-01-01"}, True),
    ],
)
def test_only_registered_certificates_in_use_without_successor_are_renewed(
    changes: dict[str, object], *, expected: bool
) -> None:
    key = KeyRecord(
        id="K",
        label="k",
        friendly_name="k",
        algorithm="RSA-2048",
        public_key=b"",
        usage=KeyUsage.AUTHENTICATION,
    )
    assert is_candidate(key, msgspec.structs.replace(OLD, **changes)) is expected
    assert not is_candidate(msgspec.structs.replace(key, usage=None), OLD)


def test_without_suggestion_renewal_is_due_so_many_days_before_the_end() -> None:
    assert due_moment(LIFE, MANUAL, None, 0.5) == END - timedelta(days=14)
    longer = AcmeSection(acme_renewal_time_before_expiration_date=20)
    assert due_moment(LIFE, longer, None, 0.5) == END - timedelta(days=20)


def test_suggested_window_is_used_at_a_random_part_and_never_after_the_end() -> None:
    window = (NOW, NOW + timedelta(days=4))
    assert due_moment(LIFE, MANUAL, window, 0.25) == NOW + timedelta(days=1)
    late = (END, END + timedelta(days=4))
    assert due_moment(LIFE, MANUAL, late, 0.5) == END


def test_new_certificate_is_never_renewed_at_once() -> None:
    past = (NOW - timedelta(days=90), NOW - timedelta(days=80))
    assert due_moment((NOW, END), MANUAL, past, 0.5) == NOW + timedelta(days=1)
    short = (NOW, NOW + timedelta(days=12))
    assert due_moment(short, MANUAL, None, 0.5) == NOW + timedelta(days=8)
    shortest = (NOW, NOW + timedelta(hours=3))
    assert due_moment(shortest, MANUAL, past, 0.5) == NOW + timedelta(hours=1)


def test_failures_are_retried_later_and_later_and_as_the_service_asks() -> None:
    delays = [retry_delay(failures, 0.0, MANUAL) for failures in (1, 2, 3, 7, 500)]
    assert delays == [60.0, 120.0, 240.0, 3600.0, 3600.0]
    assert retry_delay(1, 7200.0, MANUAL) == 7200.0


@pytest.mark.parametrize(
    ("succession", "automatic", "manual"),
    [
        (with_new(active=False, status=CertificateStatus.SAVED), Next.REGISTER, Next.REGISTER),
        (
            with_new(active=False, status=CertificateStatus.REGISTRATION_IN_PROGRESS),
            Next.WAIT,
            Next.WAIT,
        ),
        (with_new(active=False), Next.ACTIVATE, Next.WAIT),
        (replace(with_new(active=False), is_listed=False), Next.WAIT, Next.WAIT),
        (
            replace(with_new(active=False), is_listed=False, usage=KeyUsage.SIGNING),
            Next.ACTIVATE,
            Next.WAIT,
        ),
        (WORKING, Next.RETIRE, Next.WAIT),
        (replace(WORKING, is_good=False), Next.WAIT, Next.WAIT),
        (replace(WORKING, is_listed=False), Next.WAIT, Next.WAIT),
        (replace(WORKING, active_since=None), Next.WAIT, Next.WAIT),
        (replace(WORKING, active_since=NOW - timedelta(hours=23)), Next.WAIT, Next.WAIT),
        (with_new(status=CertificateStatus.GLOBAL_ERROR), Next.WAIT, Next.WAIT),
        (replace(WORKING, old=msgspec.structs.replace(OLD, active=False)), Next.DONE, Next.DONE),
    ],
)
def test_old_certificate_is_given_up_only_when_the_new_one_works(
    succession: Succession, automatic: Next, manual: Next
) -> None:
    assert next_step(succession, AUTOMATIC, NOW) is automatic
    assert next_step(succession, MANUAL, NOW) is manual


def test_old_certificate_is_kept_when_the_new_one_has_ended() -> None:
    assert next_step(WORKING, AUTOMATIC, NOW + timedelta(days=91)) is Next.WAIT


def test_each_usage_has_its_own_switch() -> None:
    signing_only = AcmeSection(automatic_activate_acme_sign_certificate=True)
    waiting = with_new(active=False)
    assert next_step(waiting, signing_only, NOW) is Next.WAIT
    assert next_step(replace(waiting, usage=KeyUsage.SIGNING), signing_only, NOW) is Next.ACTIVATE
