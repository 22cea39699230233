"""Who lives where in the demo: identifiers, loopback addresses, ports and folders.

Every party has an address of its own on the loopback network (127.x.y.z), so that all of them can
use the ecosystem's real ports, as they would on machines of their own. Instance, parties and
network are values, so that several ecosystems fit on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.identifiers import MemberId, SecurityServerId, SubsystemId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMBER_CLASSES = (("GOV", "Government"), ("COM", "Companies"))
SERVICE_CODE = "population"
HEALTH_CHECK_PORT = 5588
"""As in the reference's containers."""


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation of the demo with its Security Server."""

    name: str
    owner: MemberId
    server_code: str
    subsystem: SubsystemId
    number: int
    """The last octet of its address."""
    callers: tuple[SubsystemId, ...] = ()
    """Who may call the demo's service at this party; without anybody it offers none."""

    @property
    def server_id(self) -> SecurityServerId:
        """The identifier of its Security Server."""
        return SecurityServerId(
            self.owner.instance, self.owner.member_class, self.owner.member_code, self.server_code
        )


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part in an ecosystem: its instance, who governs it, and who exchanges messages."""

    instance: str
    governor: Party
    """Runs the Security Server of the management services; its subsystem provides them."""
    parties: tuple[Party, ...]
    authority: str = "Postroad Lab"
    """The name of its certification and time-stamping authorities."""
    federations: str = "none"
    """Instances that its Security Servers may exchange messages with."""
    monitor: SubsystemId | None = None
    """Who may ask every Security Server for its monitoring data."""

    @property
    def servers(self) -> tuple[Party, ...]:
        """Everybody with a Security Server."""
        return (self.governor, *self.parties)

    @property
    def pairs(self) -> Iterator[tuple[Party, Party]]:
        """Consumer and provider, wherever both are of this ecosystem."""
        for provider in self.parties:
            for consumer in self.parties:
                if consumer.subsystem in provider.callers:
                    yield consumer, provider


def make_governor(instance: str) -> Party:
    """The organisation that governs an instance."""
    return Party(
        name="Ecosystem Governance",
        owner=MemberId(instance, "GOV", "1000"),
        server_code="MSS",
        subsystem=SubsystemId(instance, "GOV", "1000", "management"),
        number=10,
    )


CONSUMER = Party(
    name="Ministry of Questions",
    owner=MemberId("DEMO", "GOV", "1001"),
    server_code="SS1",
    subsystem=SubsystemId("DEMO", "GOV", "1001", "questions"),
    number=11,
)
PROVIDER = Party(
    name="Population Register",
    owner=MemberId("DEMO", "GOV", "1002"),
    server_code="SS2",
    subsystem=SubsystemId("DEMO", "GOV", "1002", "register"),
    number=12,
    callers=(CONSUMER.subsystem,),
)
PARTIES = (CONSUMER, PROVIDER)
DEMO = Cast("DEMO", make_governor("DEMO"), PARTIES, monitor=CONSUMER.subsystem)
"""The ecosystem that `postroad demo` shows."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of an ecosystem, its loopback network, and who takes part in it."""

    home: Path
    network: str = "127.77.0"
    cast: Cast = DEMO

    def address(self, number: int) -> str:
        """The address of the party with that number."""
        return f"{self.network}.{number}"

    @property
    def lab_url(self) -> str:
        """The test CA, OCSP responder and time-stamping authority."""
        return f"http://{self.address(1)}:8888"

    @property
    def central_address(self) -> str:
        """Where the Central Server publishes the global configuration."""
        return f"{self.address(2)}:8080"

    @property
    def management_url(self) -> str:
        """Where the Central Server takes management requests, from one Security Server only."""
        return f"https://{self.address(2)}:4002/managementservice/manage/"

    @property
    def service_url(self) -> str:
        """The provider's information system: REST, and SOAP below it."""
        return f"http://{self.address(21)}:8000"

    def client_url(self, party: Party) -> str:
        """Where the information systems of a party call its Security Server."""
        return f"http://{self.address(party.number)}:8080"

    @property
    def lab_home(self) -> Path:
        """The lab's keys."""
        return self.home / "lab"

    @property
    def central_home(self) -> Path:
        """The Central Server's folder."""
        return self.home / "central"

    @property
    def management_client_certificate(self) -> Path:
        """What the Security Server of the management services shows to the Central Server."""
        return self.home / "management-client.pem"

    def health_url(self, party: Party) -> str:
        """Where load balancers and Prometheus ask a Security Server."""
        return f"http://{self.address(party.number)}:{HEALTH_CHECK_PORT}"

    def server_home(self, party: Party) -> Path:
        """A Security Server's folder."""
        return self.home / party.server_code.lower()

    @property
    def evidence(self) -> Path:
        """Where fetched containers are put."""
        return self.home / "evidence"

    @property
    def log(self) -> Path:
        """What the processes write."""
        return self.home / "log"

    @property
    def pin_file(self) -> Path:
        """The PIN of every token of the demo, made for this run."""
        return self.home / "token-pin"
