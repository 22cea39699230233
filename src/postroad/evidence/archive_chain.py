"""Do archives follow one another without a gap, and is any of them not what its name says?

An archive names the last digest of the one before it, so archives form chains: one for all records,
or one for each group of members. Files may have been renamed since; then only digests count.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.evidence.log_archive import parse_archive_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from postroad.evidence.linking_info import LinkingInfo


@dataclass(frozen=True, slots=True)
class ArchiveLink:
    """An archive that was read: the name of its file (without directory), and its links."""

    file: str
    linking: LinkingInfo


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What was found about archives as a whole."""

    chains: tuple[tuple[str, ...], ...]
    """The files of each chain, in their order; a gap begins a new chain."""
    problems: tuple[tuple[str, str], ...]
    """Files, and what is wrong with their place; an empty name for what concerns none."""


def judge_chains(
    archives: Iterable[ArchiveLink],
    *,
    before: Collection[str] = (),
    ends: Collection[str] = (),
) -> ChainReport:
    """Put archives in order and say what is missing, doubled or misnamed.

    ``before`` are the last digests of archives that are known to lie elsewhere; ``ends`` are the
    last digests that there must be, without which nobody can see that the newest were taken away.
    """
    # One without containers ends where the one before it does; what it lacks is told elsewhere.
    links = sorted(
        (archive for archive in archives if archive.linking.files),
        key=lambda archive: archive.file,
    )
    problems: list[tuple[str, str]] = []
    by_end: dict[str, ArchiveLink] = {}
    followers: dict[str, list[ArchiveLink]] = defaultdict(list)
    for archive in links:
        problems += [(archive.file, problem) for problem in _naming(archive)]
        twin = by_end.setdefault(archive.linking.last_digest, archive)
        if twin is not archive:
            problems.append((archive.file, f"it is a copy of {twin.file}, or pretends to be"))
            continue
        followers[archive.linking.previous.digest].append(archive)
    firsts: list[ArchiveLink] = []
    for digest, following in followers.items():
        if digest == "":
            firsts += following
            problems += _second_beginnings(following)
            continue
        if digest not in by_end:
            firsts += following
            if digest not in before:
                missing = following[0].linking.previous.file_name
                problems += [
                    (item.file, f"the archive before it is missing: {missing}")
                    for item in following
                ]
        problems += [
            (item.file, f"it follows the same archive as {following[0].file}")
            for item in following[1:]
        ]
    known = {"", *by_end, *before}
    problems += [
        ("", f"the archive that ends with {digest[:16]} is missing")
        for digest in ends
        if digest not in known
    ]
    chains = tuple(_chain(first, followers) for first in firsts)
    return ChainReport(chains, tuple(problems))


def _naming(archive: ArchiveLink) -> list[str]:
    name = parse_archive_name(archive.file)
    digest = archive.linking.last_digest
    if name is None or digest.startswith(name.digest_start):
        return []
    return [f"its name is that of another archive: this one ends with {digest[:16]}"]


def _second_beginnings(firsts: list[ArchiveLink]) -> list[tuple[str, str]]:
    seen: dict[str, str] = {}
    problems = []
    for archive in firsts:
        name = parse_archive_name(archive.file)
        if name is None:
            continue
        other = seen.setdefault(name.group, archive.file)
        if other != archive.file:
            problems.append((archive.file, f"a second chain begins here, beside that of {other}"))
    return problems


def _chain(first: ArchiveLink, followers: dict[str, list[ArchiveLink]]) -> tuple[str, ...]:
    files = [first.file]
    digest = first.linking.last_digest
    while followers.get(digest):
        following = followers[digest][0]
        files.append(following.file)
        digest = following.linking.last_digest
    return tuple(files)
