"""The Central Server's signing keys in a hardware token, and how a source moves there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pkcs11
import pytest

from postroad.centralserver.node import CentralServerNode, NewInstance, initialize_node, open_node
from postroad.centralserver.registry import members, provider, sources
from postroad.centralserver.registry.sources import SourceType
from postroad.centralserver.settings import parse_settings
from postroad.centralserver.signing_keys import HardwareSigningToken, KeyAlgorithm, SigningToken
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.federation import AllowedFederations
from postroad.identifiers import MemberId, SubsystemId
from postroad.ports import FetchedResponse
from postroad.securityserver.confclient import ConfigurationClient, PollReport
from support.central_server import MovingClock, plain_node
from support.softhsm import LIBRARY, PIN, SoftHsm

SOFT_PIN = "canary-pin-4711"
MANAGEMENT = SubsystemId("DEV", "GOV", "1", "MANAGEMENT")


class PublishedFiles:
    """A web server: what the node has published."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

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
        del method, headers, body, timeout, max_body
        path, _, query = url.partition("//")[2].partition("/")[2].partition("?")
        version = query.partition("version=")[2]
        if version:
            path = f"V{version}/{path}"
        file = self.directory / path
        if not file.is_file():
            return FetchedResponse(404, (), b"")
        return FetchedResponse(200, (), file.read_bytes())


class Follower:
    """A Security Server's configuration client that was given an anchor once."""

    def __init__(self, home: Path, node: CentralServerNode, clock: MovingClock) -> None:
        home.mkdir()
        self.client = ConfigurationClient(
            anchor_path=home / "anchor.xml",
            directory=home / "globalconf",
            fetcher=PublishedFiles(node.settings.public_path),
            clock=clock,
            allowed=AllowedFederations.parse("none"),
            shuffle=list,
        )
        with node.reading() as session:
            (home / "anchor.xml").write_bytes(sources.load_anchor(session, SourceType.INTERNAL))

    def poll(self) -> PollReport:
        return asyncio.run(self.client.run_once())


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.add_token("central")
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.configuration))
    with suppress(pkcs11.PKCS11Error):
        pkcs11.lib(LIBRARY).reinitialize()
    yield hsm
    with suppress(pkcs11.PKCS11Error):
        pkcs11.lib(LIBRARY).finalize()


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def node(tmp_path: Path, clock: MovingClock) -> Iterator[CentralServerNode]:
    """A node that is founded with its software token."""
    node = plain_node(tmp_path / "central", clock)
    new = NewInstance(instance="DEV", address="cs.example", pin=SOFT_PIN, algorithm=KeyAlgorithm.EC)
    initialize_node(node, new, "tester")
    with node.changing("tester") as change:
        members.add_member_class(change, "GOV", "Government")
        members.add_member(change, MemberId("DEV", "GOV", "1"), "Owner")
        members.add_subsystem(change, MANAGEMENT)
        provider.set_management_provider(change, MANAGEMENT)
    yield node
    node.close()


def with_device(node: CentralServerNode, clock: MovingClock) -> CentralServerNode:
    """The same node after its operator has configured a hardware token."""
    home = node.settings.home_path
    pin = home / "device-pin"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    text = (
        '[distribution]\nhttps = false\n[token]\ndevice_pin_file = "device-pin"\n'
        f'[token.device]\nlibrary = "{LIBRARY}"\n'
    )
    return open_node(home, clock=clock, settings=parse_settings(text, home=home))


def active_keys(node: CentralServerNode) -> set[str]:
    with node.reading() as session:
        return {key.key_identifier for key in sources.list_signing_keys(session) if key.is_active}


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_a_source_moves_to_hardware_and_a_client_with_the_old_anchor_follows(
    hsm: SoftHsm,
    node: CentralServerNode,
    clock: MovingClock,
    tmp_path: Path,
    algorithm: KeyAlgorithm,
) -> None:
    node.generate(node.unlock(SOFT_PIN))
    follower = Follower(tmp_path / "follower", node, clock)
    assert follower.poll().succeeded
    moved = with_device(node, clock)
    try:
        token = moved.unlock(SOFT_PIN)
        assert isinstance(token, HardwareSigningToken)
        (old,) = (key for key in active_keys(moved) if key in files_of(moved, SourceType.INTERNAL))
        new = moved.generate_key(token, SourceType.INTERNAL, algorithm, "tester")
        for _ in range(4):  # the old key still signs, and tells of the new one
            moved.generate(token)
            assert follower.poll().succeeded
            clock.pass_time(seconds=60)
        moved.activate_key(new, "tester")
        moved.generate(token)
        assert follower.poll().succeeded
        moved.delete_key(token, old, "tester")
        clock.pass_time(seconds=60)
        moved.generate(moved.unlock(SOFT_PIN))
        report = follower.poll()
        assert report.succeeded, report.own.error
    finally:
        moved.close()


def files_of(node: CentralServerNode, source_type: SourceType) -> set[str]:
    with node.reading() as session:
        source = sources.find_source(session, source_type)
        assert source is not None
        return {key.key_identifier for key in source.keys}


def test_a_client_that_was_away_during_the_whole_rotation_needs_a_new_anchor(
    hsm: SoftHsm, node: CentralServerNode, clock: MovingClock, tmp_path: Path
) -> None:
    node.generate(node.unlock(SOFT_PIN))
    follower = Follower(tmp_path / "follower", node, clock)
    moved = with_device(node, clock)
    try:
        token = moved.unlock(SOFT_PIN)
        new = moved.generate_key(token, SourceType.INTERNAL, KeyAlgorithm.EC, "tester")
        moved.activate_key(new, "tester", force=True)
        moved.generate(token)
        report = follower.poll()
        assert not report.succeeded
        assert report.own.error is not None
        assert report.own.error.code is FaultCode.GLOBAL_CONF_MISSING_VERIFICATION_CERT
        late = Follower(tmp_path / "late", moved, clock)
        assert late.poll().succeeded
    finally:
        moved.close()


def test_a_running_server_finds_the_key_that_a_command_has_made(
    hsm: SoftHsm, node: CentralServerNode, clock: MovingClock
) -> None:
    moved = with_device(node, clock)
    try:
        server, command = moved.unlock(SOFT_PIN), moved.unlock(SOFT_PIN)
        new = moved.generate_key(command, SourceType.INTERNAL, KeyAlgorithm.EC, "tester")
        moved.activate_key(new, "tester", force=True)
        assert moved.generate(server).directories
    finally:
        moved.close()


def test_without_its_pin_or_device_the_token_stays_shut(
    hsm: SoftHsm, node: CentralServerNode, clock: MovingClock
) -> None:
    moved = with_device(node, clock)
    try:
        pin = moved.settings.home_path / "device-pin"
        pin.chmod(0o644)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            moved.unlock(SOFT_PIN)
        pin.chmod(0o600)
        pin.write_text("wrong")
        with pytest.raises(ConfigurationError) as caught:
            moved.unlock(SOFT_PIN)
        assert caught.value.code is FaultCode.PIN_INCORRECT
        hsm.add_token("second")
        pkcs11.lib(LIBRARY).reinitialize()
        with pytest.raises(ConfigurationError, match="slot_ids"):
            moved.unlock(SOFT_PIN)
    finally:
        moved.close()
    assert isinstance(node.unlock(SOFT_PIN), SigningToken)


def test_settings_refuse_a_device_without_pin_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="device_pin_file"):
        parse_settings('[token.device]\nlibrary = "x.so"\n', home=tmp_path)
