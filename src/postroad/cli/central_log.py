"""``postroad central log``: what the registry said and when, and proofs of it, from a shell."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from postroad.centralserver.registry.change import details_of, list_change_log, verify_change_log
from postroad.centralserver.registry.nodes import shown_name
from postroad.centralserver.registry.proofs import (
    MAX_PROOF_BYTES,
    encode_proof,
    position_at,
    publications_at,
    verify_proof,
)
from postroad.centralserver.registry.published import load_parameters
from postroad.cli.central_context import home_option, json_option, reading, show
from postroad.errors import ConfigurationError, FaultCode

_OUTPUT = click.option("--output", type=click.Path(dir_okay=False, path_type=Path))
_AT = click.option(
    "--at", "moment", required=True, metavar="DATE", help="A day, or a moment (ISO)."
)


@click.group("log")
def log() -> None:
    """The change log: who did what, when."""


@log.command("verify")
@click.option("--known", help="The hash of a former head, which the log must still hold.")
@home_option
def verify_log(home: Path, known: str | None) -> None:
    """Check that no entry was altered, removed or put in. Keep the head's hash elsewhere."""
    with reading(home) as session:
        verified = verify_change_log(session, known)
    click.echo(f"{verified.entries} entries hold; the head is {verified.head_hash}")


@log.command("list")
@click.option("--limit", default=50, show_default=True, help="The newest so many entries.")
@home_option
@json_option
def list_log(limit: int, home: Path, *, as_json: bool) -> None:
    """List the newest entries, newest first."""
    with reading(home) as session:
        rows = [
            (
                entry.sequence,
                entry.at.isoformat(timespec="seconds"),
                entry.actor,
                entry.event,
                " ".join(f"{name}={value}" for name, value in details_of(entry).items()),
            )
            for entry in list_change_log(session, limit=limit)
        ]
    show("Change log", ("entry", "at", "who", "event", "details"), rows, as_json=as_json)


@log.command("show")
@_AT
@_OUTPUT
@home_option
@json_option
def show_log(moment: str, output: Path | None, home: Path, *, as_json: bool) -> None:
    """Show the log's end and what each node published at the end of a day, or at a moment.

    With --output the shared parameters that were published go into that file. The whole log is
    verified first.
    """
    at = _moment(moment)
    with reading(home) as session:
        verify_change_log(session)
        end = position_at(session, at)
        found = publications_at(session, at)
        rows = [
            (
                shown_name(each.node_name),
                each.at.isoformat(timespec="seconds"),
                each.stamp,
                each.position.sequence,
                each.parameters,
            )
            for each in found
        ]
        data = load_parameters(session, found[-1].parameters) if output and found else None
    if not as_json:
        click.echo(f"entry {end.sequence} was the last; its hash is {end.entry_hash}")
    show(
        "Published",
        ("node", "since", "stamp", "entry", "shared_parameters_sha256"),
        rows,
        as_json=as_json,
    )
    if output is not None:
        _write(output, data or b"")


@log.command("prove")
@_AT
@click.option("--node", help="Of which node; without, the first.")
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@home_option
def prove(moment: str, node: str | None, output: Path, home: Path) -> None:
    """Write a proof of what a node published then, for those who know the log's end by its hash."""
    at = _moment(moment)
    with reading(home) as session:
        verified = verify_change_log(session)
        found = [
            each
            for each in publications_at(session, at)
            if node is None or shown_name(each.node_name) == node
        ]
        if not found:
            raise ConfigurationError("nothing was published then", code=FaultCode.NOT_FOUND)
        data = encode_proof(session, found[0])
    _write(output, data)
    click.echo(f"{output}: leads to the head {verified.head_hash}")


@log.command("check-proof")
@click.argument("proof", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--head", required=True, help="The hash of the log's end, known by another way.")
@click.option("--part", type=click.Path(dir_okay=False, path_type=Path), help="What was received.")
def check_proof(proof: Path, head: str, part: Path | None) -> None:
    """Judge a proof, anywhere: was this file of a configuration published, and when?"""
    publication, name = verify_proof(_read(proof), head, _read(part) if part is not None else None)
    since = publication.at.isoformat(timespec="seconds")
    click.echo(f"node {shown_name(publication.node_name)} published {publication.stamp} at {since}")
    if part is not None:
        click.echo(f"{part} is its {name}")
    else:
        for each in publication.parts:
            click.echo(f"  {each}")


def _moment(text: str) -> datetime:
    """A moment; a day is its last moment in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no date: write 2026-03-01") from error
    if len(text) == len("2026-03-01"):
        return moment.replace(hour=23, minute=59, second=59, microsecond=999_999, tzinfo=UTC)
    if moment.tzinfo is None:
        raise ConfigurationError(f"{text!r} names no zone: end it with Z")
    return moment


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error


COMMANDS = (log,)
"""What this module adds to ``postroad central``."""
