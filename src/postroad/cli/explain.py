"""``postroad explain CODE``: what a fault means, who must act, what to do next."""

from __future__ import annotations

import json

import click

from postroad.fault_table import EXPLANATIONS, Dialect, ExplainedFault, explain, spell


def describe(fault: ExplainedFault) -> str:
    """Return the explanation as the lines a person reads.

    An unknown code says so and still explains the prefixes that are known.
    """
    lines = [f"{fault.code}   (up to 7.7: {fault.legacy})"]
    lines += [
        f"  {words}:" if index == 0 else f"    … {words}" for index, words in enumerate(fault.where)
    ]
    row = fault.explanation
    if row is None:
        lines.append(
            "  This code isn't one of the protocol's; the service itself may have sent it."
        )
        return "\n".join(lines)
    lines.append(f"  What happened: {row.meaning}")
    lines.append(f"  Who must act:  {row.side.value}")
    lines.append(f"  Next step:     {row.next_step}")
    return "\n".join(lines)


@click.command("explain")
@click.argument("codes", nargs=-1)
@click.option("--list", "list_all", is_flag=True, help="List every code.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(codes: tuple[str, ...], *, list_all: bool, as_json: bool) -> None:
    """Explain fault CODES in either spelling, such as server.serverproxy.access_denied."""
    if list_all:
        codes = tuple(EXPLANATIONS)
    if not codes:
        raise click.UsageError("name a fault code, or --list")
    faults = [explain(code) for code in codes]
    if as_json:
        click.echo(json.dumps([_as_json(fault) for fault in faults], indent=2))
        return
    click.echo("\n\n".join(describe(fault) for fault in faults))


def _as_json(fault: ExplainedFault) -> dict[str, object]:
    row = fault.explanation
    return {
        "code": fault.code,
        "legacy": spell(fault.code, Dialect.CAMEL),
        "where": list(fault.where),
        "known": row is not None,
        "meaning": row.meaning if row else None,
        "side": row.side.value if row else None,
        "next_step": row.next_step if row else None,
    }
