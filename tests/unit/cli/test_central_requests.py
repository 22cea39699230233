"""Management requests from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from postroad.centralserver.node import CentralServerNode, open_node
from postroad.centralserver.registry import system
from postroad.centralserver.registry.management_requests import add_request
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.servers import load_server
from postroad.cli.central import command
from postroad.identifiers import SubsystemId
from postroad.management.lifecycle import RequestOrigin
from postroad.management.requests import (
    AuthCertRegistration,
    ClientRegistration,
    ManagementRequest,
)
from support.central_server import (
    SERVER,
    MovingClock,
    approve_trust_services,
    auth_certificate,
    fill,
)

RENEWAL = AuthCertRegistration(SERVER, auth_certificate(SERVER, 1), "moved.example")
SHOP = ClientRegistration(SERVER, SubsystemId("DEV", "GOV", "2", "shop"), "Shop")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CentralServerNode:
    node = open_node(tmp_path, clock=MovingClock())
    with node.changing("tester") as change:
        system.initialize(change, "DEV", "cs.example")
        fill(change)
        approve_trust_services(change)
    monkeypatch.setenv("POSTROAD_CENTRAL_HOME", str(tmp_path))
    return node


def received(node: CentralServerNode, request: ManagementRequest) -> str:
    with node.changing("server:test") as change:
        return str(add_request(change, request, RequestOrigin.SECURITY_SERVER).id)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["request", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_requests_are_listed_newest_first(node: CentralServerNode) -> None:
    ids = [received(node, RENEWAL), received(node, SHOP)]
    rows = json.loads(run("list", "--json"))
    assert [str(row["id"]) for row in rows] == ids[::-1]
    assert rows[0]["client"] == "DEV/GOV/2/shop"
    assert rows[1]["type"] == "AuthCertRegRequest"
    assert "WAITING" in run("list")
    run("decline", ids[0])
    assert [str(row["id"]) for row in json.loads(run("list", "--waiting", "--json"))] == ids[1:]


def test_a_request_is_shown_with_its_certificate(node: CentralServerNode) -> None:
    shown = json.loads(run("show", received(node, RENEWAL), "--json"))
    assert shown["address"] == "moved.example"
    assert shown["server"] == "DEV/GOV/1/SS1"
    assert len(shown["certificate_sha256"]) == 64
    assert json.loads(run("show", received(node, SHOP), "--json"))["subsystem_name"] == "Shop"


def test_approving_takes_effect_and_says_so(node: CentralServerNode) -> None:
    output = run("approve", received(node, RENEWAL))
    assert "Register authentication certificate of security server" in output
    assert "Approve management request" in output
    with node.reading() as session:
        assert load_server(session, SERVER).address == "moved.example"


def test_a_decided_or_unknown_request_is_refused(node: CentralServerNode) -> None:
    request_id = received(node, RENEWAL)
    assert "Decline management request" in run("decline", request_id)
    for arguments, problem in (
        (("approve", request_id), Problem.REQUEST_APPROVAL_STATE),
        (("show", "99"), Problem.REQUEST_NOT_FOUND),
    ):
        with pytest.raises(RegistryRefusal) as refusal:
            run(*arguments)
        assert refusal.value.problem is problem
