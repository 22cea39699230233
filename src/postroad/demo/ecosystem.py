"""A whole ecosystem on this machine: lab, Central Server, Security Servers, one service.

Everything lies in one directory. A second start reuses what the first one made.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Self

from postroad.adapters.files import write_atomic
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import SOFTWARE_ID, KeyAlgorithm
from postroad.adapters.system_clock import SystemClock
from postroad.demo import governance
from postroad.demo.consumer import call
from postroad.demo.equipment import (
    KeyMaker,
    ServerParts,
    read_description,
    write_management_client_certificate,
    write_server_files,
)
from postroad.demo.postgresql import PostgresqlServer, directory_for
from postroad.demo.processes import Process, Program, answers, wait_until
from postroad.demo.provider import Provider
from postroad.demo.softhsm import TOKEN_ID, SoftHsm
from postroad.errors import ConfigurationError, PostroadError, UnavailablePeer
from postroad.securityserver.globalconf_files import load_globalconf
from postroad.securityserver.governance import opened_governance
from postroad.securityserver.management_client import (
    choose_auth_certificate,
    opened_management_client,
)
from postroad.securityserver.serverconf.declaration import load_declaration
from postroad.securityserver.serverconf.reconciliation import apply, current_declaration, difference
from postroad.securityserver.serverconf.repository import ServerConf
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot
from postroad.securityserver.settings import Settings, load_settings
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.home import LabHome

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.demo.layout import Layout, Party
    from postroad.identifiers import ClientId

_STATE_VERSION = 9


@dataclass(frozen=True, slots=True)
class Options:
    """What the ecosystem is made of."""

    algorithm: KeyAlgorithm = KeyAlgorithm.RSA_2048
    workers: int = 1
    postgresql: bool = False
    """Whether registry and message logs are in PostgreSQL, which is started too."""
    softhsm: bool = False
    """Whether the provider's signing key is in SoftHSM."""


REGISTRY = "central"
"""The name of the Central Server's database in PostgreSQL."""


def database_names(party: Party) -> tuple[str, str, str]:
    """The names of a party's configuration, message log and monitoring in PostgreSQL."""
    code = party.server_code.lower()
    return f"{code}_serverconf", f"{code}_messagelog", f"{code}_monitoring"


class Ecosystem:
    """The demo's ecosystem; use it as a context manager, so that nothing is left running."""

    def __init__(self, layout: Layout, options: Options | None = None) -> None:
        self.layout = layout
        self.options = options or Options()
        self.lab = self._program(
            "lab", "lab", "run", "--home", layout.lab_home, *_listen(layout.lab_url)
        )
        self.central = self._program("central", "central", "run", "--home", layout.central_home)
        self.hsm = SoftHsm(layout.home / "softhsm") if self.options.softhsm else None
        self.postgresql = None
        if self.options.postgresql:
            self.postgresql = PostgresqlServer(
                directory_for(layout.home), log=layout.log / "postgresql.log"
            )
        self.servers = {
            party: self._program(
                party.server_code.lower(),
                *("server", "run", "--home", layout.server_home(party)),
                hsm=self._hsm_of(party),
            )
            for party in layout.cast.servers
        }
        self.provider: Provider | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def programs(self) -> list[Process]:
        """All programs, in the order they are started."""
        ours: list[Process] = [self.lab, self.central, *self.servers.values()]
        if self.postgresql is None or self.postgresql.process is None:
            return ours
        return [self.postgresql.process, *ours]

    def database_url(self, name: str) -> str:
        """The address of a database in PostgreSQL; "" where everything is in SQLite."""
        return "" if self.postgresql is None else self.postgresql.url(name)

    def settings(self, party: Party) -> Settings:
        """The settings of a party's Security Server."""
        return load_settings(self.layout.server_home(party))

    def forget(self) -> None:
        """Remove everything an earlier run made."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.layout.home)
        if self.postgresql is not None:
            self.postgresql.forget()

    @property
    def is_prepared(self) -> bool:
        """Whether an earlier run has set everything up."""
        try:
            state = json.loads((self.layout.home / "state.json").read_bytes())
        except (OSError, ValueError):
            return False
        is_there = self.postgresql is None or self.postgresql.is_made
        return bool(state == self._state()) and is_there

    def start(self, say: Callable[[str], None]) -> None:
        """Set up what isn't there, start everything, and wait until a message can go through.

        ``say`` hears about each step as it begins. Raises ``ConfigurationError`` when something
        doesn't start.
        """
        prepared = self.is_prepared
        if not prepared:
            self.forget()
            say("Making the test CA, its OCSP responder and the time-stamping authority")
            self._make_lab()
        if self.postgresql is not None:
            say("Starting PostgreSQL")
            self.postgresql.start()
            if not prepared:
                self.postgresql.create_databases(
                    [REGISTRY, *chain(*(database_names(party) for party in self.servers))]
                )
        say("Starting the lab")
        self.lab.start()
        self._start_provider()
        wait_until("the lab", lambda: answers(self.layout.lab_url), programs=[self.lab])
        if not prepared:
            self._found(say)
        say("Starting the Central Server")
        self.central.start()
        say(f"Starting {len(self.servers)} Security Server{'s' if len(self.servers) > 1 else ''}")
        for program in self.servers.values():
            program.start()
        if not prepared:
            self._register_all(say)
            write_atomic(self.layout.home / "state.json", json.dumps(self._state()).encode())
        say("Waiting for the global configuration and OCSP answers to arrive")
        wait_until("the first exchange", self._exchanges, programs=self.programs, patience=60)

    def _found(self, say: Callable[[str], None]) -> None:
        say("Founding the instance: registry, approved trust services, signing keys")
        governance.write_settings(self.layout, database=self.database_url(REGISTRY))
        governance.found_instance(self.layout, LabHome(self.layout.lab_home), pin=self._pin())
        anchor = governance.anchor(self.layout)
        for party in self.servers:
            conf, log, monitoring = map(self.database_url, database_names(party))
            parts = ServerParts(
                workers=self.options.workers,
                server_conf=conf,
                message_log=log,
                monitoring=monitoring,
                hsm=self._hsm_of(party),
            )
            write_server_files(self.layout, party, anchor, parts)
            self._configure(party)
        write_management_client_certificate(self.layout)

    def _register_all(self, say: Callable[[str], None]) -> None:
        """Register every server and client by its own request, as its operator does."""
        cast = self.layout.cast
        for party in self.servers:
            say(f"Making keys for {party.name}")
            self._equip(party)
        say("Registering the Security Servers with the Central Server")
        for party in self.servers:
            self._register_server(party)
        governance.register_provider(self.layout)
        self.publish()
        say("Registering their clients through the management services")
        wait_until(
            "the management services",
            partial(self._is_registered, cast.governor, cast.governor.subsystem),
            programs=self.programs,
            patience=60,
        )
        for party in cast.parties:
            self._register_client(party)
        self.publish()

    def stop(self) -> None:
        """Stop everything: the servers together, and then what they need."""
        for server in self.servers.values():
            server.ask_to_stop()
        for program in reversed(self.programs):
            program.stop()
        if self.provider is not None:
            self.provider.stop()
            self.provider = None

    def check(self) -> None:
        """Raise ``ConfigurationError`` when one of the programs has ended."""
        for program in self.programs:
            program.check()

    def publish(self) -> None:
        """Publish what the registry holds now, instead of at the next interval."""
        governance.publish(self.layout, self._pin())

    def _program(self, name: str, *arguments: object, hsm: SoftHsm | None = None) -> Program:
        return Program(
            name,
            [str(each) for each in arguments],
            log=self.layout.log / f"{name}.log",
            environment=None if hsm is None else hsm.environment,
        )

    def _hsm_of(self, party: Party) -> SoftHsm | None:
        """The token of a party that provides services; all others keep their keys in software."""
        return self.hsm if party.callers else None

    def _state(self) -> dict[str, object]:
        return {
            "version": _STATE_VERSION,
            "network": self.layout.network,
            "instance": self.layout.cast.instance,
            "algorithm": self.options.algorithm.value,
            "workers": self.options.workers,
            "postgresql": self.options.postgresql,
            "softhsm": self.options.softhsm,
        }

    def _pin(self) -> str:
        return self.layout.pin_file.read_text().strip()

    def _make_lab(self) -> None:
        self.layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.layout.pin_file, secrets.token_hex(8).encode() + b"\n")
        lab = TrustLab.create(at=SystemClock().now(), name=self.layout.cast.authority)
        LabHome(self.layout.lab_home).store(lab)
        if self.hsm is not None:
            self.hsm.make(self._pin())

    def _start_provider(self) -> None:
        host, _, port = self.layout.service_url.removeprefix("http://").partition(":")
        self.provider = Provider(host, int(port))
        self.provider.start()

    def _configure(self, party: Party) -> None:
        """Apply the declaration file, as `postroad server apply` does."""
        settings = self.settings(party)
        conf = ServerConf.open(settings.serverconf_url, settings.snapshot_path)
        try:
            conf.initialise(party.server_id)
            wanted = load_declaration(
                self.layout.server_home(party) / "services.toml",
                partial(read_description, settings),
            )
            with conf.change() as session:
                changes = difference(current_declaration(session), wanted)
                apply(session, changes, at=SystemClock().now())
        finally:
            conf.close()

    def _equip(self, party: Party) -> None:
        socket = self.settings(party).signer_socket
        program = self.servers[party]
        wait_until(f"the signer of {party.server_code}", socket.exists, programs=[program])
        asyncio.run(self._make_keys(party))

    async def _make_keys(self, party: Party) -> None:
        signer = SignerClient(self.settings(party).signer_socket)
        profile = LabHome(self.layout.lab_home).load().profile
        try:
            token = SOFTWARE_ID if self._hsm_of(party) is None else TOKEN_ID
            maker = KeyMaker(self.layout, party, signer, self.options.algorithm, profile, token)
            await maker.make_keys(self._pin())
        finally:
            signer.close()

    def _register_server(self, party: Party) -> None:
        """Do what `postroad server register` does."""
        wait_until(
            f"the global configuration of {party.server_code}",
            partial(self._has_configuration, party),
            programs=[self.servers[party]],
        )
        asyncio.run(self._ask_for_auth_certificate(party))

    async def _ask_for_auth_certificate(self, party: Party) -> None:
        settings = self.settings(party)
        signer = SignerClient(settings.signer_socket)
        try:
            certificate = choose_auth_certificate(await signer.certificates())
            with opened_management_client(settings, signer) as client:
                await client.register_auth_certificate(
                    certificate, self.layout.address(party.number), load_globalconf(settings)
                )
        finally:
            signer.close()

    def _register_client(self, party: Party) -> None:
        """Do what `postroad server client register` does, once both servers know each other."""
        refusals: list[PostroadError] = []

        def is_taken_in() -> bool:
            if not self._is_registered(party, party.owner):
                return False
            try:
                asyncio.run(self._ask_for_registration(party))
            except PostroadError as error:
                refusals.append(error)
                return False
            return True

        try:
            wait_until(
                f"the registration of {party.subsystem}",
                is_taken_in,
                programs=self.programs,
                patience=60,
            )
        except ConfigurationError as error:
            raise (refusals[-1] if refusals else error) from error

    async def _ask_for_registration(self, party: Party) -> None:
        settings = self.settings(party)
        conf = ServerConf.open(settings.serverconf_url, settings.snapshot_path)
        signer = SignerClient(settings.signer_socket)
        try:
            with opened_governance(settings, conf, signer, SystemClock()) as asking:
                await asking.register_client(party.subsystem)
        finally:
            signer.close()
            conf.close()

    def _is_registered(self, party: Party, client: ClientId) -> bool:
        """Whether a client is registered at the party's server, as the server itself sees it."""
        try:
            view = ServerConfView(load_snapshot(self.settings(party).snapshot_path)).client(client)
        except PostroadError:
            return False
        return view is not None and view.is_registered

    def _has_configuration(self, party: Party) -> bool:
        try:
            load_globalconf(self.settings(party)).ensure_valid(SystemClock().now())
        except PostroadError:
            return False
        return True

    def _exchanges(self) -> bool:
        """Whether every consumer of this ecosystem reaches its provider here."""
        try:
            return all(
                call(
                    self.layout.client_url(consumer),
                    "GET",
                    "/persons/1",
                    client=consumer.subsystem,
                    provider=provider.subsystem,
                ).status
                == 200
                for consumer, provider in self.layout.cast.pairs
            )
        except UnavailablePeer:
            return False


def _listen(url: str) -> tuple[str, ...]:
    host, _, port = url.removeprefix("http://").partition(":")
    return ("--host", host, "--port", port)
