"""Who lives where in the demo: identifiers, loopback addresses, ports and folders.

Every party has an address of its own on the loopback network (127.x.y.z), so that all of them can
use the ecosystem's real ports, as they would on machines of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.identifiers import MemberId, SecurityServerId, SubsystemId

if TYPE_CHECKING:
    from pathlib import Path

INSTANCE = "DEMO"
MEMBER_CLASSES = (("GOV", "Government"), ("COM", "Companies"))
MANAGEMENT = SubsystemId(INSTANCE, "GOV", "1000", "management")
"""The subsystem that provides the management services."""


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation of the demo with its Security Server."""

    name: str
    owner: MemberId
    server_code: str
    subsystem: SubsystemId
    number: int
    """The last octet of its address."""

    @property
    def server_id(self) -> SecurityServerId:
        """The identifier of its Security Server."""
        return SecurityServerId(
            self.owner.instance, self.owner.member_class, self.owner.member_code, self.server_code
        )


CONSUMER = Party(
    name="Ministry of Questions",
    owner=MemberId(INSTANCE, "GOV", "1001"),
    server_code="SS1",
    subsystem=SubsystemId(INSTANCE, "GOV", "1001", "questions"),
    number=11,
)
PROVIDER = Party(
    name="Population Register",
    owner=MemberId(INSTANCE, "GOV", "1002"),
    server_code="SS2",
    subsystem=SubsystemId(INSTANCE, "GOV", "1002", "register"),
    number=12,
)
PARTIES = (CONSUMER, PROVIDER)
SERVICE_CODE = "population"


@dataclass(frozen=True, slots=True)
class Layout:
    """The demo's folder and its loopback network."""

    home: Path
    network: str = "127.77.0"

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
    def service_url(self) -> str:
        """The provider's information system."""
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
