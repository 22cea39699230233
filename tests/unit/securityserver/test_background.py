"""The background jobs that are no module of their own."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from postroad.clock import FixedClock
from postroad.errors import ConfigurationError, FaultCode, UnavailablePeer
from postroad.securityserver.background import (
    FIRST_POLL_RETRY,
    KEEP_OCSP_FILES,
    ConfigurationJob,
    OcspCleaningJob,
)
from postroad.securityserver.confclient import InstanceReport, PollReport
from postroad.securityserver.globalconf_files import CurrentConfiguration
from postroad.securityserver.settings import Settings, parse_settings
from support.trust import NOW


def settings(home: Path) -> Settings:
    return parse_settings('[server]\nidentifier = "TEST/GOV/1/SS1"\n', home=home)


def configuration(home: Path) -> CurrentConfiguration:
    return CurrentConfiguration(settings(home), FixedClock(NOW))


def test_without_any_configuration_polls_are_frequent(tmp_path: Path) -> None:
    error = UnavailablePeer("nobody there")
    reports = [
        PollReport(InstanceReport("TEST", error)),
        PollReport(InstanceReport("TEST", url="http://cs", version=6), changed=True),
        PollReport(InstanceReport("TEST", error)),
    ]

    async def poll() -> PollReport:
        return reports.pop(0)

    job = ConfigurationJob(poll, configuration(tmp_path), 60.0)
    outcomes = [asyncio.run(job.run()) for _ in range(3)]
    assert [outcome.next_in for outcome in outcomes] == [FIRST_POLL_RETRY, 60.0, 60.0]
    assert [outcome.error for outcome in outcomes] == [error, None, error]
    assert outcomes[1].facts["instances"] == [
        {"instance": "TEST", "url": "http://cs", "version": 6, "fetched": [], "error": None}
    ]


def test_failure_of_a_federated_instance_is_told_and_is_no_failure(tmp_path: Path) -> None:
    async def poll() -> PollReport:
        federated = InstanceReport("OTHER", UnavailablePeer("nobody there"))
        return PollReport(InstanceReport("TEST"), (federated,))

    outcome = asyncio.run(ConfigurationJob(poll, configuration(tmp_path), 60.0).run())
    assert outcome.error is None
    assert "nobody there" in str(outcome.facts["instances"])


def test_configuration_that_was_never_downloaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(configuration(tmp_path).get())
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


def test_ocsp_responses_that_nobody_renewed_are_deleted(tmp_path: Path) -> None:
    directory = settings(tmp_path).ocsp_path
    directory.mkdir()
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for name, age in (("old", KEEP_OCSP_FILES), ("new", timedelta(0))):
        path = directory / f"{name}.ocsp"
        path.write_bytes(b"x")
        moment = (now - age - timedelta(minutes=1)).timestamp()
        os.utime(path, (moment, moment))
    job = OcspCleaningJob(settings(tmp_path), FixedClock(now))
    assert asyncio.run(job.run()).facts == {"deleted": 1}
    assert [path.name for path in directory.iterdir()] == ["new.ocsp"]
    assert asyncio.run(job.run()).silent
