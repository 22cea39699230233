"""``postroad verify``: judge signed containers offline.

Needs nothing but the container and a stored global configuration: no network, no server. Exit code
0 says that every file is valid, 1 that at least one is not, 2 that none is invalid but at least one
could not be judged (it can't be read, or the configuration can't).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import track

from postroad.adapters.files import read_tree
from postroad.cli.verify_report import Verdict, as_json, renderables
from postroad.errors import PostroadError
from postroad.evidence.asic import parse_container
from postroad.evidence.container_verification import stamped_data, verify_container
from postroad.evidence.logged_message import parse_logged_message
from postroad.evidence.xades_parsing import parse_signature
from postroad.globalconf.parts import INSTANCE_FILE
from postroad.globalconf.stored import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroad.evidence.asic import AsicContainer
    from postroad.evidence.container_verification import ContainerReport
    from postroad.evidence.logged_message import LoggedMessage
    from postroad.globalconf.view import GlobalConfiguration

EXIT_INVALID: Final = 1
EXIT_NOT_JUDGED: Final = 2
MAX_CONTAINER_BYTES: Final = 512 * 1024 * 1024
MAX_CONFIGURATION_BYTES: Final = 256 * 1024 * 1024
_WRAPPER: Final = "verificationconf"


@click.command("verify")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--conf",
    "conf",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory of a stored global configuration (instance-identifier, <INSTANCE>/…).",
)
@click.option("--json", "as_json_text", is_flag=True, help="Print JSON instead of a report.")
@click.option(
    "--extract",
    "extract_to",
    type=click.Path(path_type=Path),
    help="Write message, attachments and proofs of valid containers below this directory.",
)
def command(
    files: tuple[Path, ...], conf: Path, extract_to: Path | None, *, as_json_text: bool
) -> None:
    """Verify signed containers FILES (.asice) against a global configuration."""
    try:
        globalconf = load_configuration(conf)
    except (PostroadError, OSError) as error:
        click.echo(f"postroad: cannot read the global configuration {conf}: {error}", err=True)
        sys.exit(EXIT_NOT_JUDGED)
    for warning in globalconf.warnings:
        click.echo(f"postroad: {warning}", err=True)
    verdicts = []
    for file in _shown(files):
        verdict = judge(file, globalconf, extract_to)
        verdicts.append(verdict)
        if not as_json_text:
            _print(verdict)
    if as_json_text:
        results = [as_json(verdict) for verdict in verdicts]
        click.echo(json.dumps({"results": results}, indent=2, ensure_ascii=False))
    elif len(verdicts) > 1:
        _print_summary(verdicts)
    sys.exit(exit_code(verdicts))


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return 0 if all are valid, 1 if any is invalid, else 2 (some couldn't be judged)."""
    words = {verdict.word for verdict in verdicts}
    if "invalid" in words:
        return EXIT_INVALID
    return EXIT_NOT_JUDGED if "unknown" in words else 0


def load_configuration(directory: Path) -> GlobalConfiguration:
    """Load a stored global configuration, or the ``verificationconf`` directory inside.

    Raises ``ConfigurationError`` or ``OSError`` if there is none.
    """
    wrapped = directory / _WRAPPER
    if not (directory / INSTANCE_FILE).is_file() and wrapped.is_dir():
        directory = wrapped
    return load(read_tree(directory, MAX_CONFIGURATION_BYTES))


def judge(file: Path, globalconf: GlobalConfiguration, extract_to: Path | None = None) -> Verdict:
    """Read and verify one container; extract it if it's valid and that was asked for."""
    try:
        data = _read(file, MAX_CONTAINER_BYTES)
    except OSError as error:
        return Verdict(str(file), problem=f"cannot read the file: {error.strerror or error}")
    container = None
    try:
        container = parse_container(data)
        report = verify_container(container, globalconf)
    except PostroadError as error:
        return Verdict(str(file), error=error, claimed=_claimed_message(container))
    if extract_to is None:
        return Verdict(str(file), report=report)
    try:
        target = extract(container, report, extract_to, file.stem)
    except OSError as error:
        problem = f"the container is valid, but cannot be extracted: {error}"
        return Verdict(str(file), problem=problem)
    return Verdict(str(file), report=report, extracted=str(target))


def _claimed_message(container: AsicContainer | None) -> LoggedMessage | None:
    with contextlib.suppress(PostroadError):
        return None if container is None else parse_logged_message(container.message)
    return None


def extract(container: AsicContainer, report: ContainerReport, below: Path, name: str) -> Path:
    """Write the content of a container into a new directory ``name`` below a directory.

    Names come from a closed set, so nothing can be written elsewhere; nothing is overwritten
    (``FileExistsError``). The token and the octets it stamps are written too, so that other
    tools can judge it: ``openssl ts -verify -token_in -in timestamp.tst -data timestamped-data``.
    """
    target = below / (name if name.strip(".") else "container")
    target.mkdir(parents=True)
    files = [
        ("message.xml", container.message),
        ("signatures.xml", container.signatures),
        ("timestamp.tst", report.timestamp_token),
        ("timestamped-data", stamped_data(container, parse_signature(container.signatures))),
        *((attachment.name, attachment.data) for attachment in container.attachments),
    ]
    for file_name, content in files:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(target / file_name, flags, 0o600), "wb") as out:
            out.write(content)
    return target


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"{path} is larger than {limit} bytes")
    return data


def _shown(files: Sequence[Path]) -> Iterable[Path]:
    """Go through the files, with a progress bar if a person is watching."""
    if len(files) < 2 or not sys.stderr.isatty():
        return files
    return track(files, description="Verifying", console=Console(stderr=True), transient=True)


def _print(verdict: Verdict) -> None:
    # Without a terminal nothing is wrapped at 80 columns: the reader is a file or a pipe.
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    for renderable in renderables(verdict):
        console.print(renderable)


def _print_summary(verdicts: Sequence[Verdict]) -> None:
    words = [verdict.word for verdict in verdicts]
    click.echo(
        f"{len(words)} files: {words.count('valid')} valid, {words.count('invalid')} invalid, "
        f"{words.count('unknown')} not judged"
    )
