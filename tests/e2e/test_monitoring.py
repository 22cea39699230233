"""Every process of a Security Server at work for its monitoring, in a running ecosystem."""

from __future__ import annotations

import urllib.request

import psycopg
import pytest

from postroad.demo.consumer import call
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.layout import CONSUMER, PARTIES, PROVIDER
from postroad.demo.processes import wait_until

pytestmark = pytest.mark.xdist_group("ecosystem")


def test_an_exchange_is_recorded_and_counted_on_both_sides(shared_ecosystem: Ecosystem) -> None:
    layout = shared_ecosystem.layout
    answer = call(layout.client_url(CONSUMER), "GET", "/persons/1")
    question = (
        "SELECT security_server_type, succeeded, status_code, rest_path, service_type,"
        " client_security_server_address, service_security_server_address"
        " FROM operational_data WHERE message_id = %s"
    )

    def records() -> list[tuple[object, ...]]:
        found = []
        for party in PARTIES:
            with psycopg.connect(shared_ecosystem.settings(party).opmonitoring_url) as database:
                found += database.execute(question, (answer.query_id,)).fetchall()
        return found

    wait_until("the records are stored", lambda: len(records()) == 2, patience=30)
    addresses = (layout.address(CONSUMER.number), layout.address(PROVIDER.number))
    kinds = {record[0]: record for record in records()}
    assert kinds["Client"] == ("Client", 1, 200, None, "REST", *addresses)
    assert kinds["Producer"][1:3] == (1, 200)
    assert kinds["Producer"][5:] == addresses
    for party, side in ((CONSUMER, "client"), (PROVIDER, "server")):
        url = layout.health_url(party)
        with urllib.request.urlopen(url, timeout=10) as healthy:
            assert (healthy.status, healthy.read()) == (200, b"")
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as metrics:
            lines = metrics.read().decode().splitlines()
        name = f'postroad_exchanges_total{{fault="",outcome="success",side="{side}"}} '
        assert any(line.startswith(name) and float(line.split()[-1]) >= 1 for line in lines)
        for process in ("supervisor", "signer", "logwriter", "background", "worker-0"):
            assert any(f'resident_bytes{{process="{process}"}}' in line for line in lines), process
        assert "postroad_healthy 1.0" in lines
