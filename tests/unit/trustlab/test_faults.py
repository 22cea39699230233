"""Rules of the plan by which the lab misbehaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import FaultCode, MalformedInput
from postroad.trustlab.faults import FaultPlan, ServiceFaults


def test_a_plan_reads_back_as_written() -> None:
    plan = FaultPlan(
        ocsp=ServiceFaults(time_shift=-7200, status="unknown"),
        tsa=ServiceFaults(stopped=True, delay=1.5, broken=True),
    )
    assert FaultPlan.parse(plan.encode()) == plan


def test_services_not_named_keep_their_plan_and_named_ones_start_anew() -> None:
    plan = FaultPlan.parse(b'{"ocsp": {"delay": 2}, "tsa": {"stopped": true}}')
    changed = plan.updated(b'{"ocsp": {"broken": true}}')
    assert changed.ocsp == ServiceFaults(broken=True)
    assert changed.tsa == ServiceFaults(stopped=True)


def test_shift_and_status_come_as_values() -> None:
    faults = ServiceFaults(time_shift=-60, status="revoked")
    assert faults.shift == timedelta(minutes=-1)
    assert faults.forced_status is CertificateStatus.REVOKED
    assert ServiceFaults().forced_status is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 9000,
        b"{" + b" " * 10_001 + b"}",
        b'{"web": {}}',
        b'{"ocsp": 1}',
        b'{"ocsp": {"explode": true}}',
        b'{"ocsp": {"stopped": 1}}',
        b'{"ocsp": {"broken": "yes"}}',
        b'{"ocsp": {"delay": -1}}',
        b'{"ocsp": {"delay": true}}',
        b'{"ocsp": {"delay": 601}}',
        b'{"ocsp": {"delay": NaN}}',
        b'{"ocsp": {"time_shift": 1.5}}',
        b'{"ocsp": {"time_shift": 999999999999}}',
        b'{"ocsp": {"status": "fine"}}',
        b'{"ocsp": {"status": []}}',
        b'{"tsa": {"status": "good"}}',
    ],
    ids=lambda data: data[:30],
)
def test_refuses_a_plan_it_would_not_follow(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        FaultPlan.parse(data)
    assert caught.value.code is FaultCode.INVALID_REQUEST
