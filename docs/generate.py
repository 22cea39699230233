"""Write the reference pages that come from the code: fault codes and the command line.

`python docs/generate.py` writes them; `--check` fails when one differs from the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from postroad.cli.main import cli
from postroad.fault_table import EXPLANATIONS

HERE = Path(__file__).parent


def fault_codes() -> str:
    """Return the page of fault codes."""
    rows = "\n".join(
        f"| `{row.code}` | `{row.legacy}` | {row.meaning} | {row.side.value} | {row.next_step} |"
        for row in sorted(EXPLANATIONS.values(), key=lambda row: row.code)
    )
    return (
        "# Fault codes\n\n"
        "Made from the code by `make docs`. A fault on the wire is `PREFIX.CODE`, for instance\n"
        "`server.serverproxy.access_denied`; up to 7.7 of the reference it was spelled\n"
        "`Server.ServerProxy.AccessDenied`. Postroad writes either (`fault_spelling` in\n"
        "`server.toml`) and reads both; `postroad explain CODE` says the same in a terminal.\n\n"
        "| prefix | who reports |\n|---|---|\n"
        "| `client` | the caller's request is at fault |\n"
        "| `server.clientproxy` | the client's Security Server |\n"
        "| `server.serverproxy` | the provider's Security Server |\n\n"
        "| code | up to 7.7 | what happened | who must act | next step |\n|---|---|---|---|---|\n"
        f"{rows}\n"
    )


def command_line() -> str:
    """Return the page of commands."""
    out = ["# The command line\n\nMade from the code by `make docs`.\n"]
    _describe(cli, ("postroad",), out)
    return "\n".join(out)


def _describe(command: click.Command, path: tuple[str, ...], out: list[str]) -> None:
    context = click.Context(command, info_name=" ".join(path), terminal_width=96)
    out.append(f"## {' '.join(path)}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                _describe(child, (*path, name), out)


PAGES = {"fault-codes.md": fault_codes, "command-line.md": command_line}


def main() -> int:
    """Write the pages, or compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, build in PAGES.items():
        page = HERE / name
        text = build()
        if check:
            if not page.exists() or page.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            page.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
