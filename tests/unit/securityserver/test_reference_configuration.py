"""The reference's own signed directories through the whole configuration client."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from postroad.adapters.configuration_download import check_anchor
from postroad.crypto.certificates import Certificate
from postroad.errors import FaultCode, PostroadError
from postroad.globalconf.anchor import Anchor, Source
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.ports import FetchedResponse
from support.configuration_client import MovingClock, Server
from support.globalconf import ANCHORS, HANDMADE, REFERENCE, SIGNED, Network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroad.globalconf.shared_parameters import ConfigurationSource

BEFORE_EXPIRY = datetime(2030, 1, 1, tzinfo=UTC)
BEFORE_HANDMADE_EXPIRY = datetime(2026, 5, 20, 17, 42, 55, tzinfo=UTC)
ANCHOR = Anchor.parse((ANCHORS / "configuration_anchor_CS_internal.xml").read_bytes())


class Folder(Network):
    """Serves a folder as the reference's web server does, over http only."""

    def __init__(self, folder: Path, *versions: int) -> None:
        super().__init__()
        self.folder = folder
        self.versions = versions

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        parts = urlsplit(url)
        path = parts.path.lstrip("/")
        if path.endswith("conf"):
            version = int(parse_qs(parts.query).get("version", ["2"])[0])
            path = f"V{version}/{path}" if version in self.versions else "none"
        file = self.folder / path
        if parts.scheme != "http" or not file.is_file():
            return FetchedResponse(404, (), b"")
        return FetchedResponse(200, (), file.read_bytes())


def client(home: Path, *versions: int, folder: str = "current") -> Server:
    server = Server(home, Folder(SIGNED / folder, *versions), MovingClock(BEFORE_EXPIRY))
    server.give(ANCHOR)
    return server


def source_of(version: int) -> ConfigurationSource:
    (path,) = (SIGNED / f"current/V{version}").glob("*/shared-params.xml")
    (source,) = SharedParameters.parse(path.read_bytes(), version).sources
    return source


@pytest.mark.parametrize("version", [4, 6])
def test_the_current_set_is_accepted_with_the_anchor(tmp_path: Path, version: int) -> None:
    server = client(tmp_path, version)
    if version < 6:  # that set is signed with a key of its own
        keys = source_of(version).internal_verification_certificates
        server.give(Anchor("DEV", None, (Source("http://cs/internalconf", keys),)))
    report = server.poll()
    assert (report.own.error, report.own.version) == (None, version)
    configuration = server.configuration()
    configuration.ensure_valid(BEFORE_EXPIRY)
    assert configuration.instances == ("DEV",)
    # Authorities stand there as PEM text, as their administrator uploaded them (G-01).
    assert configuration.ca_certificates()


def test_the_broken_set_of_version_3_is_refused(tmp_path: Path) -> None:
    """Its shared parameters break their own schema; besides, it's about another instance."""
    report = client(tmp_path, 3).poll()
    assert report.own.error is not None
    assert not (tmp_path / "globalconf" / "CS").exists()


def test_the_rotated_set_needs_the_sources_that_were_stored_before(tmp_path: Path) -> None:
    fresh = client(tmp_path, 6, folder="rotated")
    refused = fresh.poll()
    assert refused.own.error is not None
    assert refused.own.error.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT
    fresh.network = Folder(SIGNED / "current", 6)
    assert fresh.poll().succeeded
    fresh.network = Folder(SIGNED / "rotated", 6)
    assert fresh.poll().succeeded


def test_the_set_before_a_rotation_cannot_be_replayed_after_it(tmp_path: Path) -> None:
    server = client(tmp_path, 6)
    assert server.poll().succeeded
    server.network = Folder(SIGNED / "rotated", 6)
    assert server.poll().succeeded
    server.network = Folder(SIGNED / "current", 6)
    replayed = server.poll()
    assert replayed.own.error is not None
    assert replayed.own.error.code is FaultCode.GLOBAL_CONF_OUTDATED


@pytest.mark.parametrize(
    ("version", "code"),
    [(4, None), (6, FaultCode.GLOBAL_CONF_PART_DOWNLOADED_FILE_INTEGRITY_FAILURE)],
)
def test_the_external_directories_are_judged_as_the_reference_does(
    version: int, code: FaultCode | None
) -> None:
    """That of version 6 lists another file than is there."""
    keys = source_of(version).external_verification_certificates
    anchor = Anchor("DEV", None, (Source("http://cs/externalconf", keys),))
    found: FaultCode | None = None
    try:
        asyncio.run(
            check_anchor(
                anchor,
                Folder(SIGNED / "current", version),
                MovingClock(BEFORE_EXPIRY),
                is_own=False,
            )
        )
    except PostroadError as error:
        found = error.code  # what these raise
    assert found is code


def test_the_anchor_of_the_current_set_is_internal_and_federates_nobody() -> None:
    with pytest.raises(PostroadError) as caught:
        asyncio.run(
            check_anchor(
                ANCHOR, Folder(SIGNED / "current", 6), MovingClock(BEFORE_EXPIRY), is_own=False
            )
        )
    assert caught.value.code is FaultCode.MALFORMED_ANCHOR


class Handmade(Network):
    """Serves a directory that was written by hand, as a source without versions does."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        parts = urlsplit(url)
        file = HANDMADE / self.name / "EE" / parts.path.lstrip("/")
        if parts.path == "/internalconf" and parts.query == "version=2":
            file = HANDMADE / f"{self.name}.txt"
        if parts.scheme != "http" or not file.is_file():
            return FetchedResponse(404, (), b"")
        return FetchedResponse(200, (), file.read_bytes())


def handmade(home: Path, name: str) -> Server:
    key = Certificate.from_pem_or_der((REFERENCE / "certs/consumer.pem").read_bytes()).der
    server = Server(home, Handmade(name), MovingClock(BEFORE_HANDMADE_EXPIRY))
    server.give(Anchor("EE", None, (Source("http://cs/internalconf", (key,)),)))
    return server


def test_an_unknown_part_is_stored_under_its_own_name(tmp_path: Path) -> None:
    server = handmade(tmp_path, "test-conf-simple")
    report = server.poll()
    assert (report.own.error, report.own.version) == (None, 2)
    files = server.files()
    assert files["EE/foo.xml"] == (HANDMADE / "test-conf-simple/EE/foo.xml").read_bytes()
    assert set(report.own.fetched) == {"private-params.xml", "shared-params.xml", "foo.xml"}


def test_a_detached_directory_gives_private_parameters_alone(tmp_path: Path) -> None:
    server = handmade(tmp_path, "test-conf-detached")
    assert server.poll().own.error is None
    assert "EE/private-params.xml" in server.files()
    assert "EE/shared-params.xml" not in server.files()
