from __future__ import annotations

import itertools

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.evidence.archive_chain import ArchiveLink, judge_chains
from postroad.evidence.linking_info import ArchiveEnd, LinkedFile, LinkingInfo
from postroad.evidence.log_archive import archive_file_name
from support.archives import AT


def chain_of(count: int, group: str = "", start: str = "") -> list[ArchiveLink]:
    """Links of archives that follow one another."""
    links: list[ArchiveLink] = []
    previous = ArchiveEnd(start, "before.zip") if start else ArchiveEnd()
    for number in range(count):
        digest = DigestAlgorithm.SHA512.digest(f"{group} {number}".encode()).hex()
        files = (LinkedFile("x.asice", digest),)
        name = archive_file_name(group, AT, AT, digest)
        links.append(ArchiveLink(name, LinkingInfo(previous, DigestAlgorithm.SHA512, files)))
        previous = ArchiveEnd(digest, name)
    return links


def test_archives_are_put_in_order_whatever_order_they_come_in() -> None:
    links = chain_of(4)
    wanted = tuple(link.file for link in links)
    for shuffled in itertools.permutations(links):
        report = judge_chains(shuffled)
        assert report.chains == (wanted,)
        assert report.problems == ()


def test_each_group_has_a_chain_of_its_own() -> None:
    report = judge_chains([*chain_of(2, "EE/GOV/1"), *chain_of(3, "EE/GOV/2")])
    assert sorted(map(len, report.chains)) == [2, 3]
    assert report.problems == ()


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_archive_is_named(gone: int) -> None:
    links = chain_of(4)
    report = judge_chains(links[:gone] + links[gone + 1 :])
    follower = links[gone + 1]
    assert report.problems == (
        (follower.file, f"the archive before it is missing: {links[gone].file}"),
    )


def test_older_archives_may_lie_elsewhere_if_that_is_said() -> None:
    links = chain_of(3, start="ab" * 64)
    assert len(judge_chains(links).problems) == 1
    assert judge_chains(links, before=["ab" * 64]).problems == ()


def test_newest_archives_that_were_taken_away_are_missed_when_their_end_is_known() -> None:
    links = chain_of(3)
    end = links[2].linking.last_digest
    assert judge_chains(links, ends=[end]).problems == ()
    assert judge_chains(links[:2]).problems == ()
    ((file, problem),) = judge_chains(links[:2], ends=[end]).problems
    assert file == ""
    assert problem == f"the archive that ends with {end[:16]} is missing"


def test_two_archives_cannot_follow_the_same_one() -> None:
    links = chain_of(2)
    files = (LinkedFile("y.asice", "cd" * 64),)
    fork = ArchiveLink(
        "fork.zip", LinkingInfo(links[1].linking.previous, links[1].linking.algorithm, files)
    )
    problems = judge_chains([*links, fork]).problems
    assert [problem.startswith("it follows the same archive") for _file, problem in problems] == [
        True
    ]


def test_a_group_begins_once() -> None:
    other = chain_of(1, start="")[0]
    files = (LinkedFile("y.asice", "cd" * 64),)
    again = ArchiveLink(
        archive_file_name("", AT, AT, "cd" * 64),
        LinkingInfo(ArchiveEnd(), DigestAlgorithm.SHA512, files),
    )
    assert "a second chain begins" in judge_chains([other, again]).problems[0][1]


def test_files_that_changed_names_are_found_out() -> None:
    one, two = chain_of(2)
    swapped = [ArchiveLink(two.file, one.linking), ArchiveLink(one.file, two.linking)]
    problems = judge_chains(swapped).problems
    assert {file for file, _problem in problems} == {one.file, two.file}


def test_a_copy_is_no_second_archive() -> None:
    (link,) = chain_of(1)
    problems = judge_chains([link, ArchiveLink("z-copy.zip", link.linking)]).problems
    assert problems == (("z-copy.zip", f"it is a copy of {link.file}, or pretends to be"),)


def test_archives_without_containers_join_nothing() -> None:
    empty = LinkingInfo(ArchiveEnd("ab", "x.zip"), DigestAlgorithm.SHA512, ())
    report = judge_chains([*chain_of(1), ArchiveLink("a.zip", empty), ArchiveLink("b.zip", empty)])
    assert len(report.chains) == 1
