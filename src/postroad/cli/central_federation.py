"""``postroad central trusted-anchor``: federated instances from a shell."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.centralserver.federation import preview_anchor, upload_anchor
from postroad.centralserver.registry.trusted_anchors import (
    delete_trusted_anchor,
    list_trusted_anchors,
    load_trusted_anchor,
)
from postroad.cli.central_context import (
    Cell,
    changing,
    home_option,
    json_option,
    opened,
    operator,
    read_file,
    reading,
    show,
    show_values,
)
from postroad.errors import ConfigurationError
from postroad.globalconf.anchor import Anchor

if TYPE_CHECKING:
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.registry.trusted_anchors import AnchorPreview

_FILE = click.Path(path_type=Path)


@click.group("trusted-anchor")
def trusted_anchor() -> None:
    """Anchors of other instances, whose members ours may exchange messages with."""


@trusted_anchor.command("preview")
@click.argument("file", type=_FILE)
@home_option
@json_option
def preview(file: Path, home: Path, *, as_json: bool) -> None:
    """Show what an anchor file says; nothing is asked and nothing is changed."""
    with opened(home) as node:
        found = preview_anchor(node, read_file(file))
    show_values(_described(found), as_json=as_json)


@trusted_anchor.command("add")
@click.argument("file", type=_FILE)
@click.option("--fingerprint", help="As the other instance's operator says it; else it's shown.")
@home_option
def add(file: Path, fingerprint: str | None, home: Path) -> None:
    """Trust another instance: verify the external anchor in FILE and distribute it.

    The fingerprint must be compared with the other instance's operator by another way. It replaces
    an earlier anchor of the same instance.
    """
    data = read_file(file)
    with opened(home) as node:
        found = preview_anchor(node, data)
        _compare(found, fingerprint)
        asyncio.run(_upload(node, data))
    click.echo(
        f"Add trusted anchor: instanceIdentifier={found.anchor.instance} "
        f"anchorFileHash={found.fingerprint}"
    )
    click.echo("Security Servers that allow this federation learn of it from the next generation.")


@trusted_anchor.command("list")
@home_option
@json_option
def list_anchors(home: Path, *, as_json: bool) -> None:
    """List the trusted anchors."""
    with reading(home) as session:
        rows = [
            (
                row.instance_identifier,
                row.fingerprint,
                "" if row.generated_at is None else row.generated_at.isoformat(timespec="seconds"),
                " ".join(source.download_url for source in Anchor.parse(row.anchor).sources),
            )
            for row in list_trusted_anchors(session)
        ]
    show(
        "Trusted anchors",
        ("instance", "fingerprint", "generated_at", "addresses"),
        rows,
        as_json=as_json,
    )


@trusted_anchor.command("export")
@click.argument("fingerprint")
@click.option("--output", type=_FILE, required=True, help="File to write.")
@home_option
def export(fingerprint: str, output: Path, home: Path) -> None:
    """Write a trusted anchor to a file, byte for byte as it was uploaded."""
    with reading(home) as session:
        data = load_trusted_anchor(session, fingerprint).anchor
    try:
        output.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{output} can't be written: {error.strerror}") from error


@trusted_anchor.command("remove")
@click.argument("fingerprint")
@click.confirmation_option(prompt="Stop every exchange with that instance?")
@home_option
def remove(fingerprint: str, home: Path) -> None:
    """No longer trust the instance of the anchor with that fingerprint."""
    with changing(home) as change:
        delete_trusted_anchor(change, fingerprint)


async def _upload(node: CentralServerNode, data: bytes) -> None:
    from postroad.adapters.http_client import HttpClient

    http = HttpClient()
    try:
        await upload_anchor(node, data, http, operator())
    finally:
        http.close()


def _compare(found: AnchorPreview, fingerprint: str | None) -> None:
    if fingerprint is not None:
        if fingerprint.replace(":", "").upper() != found.fingerprint.replace(":", ""):
            raise ConfigurationError(
                f"the anchor's fingerprint is {found.fingerprint}, not the one that was given"
            )
        return
    show_values(_described(found), as_json=False)
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "give the fingerprint that the other instance's operator said: --fingerprint"
        )
    click.confirm("Did its operator say the same fingerprint?", abort=True)


def _described(found: AnchorPreview) -> dict[str, Cell]:
    anchor = found.anchor
    generated_at = anchor.generated_at
    return {
        "instance": anchor.instance,
        "generated_at": None if generated_at is None else generated_at.isoformat(),
        "fingerprint": found.fingerprint,
        "addresses": " ".join(source.download_url for source in anchor.sources),
        "replaces": found.replaces,
    }


COMMANDS = (trusted_anchor,)
"""What this module adds to ``postroad central``."""
