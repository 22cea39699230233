"""What proves an exchange of the demo: the signed containers in the message logs of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.files import read_tree, write_atomic
from postroad.demo.consumer import fetch_container
from postroad.demo.processes import wait_until
from postroad.evidence.asic import parse_container
from postroad.evidence.container_verification import ContainerReport, verify_container
from postroad.globalconf.stored import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postroad.demo.consumer import Answer
    from postroad.demo.layout import Layout, Party
    from postroad.globalconf.view import GlobalConfiguration

_CONFIGURATION_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange that both sides must be able to prove."""

    title: str
    query_id: str
    has_response: bool = True
    """False when the service answered with a fault, which nobody signs."""
    is_of_owner: bool = False
    """Whether the server's owner answered, whose messages the provider's system can't fetch."""


class Evidence:
    """Fetches signed containers from message logs and verifies them."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self.containers: list[Path] = []

    def prove(
        self, layout: Layout, party: Party, exchange: Exchange, *, response: bool
    ) -> ContainerReport:
        """Verify one message of an exchange by what the party's own server has logged."""
        container = self._fetch(layout, party, exchange, response=response)
        kind = "response" if response else "request"
        path = layout.evidence / f"{party.server_code}-{exchange.query_id}-{kind}.asice"
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, container)
        self.containers.append(path)
        return verify_container(parse_container(container), load_stored(layout, party))

    def _fetch(self, layout: Layout, party: Party, exchange: Exchange, *, response: bool) -> bytes:
        """Fetch a container once its record is time-stamped."""
        found: list[Answer] = []

        def is_stamped() -> bool:
            self._check()
            answer = fetch_container(
                layout.client_url(party), party.subsystem, exchange.query_id, response=response
            )
            found.append(answer)
            return answer.status == 200

        wait_until(f"the time-stamp of {exchange.title}", is_stamped)
        return found[-1].body


def load_stored(layout: Layout, party: Party) -> GlobalConfiguration:
    """The global configuration as a party's Security Server has stored it."""
    return load(read_tree(layout.server_home(party) / "globalconf", _CONFIGURATION_BYTES))


def say_proven(report: ContainerReport, *, response: bool) -> str:
    """Say in a few words what a container proves."""
    kind = "response" if response else "request"
    stamped = f"{report.timestamp.gen_time:%H:%M:%S}"
    return f"{kind} signed by {report.signature.signer}, time-stamped {stamped} UTC"
