from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.identifiers import SecurityServerId
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.messagelog.stamping_job import (
    BUSY_RETRY_S,
    BackgroundStamping,
    build_stamping,
)
from postroad.securityserver.settings import parse_settings
from support.signing import Bench
from support.stamping import TSA, StampingBench, sqlite_url, stamping_bench, unreachable


@pytest.fixture(scope="module")
def signing() -> Bench:
    return Bench.create()


@pytest.fixture
def bench(tmp_path: Path, signing: Bench) -> Iterator[StampingBench]:
    with stamping_bench(sqlite_url(tmp_path), signing) as made:
        yield made


def run(stamping: BackgroundStamping) -> Outcome:
    return asyncio.run(stamping.run())


def test_a_run_tells_diagnostics_how_it_went(bench: StampingBench) -> None:
    bench.append()
    outcome = run(BackgroundStamping(bench.job()))
    assert (outcome.next_in, outcome.error, outcome.silent) == (300, None, False)
    assert outcome.facts["stamped"] == 1
    assert outcome.facts["configured"] is True
    assert outcome.facts["failing_since"] is None
    assert outcome.facts["last_success"] == bench.clock.now().isoformat()
    assert outcome.facts["services"] == [
        {
            "url": TSA,
            "state": "ok",
            "at": bench.clock.now().isoformat(),
            "error_code": "",
            "message": "",
        }
    ]


def test_a_failure_is_told_with_its_service(bench: StampingBench) -> None:
    bench.services.answers[TSA] = unreachable()
    bench.append()
    outcome = run(BackgroundStamping(bench.job()))
    assert outcome.error is bench.services.answers[TSA]
    assert outcome.facts["failing_since"] == bench.clock.now().isoformat()
    assert "'state': 'failed'" in str(outcome.facts["services"])


def test_a_run_without_news_is_silent_after_the_first(bench: StampingBench) -> None:
    stamping = BackgroundStamping(bench.job())
    assert not run(stamping).silent
    assert run(stamping).silent


def test_a_log_that_cannot_be_used_is_tried_again_soon(bench: StampingBench) -> None:
    bench.append()
    bench.direct.fail_after = 0
    outcome = run(BackgroundStamping(bench.job()))
    assert isinstance(outcome.error, ConfigurationError)
    assert outcome.next_in == BUSY_RETRY_S


def test_a_servers_job_follows_its_settings_and_its_configuration(
    bench: StampingBench, tmp_path: Path
) -> None:
    from postroad.securityserver.serverconf import clients
    from postroad.securityserver.serverconf.repository import ServerConf

    settings = parse_settings(
        '[server]\nidentifier = "TEST/COM/1234/SS1"\n'
        "[message_log]\ntimestamp_interval = 7\n"
        f'database = "{sqlite_url(tmp_path)}"\n',
        home=tmp_path,
    )
    settings.run_path.mkdir()
    (tmp_path / "db").mkdir()

    async def configuration() -> object:
        return bench.globalconf

    job = build_stamping(
        settings,
        log=bench.direct,
        fetcher=bench.services,
        configuration=configuration,
        clock=bench.clock,
    )
    bench.append()
    unpublished = run(BackgroundStamping(job))
    assert unpublished.error is not None
    conf = ServerConf.open(settings.serverconf_url, settings.snapshot_path)
    conf.initialise(SecurityServerId.parse("TEST/COM/1234/SS1"))
    with conf.change() as session:
        clients.set_timestamping(session, [("TSA", TSA)])
    conf.close()
    outcome = run(BackgroundStamping(job))
    assert (outcome.facts["stamped"], outcome.next_in) == (1, 7)
