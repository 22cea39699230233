"""Two countries on this machine: two ecosystems with authorities of their own, federated.

Each has a lab, a Central Server and one Security Server, which both governs and exchanges. They
learn to trust each other by the commands that operators type, and one Security Server ends up on a
configuration proxy. Always made anew: what is shown begins before the anchors are exchanged.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from postroad.adapters.files import write_atomic
from postroad.demo import governance
from postroad.demo.consumer import call
from postroad.demo.ecosystem import Ecosystem, Options
from postroad.demo.evidence import Evidence, Exchange, load_stored, say_proven
from postroad.demo.layout import Cast, Layout, Party
from postroad.demo.processes import Process, Program, wait_until
from postroad.demo.steps import Shown
from postroad.errors import ConfigurationError
from postroad.globalconf.anchor import fingerprint
from postroad.identifiers import MemberId, SubsystemId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroad.demo.consumer import Answer

COUNTRIES = {"NORTH": "Republic of the North", "SOUTH": "Kingdom of the South"}
_PROXY_INSTANCE = "SOUTHPROXY"
_PROXY_UPDATE_INTERVAL = 2
_FIRST_NETWORK = 1


def make_cast(instance: str, other: str) -> Cast:
    """A country whose one organisation governs, offers the service and calls the other's."""
    party = Party(
        name=f"Ministry of the {instance.title()}",
        owner=MemberId(instance, "GOV", "1000"),
        server_code=f"{instance}1",
        subsystem=SubsystemId(instance, "GOV", "1000", "portal"),
        number=10,
        callers=(SubsystemId(other, "GOV", "1000", "portal"),),
    )
    return Cast(instance, party, (), authority=COUNTRIES[instance], federations=other)


class Federation:
    """Both ecosystems and the proxy; use it as a context manager, so that nothing is left running.

    ``network`` is like ``127.77.0``; the two networks after it are used.
    """

    def __init__(self, home: Path, network: str, options: Options | None = None) -> None:
        first, _, third = network.rpartition(".")
        names = list(COUNTRIES)
        self.home = home
        self.ecosystems = [
            Ecosystem(
                Layout(
                    home / name.lower(),
                    f"{first}.{int(third) + _FIRST_NETWORK + place}",
                    make_cast(name, names[1 - place]),
                ),
                options,
            )
            for place, name in enumerate(names)
        ]
        self.north, self.south = (each.layout for each in self.ecosystems)
        self.proxy = Program(
            "confproxy",
            ["confproxy", "run", "--home", str(self.proxy_home)],
            log=home / "confproxy.log",
        )
        self.evidence = Evidence(self.check)

    @property
    def proxy_home(self) -> Path:
        """The configuration proxy's folder."""
        return self.home / "confproxy"

    @property
    def proxy_address(self) -> str:
        """Where clients reach the configuration proxy, in the South."""
        return f"{self.south.address(3)}:8080"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.proxy.stop()
        for ecosystem in reversed(self.ecosystems):
            ecosystem.stop()

    def check(self) -> None:
        """Raise ``ConfigurationError`` when one of the programs has ended."""
        self.proxy.check()
        for ecosystem in self.ecosystems:
            ecosystem.check()

    def start(self, say: Callable[[str], None]) -> None:
        """Set both countries up and start them; they don't know each other yet."""
        for ecosystem in self.ecosystems:
            instance = ecosystem.layout.cast.instance
            ecosystem.forget()
            ecosystem.start(partial(_say_of, instance, say))

    # --- what is shown ---------------------------------------------------------------------

    def tour(self) -> Iterator[Shown]:
        """Run all steps; raises ``ConfigurationError`` for one that goes wrong."""
        yield self._be_refused(
            "Before the anchors are exchanged", "server.clientproxy.unknown_member"
        )
        yield self._trust(self.north, self.south)
        # The South doesn't know the North's authorities yet.
        yield self._be_refused(
            "One direction is not enough", "server.clientproxy.ssl_authentication_failed"
        )
        yield self._trust(self.south, self.north)
        yield from self._exchange("")
        yield self._move_to_proxy()
        yield from self._exchange(", on the proxy")

    def _be_refused(self, title: str, code: str) -> Shown:
        """The North calls the South and is refused with that code."""
        found: list[Answer] = []

        def is_refused() -> bool:
            found.append(self._call(self.north, self.south))
            return found[-1].fault_code == code or found[-1].status == HTTPStatus.OK

        wait_until(f"{code}: {title}", is_refused, programs=self._programs)
        answer = found[-1]
        if answer.fault_code != code:
            raise ConfigurationError(f"{title}: the call was not refused")
        line = f"HTTP {answer.status}  {answer.fault_code}"
        return Shown(f"{title}: NORTH calls SOUTH", (line, answer.fault_message))

    def _trust(self, here: Layout, there: Layout) -> Shown:
        """Do what two operators do: export, compare the fingerprint, add, publish."""
        instance = there.cast.instance
        file = here.home / f"anchor-{instance}.xml"
        exported = ("--output", file, "--home", there.central_home)
        self._postroad("central", "anchor", "export", "external", *exported)
        said = fingerprint(file.read_bytes())
        added = ("--fingerprint", said, "--home", here.central_home)
        self._postroad("central", "trusted-anchor", "add", file, *added)
        governance.publish(here, here.pin_file.read_text().strip())
        return Shown(
            f"{here.cast.instance} trusts {instance}",
            (f"postroad central trusted-anchor add {file.name}", f"fingerprint {said}"),
        )

    def _exchange(self, title: str) -> Iterator[Shown]:
        for consumer, provider in ((self.north, self.south), (self.south, self.north)):
            names = f"{consumer.cast.instance} calls {provider.cast.instance}"

            def passes(consumer: Layout = consumer, provider: Layout = provider) -> bool:
                return self._call(consumer, provider).status == HTTPStatus.OK

            wait_until(names, passes, programs=self._programs, patience=30)
            answer = self._call(consumer, provider)
            took = f"HTTP {answer.status} in {answer.seconds * 1000:.0f} ms"
            exchange = Exchange(f"GET /persons/1, {names}", answer.query_id)
            yield Shown(
                f"{names}{title}",
                (
                    f"{took}: {answer.body.decode()}",
                    *self._prove(exchange, (consumer, provider)),
                ),
            )

    def _prove(self, exchange: Exchange, sides: tuple[Layout, Layout]) -> Iterator[str]:
        for side in sides:
            party = _party(side)
            yield f"In the log of {party.name}:"
            for response in (False, True):
                report = self.evidence.prove(side, party, exchange, response=response)
                issuer = report.signature.issuer.subject_rfc2253
                tsa = report.timestamp.tsa.subject_rfc2253
                yield f"  {exchange.title}: {say_proven(report, response=response)}"
                yield f"    by the authority {_common_name(issuer)} and {_common_name(tsa)}"

    def _move_to_proxy(self) -> Shown:
        """Give the South's Security Server the anchor of a configuration proxy instead."""
        proxy = ("--home", self.proxy_home)
        host, _, port = self.proxy_address.partition(":")
        text = f"""\
[proxy]
address = "{self.proxy_address}"
update_interval = {_PROXY_UPDATE_INTERVAL}

[distribution]
host = "{host}"
http_port = {port}
https = false

[token]
pin_file = "{self.south.pin_file}"
"""
        self.proxy_home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.proxy_home / "confproxy.toml", text.encode())
        source = self.home / "anchor-of-the-source.xml"
        write_atomic(source, governance.anchor(self.south))
        anchor = self.home / "anchor-of-the-proxy.xml"
        self._postroad("confproxy", "init", self.proxy_address, *proxy)
        made = (_PROXY_INSTANCE, source, "--federations", "NORTH", *proxy)
        self._postroad("confproxy", "create-instance", *made)
        self._postroad("confproxy", "add-signing-key", _PROXY_INSTANCE, *proxy)
        self._postroad("confproxy", "generate-anchor", _PROXY_INSTANCE, "-f", anchor, *proxy)
        self.proxy.start()
        url = f"http://{self.proxy_address}/{_PROXY_INSTANCE}/conf"
        party = _party(self.south)
        server = self.south.server_home(party)
        write_atomic(server / "configuration-anchor.xml", anchor.read_bytes())
        wait_until(
            "the configuration from the proxy",
            lambda: self._source_of(server) == url,
            programs=self._programs,
        )
        shared = load_stored(self.south, party).shared("SOUTH")
        if shared is None or [each.address for each in shared.sources] != [self.proxy_address]:
            raise ConfigurationError("the configuration doesn't name the proxy as its source")
        return Shown(
            f"The Security Server of {party.name} lives on a configuration proxy",
            (
                url,
                f"anchor of the proxy: fingerprint {fingerprint(anchor.read_bytes())}",
            ),
        )

    # --- how -------------------------------------------------------------------------------

    @property
    def _programs(self) -> list[Process]:
        return [self.proxy, *(each for one in self.ecosystems for each in one.programs)]

    def _call(self, consumer: Layout, provider: Layout) -> Answer:
        return call(
            consumer.client_url(_party(consumer)),
            "GET",
            "/persons/1",
            client=_party(consumer).subsystem,
            provider=_party(provider).subsystem,
        )

    def _postroad(self, *arguments: object) -> str:
        """Run a command as an operator does; its output."""
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "postroad", *(str(each) for each in arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise ConfigurationError(f"postroad {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    @staticmethod
    def _source_of(server: Path) -> str:
        try:
            state = json.loads((server / "globalconf.state").read_bytes())
            return str(state["sources"]["own/SOUTH"]["location"]["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _say_of(instance: str, say: Callable[[str], None], step: str) -> None:
    say(f"{instance}: {step}")


def _party(layout: Layout) -> Party:
    return layout.cast.governor


def _common_name(subject: str) -> str:
    return next(
        (each.partition("=")[2] for each in subject.split(",") if each.startswith("CN=")), subject
    )
