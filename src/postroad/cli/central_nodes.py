"""``postroad central nodes``: the nodes that share one database, from a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.centralserver.registry.nodes import remove_node, shown_name
from postroad.cli.central_context import (
    home_option,
    json_option,
    opened,
    operator,
    report,
    show,
)

if TYPE_CHECKING:
    from pathlib import Path


@click.group("nodes", invoke_without_command=True)
@home_option
@json_option
@click.pass_context
def nodes(context: click.Context, home: Path, *, as_json: bool) -> None:
    """Show the nodes of this Central Server and how generation goes on each."""
    if context.invoked_subcommand is not None:
        return
    with opened(home) as node:
        own = node.settings.central.node_name
        rows = [
            (
                f"{each.shown_name} (this)" if each.name == own else each.shown_name,
                each.address,
                each.state.value,
                each.generated_at.isoformat(timespec="seconds") if each.generated_at else None,
                each.expires_at.isoformat(timespec="seconds") if each.expires_at else None,
                each.log_sequence,
                each.error,
            )
            for each in node.nodes()
        ]
    columns = ("node", "address", "state", "generated_at", "valid_until", "log_entry", "error")
    show("Nodes", columns, rows, as_json=as_json)


@nodes.command("remove")
@click.argument("name")
@click.option("--stopped", is_flag=True, help="It is stopped, though what it published is valid.")
@click.confirmation_option(prompt="Take the node with its keys out of the anchors?")
@home_option
def remove(name: str, home: Path, *, stopped: bool) -> None:
    """Take another node out: its address, signing keys and certificate."""
    with opened(home) as node:
        wanted = next((each.name for each in node.nodes() if each.shown_name == name), name)
        with node.changing(operator()) as change:
            remove_node(change, wanted, by=node.settings.central.node_name, at_rest=stopped)
        report(change.entries)
    click.echo(f"stop {shown_name(wanted)} and destroy its keys; hand out the new anchors")


COMMANDS = (nodes,)
"""What this module adds to ``postroad central``."""
