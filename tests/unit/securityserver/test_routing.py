from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.errors import FaultCode, RefusedRequest
from postroad.globalconf.view import ProviderServer
from postroad.identifiers import ClientId, SecurityServerId, SubsystemId
from postroad.securityserver.routing import (
    Winners,
    choose_servers,
    is_host,
    next_timeout,
    order_addresses,
)

PROVIDER = SubsystemId("PR", "GOV", "1", "registry")


def server(code: str, address: str, maintenance: str | None = None) -> ProviderServer:
    return ProviderServer(SecurityServerId("PR", "GOV", "1", code), address, maintenance)


@dataclass
class Registry:
    servers: tuple[ProviderServer, ...]
    others: dict[SecurityServerId, str] = field(default_factory=dict)

    def servers_of(self, client: ClientId) -> tuple[ProviderServer, ...]:
        return self.servers if client == PROVIDER else ()

    def address_of(self, server_id: SecurityServerId) -> str | None:
        known = {entry.server_id: entry.address for entry in self.servers}
        return (known | self.others).get(server_id)


A, B, C = server("a", "a.example"), server("b", "b.example"), server("c", "192.0.2.3")


def refused(registry: Registry, target: SecurityServerId | None = None) -> RefusedRequest:
    with pytest.raises(RefusedRequest) as caught:
        choose_servers(registry, PROVIDER, target)
    return caught.value


def test_all_servers_of_the_provider_are_candidates() -> None:
    assert choose_servers(Registry((A, B, C)), PROVIDER, None) == (A, B, C)


def test_provider_without_a_server_is_unknown() -> None:
    assert refused(Registry(())).code is FaultCode.UNKNOWN_MEMBER


def test_target_server_is_the_only_candidate() -> None:
    assert choose_servers(Registry((A, B, C)), PROVIDER, B.server_id) == (B,)


def test_target_server_must_host_the_provider() -> None:
    assert refused(Registry((A, B)), C.server_id).code is FaultCode.INVALID_SECURITY_SERVER
    registry = Registry((A, B), {C.server_id: "c.example"})
    assert refused(registry, C.server_id).code is FaultCode.INVALID_SECURITY_SERVER


def test_servers_in_maintenance_are_skipped() -> None:
    resting = server("b", "b.example", "")
    assert choose_servers(Registry((A, resting, C)), PROVIDER, None) == (A, C)


def test_maintenance_of_all_is_told_with_the_first_message() -> None:
    error = refused(Registry((server("a", "a", "back at noon"), server("b", "b", "later"))))
    assert error.code is FaultCode.MAINTENANCE_MODE
    assert "back at noon" in error.message
    assert "later" not in error.message


def test_maintenance_of_the_target_is_told_although_others_are_open() -> None:
    resting = server("b", "b.example", "")
    error = refused(Registry((A, resting)), resting.server_id)
    assert error.code is FaultCode.MAINTENANCE_MODE


def test_addresses_that_are_no_hosts_are_skipped() -> None:
    broken = server("b", "b example/")
    assert choose_servers(Registry((broken, A)), PROVIDER, None) == (A,)
    assert refused(Registry((broken,))).code is FaultCode.UNKNOWN_MEMBER


@pytest.mark.parametrize("address", ["a", "a-b.example", "192.0.2.1", "2001:db8::1", "::1"])
def test_names_and_addresses_are_hosts(address: str) -> None:
    assert is_host(address)


@pytest.mark.parametrize(
    "address", ["", "a b", "a/b", "a:80", "user@a", "a\n", "http://a", "[::1]"]
)
def test_anything_else_is_no_host(address: str) -> None:
    assert not is_host(address)


@given(st.permutations(range(3)))
def test_order_is_the_given_one_without_repetitions(order: list[int]) -> None:
    servers = (A, B, server("d", "a.example"))
    addresses = order_addresses(servers, order)
    assert sorted(addresses) == ["a.example", "b.example"]
    assert addresses[0] == servers[order[0]].address


def test_timeout_is_halved_down_to_five_seconds() -> None:
    assert [next_timeout(30), next_timeout(15), next_timeout(7.5)] == [15, 7.5, 5]


def test_winner_is_remembered_per_set_for_an_hour() -> None:
    winners = Winners()
    winners.remember(["a", "b"], "b", 100.0)
    assert winners.find(["b", "a"], 3699.0) == "b"
    assert winners.find(["a", "b", "c"], 200.0) is None
    assert winners.find(["a", "b"], 3700.0) is None


def test_using_the_winner_does_not_prolong_its_hour() -> None:
    winners = Winners()
    winners.remember(["a", "b"], "b", 0.0)
    winners.remember(["a", "b"], "b", 3000.0)
    assert winners.find(["a", "b"], 3600.0) is None


def test_failed_winner_is_forgotten() -> None:
    winners = Winners()
    winners.remember(["a", "b"], "b", 0.0)
    winners.forget(["b", "a"])
    assert winners.find(["a", "b"], 1.0) is None


def test_zero_seconds_turn_the_memory_off() -> None:
    winners = Winners(0)
    winners.remember(["a", "b"], "b", 0.0)
    assert winners.find(["a", "b"], 0.0) is None


def test_memory_is_bounded() -> None:
    winners = Winners()
    for number in range(10_001):
        winners.remember([str(number), "x"], "x", 0.0)
    assert winners.find(["0", "x"], 1.0) is None
    assert winners.find(["10000", "x"], 1.0) == "x"
