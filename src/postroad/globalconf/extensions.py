"""What do the optional parts say: monitoring client, OCSP fetch interval, nextUpdate rule?

Source: PR-GCONF 2.4 (optional configuration parts); reference: ``MonitoringParameters``,
``OcspFetchInterval``, ``OcspNextUpdate``. A missing part means its default.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from postroad.globalconf import elements
from postroad.globalconf.elements import XmlText, malformed
from postroad.identifiers import ClientId  # noqa: TC001 - dataclass field

MONITORING = "MONITORING"
FETCH_INTERVAL = "FETCHINTERVAL"
NEXT_UPDATE = "NEXTUPDATE"

DEFAULT_FETCH_INTERVAL = timedelta(seconds=1200)
SHORTEST_FETCH_INTERVAL = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Monitoring:
    """The only client that may ask for other servers' monitoring data, if there is one."""

    client: ClientId | None = None

    @classmethod
    def parse(cls, data: bytes) -> Monitoring:
        """Read the part; ``MalformedInput`` when it breaks its schema."""
        root = elements.parse_document(data, "monitoring.xsd")
        named = elements.required(root, "monitoringClient").find("monitoringClientId")
        return cls(None if named is None else elements.client_of(named))

    def encode(self) -> bytes:
        """Write the part."""
        out = XmlText()
        with out.root("conf"), out.element("monitoringClient"):
            if self.client is not None:
                out.client("monitoringClientId", self.client)
        return out.encode()


@dataclass(frozen=True, slots=True)
class FetchInterval:
    """How often servers fetch OCSP responses for their certificates."""

    interval: timedelta = DEFAULT_FETCH_INTERVAL

    @classmethod
    def parse(cls, data: bytes) -> FetchInterval:
        """Read the part; less than a minute counts as a minute."""
        root = elements.parse_document(data, "fetchinterval.xsd")
        read = timedelta(seconds=elements.seconds(root, "ocspFetchInterval"))
        return cls(max(read, SHORTEST_FETCH_INTERVAL))

    def encode(self) -> bytes:
        """Write the part in whole seconds."""
        out = XmlText()
        with out.root("conf"):
            out.leaf("ocspFetchInterval", str(int(self.interval.total_seconds())))
        return out.encode()


@dataclass(frozen=True, slots=True)
class NextUpdate:
    """Whether a passed ``nextUpdate`` makes an OCSP response unusable."""

    verify: bool = True

    @classmethod
    def parse(cls, data: bytes) -> NextUpdate:
        """Read the part; ``MalformedInput`` when it breaks its schema."""
        root = elements.parse_document(data, "nextupdate.xsd")
        return cls(elements.boolean(elements.required(root, "verifyNextUpdate")))

    def encode(self) -> bytes:
        """Write the part."""
        out = XmlText()
        with out.root("conf"):
            out.leaf("verifyNextUpdate", "true" if self.verify else "false")
        return out.encode()


PARSERS = {
    MONITORING: Monitoring.parse,
    FETCH_INTERVAL: FetchInterval.parse,
    NEXT_UPDATE: NextUpdate.parse,
}
"""Reader of each optional part that we understand, by content identifier."""


def check_extension(identifier: str, data: bytes) -> None:
    """Refuse (``MalformedInput``) a part that breaks its schema; unknown parts are refused too."""
    parser = PARSERS.get(identifier)
    if parser is None:
        raise malformed(f"there is no optional part called {identifier[:60]!r}")
    parser(data)
