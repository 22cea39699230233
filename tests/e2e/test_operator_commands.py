"""What the operator, the integrator and the auditor type, against a running ecosystem."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from postroad.demo.consumer import call, request
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.layout import CONSUMER, PARTIES, PROVIDER, SERVICE_CODE
from postroad.demo.processes import wait_until
from postroad.demo.storage_tour import show_storage
from postroad.demo.tour import Tour
from support.operating import postroad

pytestmark = pytest.mark.xdist_group("ecosystem")

PATH = f"/r1/{PROVIDER.subsystem.encoded()}/{SERVICE_CODE}"


@pytest.fixture(scope="module")
def ecosystem(shared_ecosystem: Ecosystem) -> Ecosystem:
    return shared_ecosystem


def test_the_demos_tour_shows_every_step(ecosystem: Ecosystem) -> None:
    # What no header was read of has a record without an identifier, among those the tour lists.
    url = ecosystem.layout.client_url(PROVIDER)
    refused = request(url, "POST", "/", {"Content-Type": "text/xml"}, b"not SOAP")
    assert b"<faultcode>client.invalid_soap</faultcode>" in refused.body
    tour = Tour(ecosystem.layout, ecosystem.check)
    titles = [shown.title for shown in (*tour.run(), *show_storage(ecosystem))]
    assert len(titles) == 19
    result = postroad(
        "verify",
        *tour.containers,
        "--conf",
        ecosystem.layout.server_home(CONSUMER) / "globalconf",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "56 valid, 0 invalid, 0 not judged" in result.stdout


def test_the_integrator_calls_and_reads_the_answer(ecosystem: Ecosystem) -> None:
    url = ecosystem.layout.client_url(CONSUMER)
    client = CONSUMER.subsystem.encoded()
    answered = postroad("call", "GET", f"{PATH}/persons/2", "--server", url, "--client", client)
    assert answered.returncode == 0
    assert json.loads(answered.stdout)["name"] == "Aino Virtanen"
    refused = postroad("call", "GET", f"{PATH}/persons", "--server", url, "--client", client)
    assert refused.returncode == 1
    assert "server.serverproxy.access_denied" in refused.stderr
    assert "Who must act:  the owner of the service" in refused.stderr


def test_the_auditor_exports_an_exchange_by_its_id(ecosystem: Ecosystem, tmp_path: Path) -> None:
    layout = ecosystem.layout
    answer = call(layout.client_url(CONSUMER), "POST", "/applications", body=b"for the auditor")
    for party in PARTIES:
        out = tmp_path / party.server_code
        home = layout.server_home(party)

        def is_exported(out: Path = out, home: Path = home) -> bool:
            result = postroad("server", "export", answer.query_id, "--out", out, "--home", home)
            return result.returncode == 0

        wait_until("the export", is_exported)
        files = sorted(out.iterdir())
        assert len(files) == 2
        result = postroad("verify", *files, "--conf", home / "globalconf", "--json")
        assert result.returncode == 0, result.stdout
        verdicts = json.loads(result.stdout)["results"]
        assert {verdict["verdict"] for verdict in verdicts} == {"valid"}


def test_the_operator_sees_the_state_of_the_server(ecosystem: Ecosystem) -> None:
    home = ecosystem.layout.server_home(PROVIDER)
    for arguments in (
        ("status",),
        ("token", "status"),
        ("key", "list"),
        ("cert", "list"),
        ("client", "list"),
        ("service", "list"),
    ):
        result = postroad("server", *arguments, "--home", home)
        assert result.returncode == 0, (arguments, result.stderr)
        assert result.stdout.strip()
    unchanged = postroad("server", "diff", home / "services.toml", "--home", home)
    assert unchanged.returncode == 0, unchanged.stdout


def test_the_operator_archives_the_log_and_the_auditor_verifies_it(
    ecosystem: Ecosystem,
) -> None:
    home = ecosystem.layout.server_home(PROVIDER)
    url = ecosystem.layout.client_url(CONSUMER)
    client = CONSUMER.subsystem.encoded()
    postroad("call", "GET", f"{PATH}/persons/2", "--server", url, "--client", client)

    def is_archived() -> bool:
        told = postroad("server", "archive", "status", "--json", "--home", home)
        waiting = json.loads(told.stdout)["waiting_records"]
        result = postroad("server", "archive", "now", "--home", home)
        assert result.returncode == 0, result.stderr
        return waiting == 0

    wait_until("the archive", is_archived)
    told = json.loads(postroad("server", "archive", "status", "--json", "--home", home).stdout)
    (chain,) = told["chains"]
    result = postroad(
        "archive",
        "verify",
        told["directory"],
        "--conf",
        home / "globalconf",
        "--last",
        chain["last_digest"],
        "--json",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    archives = json.loads(result.stdout)["archives"]
    assert sum(archive["verified"] for archive in archives) >= 2
    assert all(archive["verified"] == archive["containers"] for archive in archives)
