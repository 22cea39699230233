"""``postroad archive verify``: are the archives of a message log still whole and in order?

Needs no server and no network. Exit code 0 says that everything is as it was written, 1 that
something isn't, 2 that nothing is wrong but at least one archive could not be judged.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from postroad.cli.verify import EXIT_INVALID, EXIT_NOT_JUDGED, load_configuration
from postroad.errors import PostroadError
from postroad.evidence.archive_chain import ArchiveLink, ChainReport, judge_chains
from postroad.evidence.asic import container_file_name, parse_container
from postroad.evidence.container_verification import verify_container
from postroad.evidence.log_archive import ArchiveReader, check_links

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    from postroad.adapters.openpgp import OpenPgpCertificate, OpenPgpSecret
    from postroad.evidence.linking_info import LinkingInfo
    from postroad.globalconf.view import GlobalConfiguration

MAX_ENCRYPTED_BYTES: Final = 2 * 1024 * 1024 * 1024
_ENCRYPTED: Final = ".gpg"
_SUFFIXES: Final = (".zip", ".zip.gpg")
_CONTAINER: Final = ".asice"


@dataclass(slots=True)
class ArchiveVerdict:
    """What was found out about one archive."""

    file: str
    containers: int = 0
    verified: int = 0
    """Containers whose signature and time-stamp hold."""
    linking: LinkingInfo | None = None
    problems: list[str] = field(default_factory=list)
    not_judged: str = ""

    @property
    def word(self) -> str:
        """The verdict in one word."""
        if self.problems:
            return "invalid"
        return "unknown" if self.not_judged else "valid"


@click.group("archive")
def command() -> None:
    """Judge the archives of a message log."""


@command.command("verify")
@click.argument("places", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--conf",
    type=click.Path(path_type=Path),
    help="Stored global configuration: verify also every container's signature and time-stamp.",
)
@click.option(
    "--previous",
    multiple=True,
    help="Last digest of an archive that lies elsewhere; the first one here may follow it.",
)
@click.option(
    "--last",
    multiple=True,
    help="Digest that the newest archive must end with (`postroad server archive status`).",
)
@click.option(
    "--secret-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="OpenPGP secret key (no password, mode 0600) that opens encrypted archives.",
)
@click.option(
    "--signer",
    "signers",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="OpenPGP public key of the server that signed encrypted archives.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a report.")
def verify(
    places: tuple[Path, ...],
    conf: Path | None,
    previous: tuple[str, ...],
    last: tuple[str, ...],
    secret_key: Path | None,
    signers: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Check archives in PLACES (directories, or single files): links, containers, order, gaps."""
    try:
        judge = Judge(
            None if conf is None else load_configuration(conf), *_keys(secret_key, signers)
        )
    except (PostroadError, OSError) as error:
        click.echo(f"postroad: {error}", err=True)
        sys.exit(EXIT_NOT_JUDGED)
    verdicts = [judge.judge(path) for path in _files(places)]
    if not verdicts:
        click.echo("postroad: there is no archive in these places", err=True)
        sys.exit(EXIT_NOT_JUDGED)
    chains = judge_chains(
        (
            ArchiveLink(Path(verdict.file).name, verdict.linking)
            for verdict in verdicts
            if verdict.linking is not None
        ),
        before=[digest.lower() for digest in previous],
        ends=[digest.lower() for digest in last],
    )
    loose = _place_problems(verdicts, chains)
    if as_json:
        click.echo(json.dumps(_as_json(verdicts, chains, loose), indent=2, ensure_ascii=False))
    else:
        _print(verdicts, chains, loose)
    words = {verdict.word for verdict in verdicts}
    if loose or "invalid" in words:
        sys.exit(EXIT_INVALID)
    sys.exit(EXIT_NOT_JUDGED if "unknown" in words else 0)


class Judge:
    """Judges archives one by one; see ``verify`` for what the parts are."""

    def __init__(
        self,
        globalconf: GlobalConfiguration | None,
        secret: OpenPgpSecret | None = None,
        signers: Sequence[OpenPgpCertificate] = (),
    ) -> None:
        self._globalconf = globalconf
        self._secret = secret
        self._signers = signers

    def judge(self, path: Path) -> ArchiveVerdict:
        """Read an archive to its end and say what is wrong with it."""
        verdict = ArchiveVerdict(str(path))
        try:
            with path.open("rb") as file:
                if path.suffix != _ENCRYPTED:
                    self._judge(file, verdict)
                elif self._secret is None:
                    verdict.not_judged = "it is encrypted: give --secret-key and --signer"
                else:
                    self._judge(io.BytesIO(self._opened(file, self._secret)), verdict)
        except OSError as error:
            verdict.not_judged = f"it can't be read: {error.strerror or error}"
        except PostroadError as error:
            verdict.problems.append(error.message)
        return verdict

    def _opened(self, file: BinaryIO, secret: OpenPgpSecret) -> bytes:
        data = file.read(MAX_ENCRYPTED_BYTES + 1)
        if len(data) > MAX_ENCRYPTED_BYTES:
            raise OSError(f"larger than {MAX_ENCRYPTED_BYTES} bytes")
        return secret.open(data, self._signers)

    def _judge(self, file: BinaryIO, verdict: ArchiveVerdict) -> None:
        archive = ArchiveReader(file)
        verdict.linking = archive.linking
        for name, data, wrong in check_links(archive):
            if data is not None:
                verdict.containers += 1
            if wrong:
                verdict.problems.append(f"{name}: {wrong}")
            elif data is not None and self._globalconf is not None:
                self._verify(name, data, self._globalconf, verdict)

    @staticmethod
    def _verify(
        name: str, data: bytes, globalconf: GlobalConfiguration, verdict: ArchiveVerdict
    ) -> None:
        try:
            report = verify_container(parse_container(data), globalconf)
        except PostroadError as error:
            verdict.problems.append(f"{name}: {error.message} ({error.fault_code})")
            return
        # Names aren't linked: one that leads to another message would hide the right one.
        named = container_file_name(report.message.query_id, is_response=False, record_id=0)
        if not name.startswith(named.removesuffix(f"request-0{_CONTAINER}")):
            message = report.message.query_id
            verdict.problems.append(f"{name}: it is named for another message than {message}")
            return
        verdict.verified += 1


def _keys(
    secret_key: Path | None, signers: Iterable[Path]
) -> tuple[OpenPgpSecret | None, list[OpenPgpCertificate]]:
    if secret_key is None:
        return None, []
    from postroad.adapters.openpgp import OpenPgpSecret, load_certificates

    secret = OpenPgpSecret.load(secret_key)
    known = [certificate for path in signers for certificate in load_certificates(path)]
    return secret, known or [secret.certificate]


def _files(places: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            files += sorted(
                path
                for path in place.iterdir()
                if path.name.endswith(_SUFFIXES) and not path.name.startswith(".")
            )
        else:
            files.append(place)
    return files


def _place_problems(verdicts: Sequence[ArchiveVerdict], chains: ChainReport) -> list[str]:
    """Give each archive what is wrong with its place; return what concerns none of them."""
    loose = []
    for name, problem in chains.problems:
        for verdict in verdicts:
            if Path(verdict.file).name == name:
                verdict.problems.append(problem)
                break
        else:
            loose.append(problem)
    return loose


def _as_json(
    verdicts: Iterable[ArchiveVerdict], chains: ChainReport, loose: list[str]
) -> dict[str, object]:
    return {
        "archives": [
            {
                "file": verdict.file,
                "verdict": verdict.word,
                "containers": verdict.containers,
                "verified": verdict.verified,
                "last_digest": None if verdict.linking is None else verdict.linking.last_digest,
                "problems": verdict.problems,
                "not_judged": verdict.not_judged or None,
            }
            for verdict in verdicts
        ],
        "chains": [list(chain) for chain in chains.chains],
        "problems": loose,
    }


def _print(verdicts: Sequence[ArchiveVerdict], chains: ChainReport, loose: Iterable[str]) -> None:
    marks = {"valid": "✔ VALID", "invalid": "✘ INVALID", "unknown": "? NOT JUDGED"}
    for verdict in verdicts:
        click.echo(f"{marks[verdict.word]}  {_shown(verdict.file)}")
        counts = f"{verdict.containers} containers"
        if verdict.verified:
            counts += f", {verdict.verified} with signature and time-stamp verified"
        for line in (counts, verdict.not_judged, *verdict.problems):
            if line:
                click.echo(f"    {_shown(line)}")
    for problem in loose:
        click.echo(f"✘ {_shown(problem)}")
    for chain in chains.chains:
        click.echo(f"chain of {len(chain)}: {_shown(chain[0])} … {_shown(chain[-1])}")


def _shown(text: str) -> str:
    """Make a stranger's control characters visible."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
