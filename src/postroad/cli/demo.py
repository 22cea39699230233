"""``postroad demo``: a whole ecosystem on this machine, and what it can do."""

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from postroad.adapters.signer_protocol import KeyAlgorithm
from postroad.demo.ecosystem import Ecosystem, Options
from postroad.demo.federation import Federation
from postroad.demo.layout import CONSUMER, PROVIDER, SERVICE_CODE, Layout
from postroad.demo.processes import resident_megabytes
from postroad.demo.softhsm import find_library
from postroad.demo.storage_tour import show_storage
from postroad.demo.tour import Tour
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from postroad.demo.steps import Shown

TIME_BUDGET = 30.0
"""Seconds from the start to the first verified exchange, when installed."""
FEDERATION_BUDGET = 90.0
"""The same for everything that is shown of two countries."""
MEMORY_BUDGET = 700.0
"""MB resident in all processes together."""
MORE_MEMORY = 100.0
"""MB more for PostgreSQL and a hardware token's process."""


@click.command("demo")
@click.option("--once", is_flag=True, help="Run the exchanges, then stop; exit code 0 or 1.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run made.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("demo-home"),
    show_default=True,
    help="The one directory where everything is kept.",
)
@click.option("--network", default="127.77.0", show_default=True, help="Loopback addresses to use.")
@click.option(
    "--keys",
    type=click.Choice([each.value for each in KeyAlgorithm]),
    default=KeyAlgorithm.RSA_2048.value,
    show_default=True,
    help="The keys of the Security Servers.",
)
@click.option(
    "--federation",
    is_flag=True,
    help="Two federated instances and a configuration proxy instead; always made anew.",
)
@click.option(
    "--db",
    "database",
    type=click.Choice(["sqlite", "postgres"]),
    default="sqlite",
    show_default=True,
    help="Where registry and message logs are; the packaged PostgreSQL is started for it.",
)
@click.option(
    "--hsm/--no-hsm",
    default=None,
    help="Keep the provider's signing key in SoftHSM; by default so with --db postgres, where "
    "SoftHSM is installed.",
)
@click.option("--workers", default=1, show_default=True, help="Proxy workers of each server.")
def command(
    *,
    once: bool,
    fresh: bool,
    home: Path,
    network: str,
    keys: str,
    federation: bool,
    database: str,
    hsm: bool | None,
    workers: int,
) -> None:
    """Start a whole ecosystem on this machine, exchange messages and verify them.

    Lab (CA, OCSP, time-stamps), Central Server, three Security Servers, a REST service and a
    consumer, each at a loopback address of its own. Works offline.
    """
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    postgresql = database == "postgres"
    if federation and (postgresql or hsm):
        raise click.UsageError("--db and --hsm are for the demo of one ecosystem")
    options = Options(
        algorithm=KeyAlgorithm(keys),
        workers=workers,
        postgresql=postgresql,
        softhsm=hsm if hsm is not None else postgresql and find_library() is not None,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if federation:
            _show_federation(console, home.absolute() / "federation", network, options, once=once)
        else:
            layout = Layout(home.absolute(), network)
            _show_ecosystem(console, layout, options, fresh=fresh, once=once)
    except KeyboardInterrupt:
        console.print("\nStopping.")
    except PostroadError as error:
        console.print(f"\n[bold red]✘[/] {escape(error.message)}")
        console.print(f"  The processes' logs are below {escape(str(home.absolute()))}")
        sys.exit(1)


def _show_ecosystem(
    console: Console, layout: Layout, options: Options, *, fresh: bool, once: bool
) -> None:
    with Ecosystem(layout, options) as ecosystem:
        if fresh:
            ecosystem.forget()
        _run(console, ecosystem)
        if not once:
            _stay(console, ecosystem)


def _show_federation(
    console: Console, home: Path, network: str, options: Options, *, once: bool
) -> None:
    started = time.monotonic()
    with Federation(home, network, options) as federation:
        console.print(f"[bold]Postroad demo: two countries[/] in {escape(str(home))}\n")
        with console.status("Starting") as status:

            def say(step: str) -> None:
                status.update(step)
                console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {escape(step)}")

            federation.start(say)
            for shown in federation.tour():
                _show(console, shown)
        memory = resident_megabytes(os.getpid())
        _budget(console, "Everything shown", time.monotonic() - started, FEDERATION_BUDGET, "s")
        _budget(console, "Memory of everything", memory, MEMORY_BUDGET, "MB")
        console.print()
        if not once:
            console.print("It keeps running until Ctrl-C.")
        while not once:
            federation.check()
            time.sleep(1)


def _run(console: Console, ecosystem: Ecosystem) -> None:
    layout = ecosystem.layout
    started = time.monotonic()
    reused = " (from an earlier run)" if ecosystem.is_prepared else ""
    console.print(f"[bold]Postroad demo[/] in {escape(str(layout.home))}{reused}\n")
    with console.status("Starting") as status:

        def say(step: str) -> None:
            status.update(step)
            console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {step}")

        ecosystem.start(say)
        say("Ready: the first exchange came back verified")
        first = time.monotonic() - started
        tour = Tour(layout, ecosystem.check)
        for shown in chain(tour.run(), show_storage(ecosystem)):
            _show(console, shown)
    memory = resident_megabytes(os.getpid())
    _budget(console, "First verified exchange", first, TIME_BUDGET, "s")
    more = MORE_MEMORY if ecosystem.options.postgresql else 0.0
    _budget(console, "Memory of everything", memory, MEMORY_BUDGET + more, "MB")
    console.print(f"\n{len(tour.containers)} containers are in {escape(str(layout.evidence))}")


def _show(console: Console, shown: Shown) -> None:
    console.print(f"\n[bold green]✔[/] [bold]{escape(shown.title)}[/]")
    for finding in shown.findings:
        console.print(f"    {escape(finding)}")


def _budget(console: Console, what: str, used: float, budget: float, unit: str) -> None:
    mark = "[green]✔[/]" if used <= budget else "[yellow]above[/]"
    console.print(f"\n{mark} {what}: {used:.1f} {unit} (budget {budget:.0f} {unit})", end="")


def _stay(console: Console, ecosystem: Ecosystem) -> None:
    layout = ecosystem.layout
    url = layout.client_url(CONSUMER)
    client = CONSUMER.subsystem.encoded()
    path = f"/r1/{PROVIDER.subsystem.encoded()}/{SERVICE_CODE}"
    container = f"{layout.evidence}/{CONSUMER.server_code}-*.asice"
    console.print(
        f"""
[bold]Try it[/] (Ctrl-C stops everything)

  curl -H 'X-Road-Client: {client}' {url}{path}/persons/2
  postroad call GET {path}/persons/2 --server {url} --client {client}
  postroad call GET {path}/persons --server {url} --client {client}
  postroad verify {container} --conf {layout.server_home(CONSUMER)}/globalconf

  Global configuration  http://{layout.central_address}/internalconf?version=6
  Test CA               {layout.lab_url}
  Security Servers      {url}  {layout.client_url(PROVIDER)}
  The REST service      {layout.service_url}/persons
"""
    )
    while True:
        ecosystem.check()
        time.sleep(1)
