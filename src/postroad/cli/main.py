"""``postroad``: which commands are there, and how are errors shown.

Each command lives in a module of its own and is imported when it is called, so that a small
process stays small.
"""

from __future__ import annotations

import importlib
import sys

import click

from postroad import __version__
from postroad.errors import PostroadError

_COMMANDS = {
    "archive": ("postroad.cli.archive", "Check that a message log's archives are whole."),
    "call": ("postroad.cli.call", "Call a service through a Security Server and explain faults."),
    "central": ("postroad.cli.central", "Run and govern a Central Server."),
    "confproxy": (
        "postroad.cli.confproxy",
        "Pass the global configuration on, signed anew: the configuration proxy.",
    ),
    "demo": ("postroad.cli.demo", "Start a whole ecosystem on this machine and exchange messages."),
    "doctor": ("postroad.cli.doctor", "Examine a Security Server and name what is wrong."),
    "explain": ("postroad.cli.explain", "Say what a fault code means and what to do about it."),
    "lab": ("postroad.cli.lab", "Run a test CA, OCSP responder and time-stamping authority."),
    "server": ("postroad.cli.server", "Run and configure a Security Server."),
    "verify": ("postroad.cli.verify", "Judge signed containers offline."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order shown by ``--help``."""
        return sorted(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its ``command``."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = importlib.import_module(entry[0]).command
        if not isinstance(command, click.Command):
            message = f"{entry[0]}.command is not a command"
            raise TypeError(message)
        return command

    def format_commands(
        self,
        _ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in sorted(_COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="postroad")
def cli() -> None:
    """Postroad, an X-Road® compatible secure data exchange layer."""


def main() -> None:
    """Run the command line; a refusal ends with one clear line and exit code 2."""
    try:
        cli(standalone_mode=True)
    except PostroadError as error:
        click.echo(f"postroad: {error.message}", err=True)
        click.echo(f"  code: {error.fault_code}   (postroad explain {error.fault_code})", err=True)
        sys.exit(2)
