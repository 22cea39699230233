"""Hardware tokens behind the signer: each library in a process of its own, which may fall."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import (
    KeyAlgorithm,
    KeyRecord,
    KeyUsage,
    RequestArgument,
    TokenInfo,
)
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.identifiers import MemberId
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.profiles import CertificateKind
from support.softhsm import LIBRARY, PIN, SoftHsm

T = TypeVar("T")
SOFT_PIN = "canary-soft-pin-17"
DATA = b"what is signed"
DIGEST = DigestAlgorithm.SHA512
MEMBER = MemberId("TEST", "GOV", "1")

SCRIPT = """
import sys
from pathlib import Path
from postroad.adapters.hardware_devices import DeviceSettings
from postroad.adapters.logs import configure_logging
from postroad.signer import devices, processes
from postroad.adapters.private_files import read_private_file
from postroad.signer.automatic_login import AutomaticLogin
home, what, library = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
configure_logging(process=what, style="json")
devices.LOOK_INTERVAL = devices.RESTART_INTERVAL = 0.2
login = AutomaticLogin(lambda: read_private_file(home / "pins"))
if what == "signer":
    paths = processes.SignerPaths(
        directory=home / "signer", socket=home / "signer.sock", ocsp_directory=home / "ocsp",
        devices={"hsm": home / "hsm.sock"},
    )
    processes.run(paths)
else:
    settings = DeviceSettings(module_path=library, token_id_format="{moduleType}-{label}")
    paths = processes.DevicePaths(directory=home / "signer/devices/hsm", socket=home / "hsm.sock")
    processes.run_device("hsm", settings, paths, login=login if (home / "pins").exists() else None)
"""


class Signer:
    """A signer and the process of one device."""

    def __init__(self, home: Path, hsm: SoftHsm) -> None:
        self.home = home
        self.hsm = hsm
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, what: str, socket: str, library: str = LIBRARY) -> None:
        path = self.home / socket
        path.unlink(missing_ok=True)
        with (self.home / "log").open("ab") as log:
            self.processes[what] = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(self.home), what, library],
                stdout=log,
                stderr=log,
                env=self.hsm.environment,
            )
        wait_until(path.exists)

    def start_device(self, library: str = LIBRARY) -> None:
        self.start("device", "hsm.sock", library)

    def stop_all(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def ask(self, work: Callable[[SignerClient], Awaitable[T]]) -> T:
        async def call() -> T:
            client = SignerClient(self.home / "signer.sock")
            try:
                return await work(client)
            finally:
                client.close()

        return asyncio.run(call())

    def refusal(self, work: Callable[[SignerClient], Awaitable[object]]) -> PostroadError:
        with pytest.raises(PostroadError) as caught:
            self.ask(work)
        return caught.value

    def token(self, token_id: str) -> TokenInfo:
        infos = self.ask(lambda client: client.tokens())
        return next(info for info in infos if info.token.id == token_id)

    def sees(self, token_id: str, *, available: bool) -> bool:
        infos = self.ask(lambda client: client.tokens())
        return any(info.token.id == token_id and info.available is available for info in infos)

    def make_key(self, token: str, algorithm: KeyAlgorithm = KeyAlgorithm.EC_P256) -> KeyRecord:
        return self.ask(lambda client: client.generate_key("k", algorithm=algorithm, token=token))

    def sign(self, key: KeyRecord) -> None:
        value = self.ask(lambda client: client.sign(key.id, DIGEST, DIGEST.digest(DATA)))
        public = load_der_public_key(key.public_key)
        assert isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        algorithm = SignatureAlgorithm.for_key(public, DIGEST)
        verify_signature(public, algorithm, value, DATA, ecdsa_raw=True)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.add_token("one")
    hsm.add_token("two", "the-other-pin")
    signer = Signer(tmp_path, hsm)
    try:
        signer.start("signer", "signer.sock")
        signer.start_device()
        wait_until(lambda: signer.sees("hsm-one", available=True))
        yield signer
    finally:
        signer.stop_all()


def log_in(signer: Signer) -> None:
    async def work(client: SignerClient) -> None:
        await client.initialise(SOFT_PIN)
        await client.login(SOFT_PIN)
        await client.login(PIN, token="hsm-one")

    signer.ask(work)


def test_each_token_has_its_own_pin_and_keys(signer: Signer) -> None:
    log_in(signer)
    error = signer.refusal(lambda client: client.login(PIN, token="hsm-two"))
    assert error.code is FaultCode.PIN_INCORRECT
    error = signer.refusal(lambda client: client.login("the-other-pin", token="hsm-two"))
    assert error.code is FaultCode.LOGIN_FAILED  # throttled; the other tokens aren't
    assert "next attempt" in error.message
    keys = {token: signer.make_key(token) for token in ("0", "hsm-one")}
    keys["rsa"] = signer.make_key("hsm-one", KeyAlgorithm.RSA_2048)
    for key in keys.values():
        signer.sign(key)
    error = signer.refusal(lambda client: client.generate_key("k", token="hsm-two"))
    assert error.code is FaultCode.TOKEN_NOT_ACTIVE
    assert signer.ask(lambda client: client.tokens())[0].token.id == "0"
    signer.ask(lambda client: client.logout(token="hsm-one"))
    error = signer.refusal(lambda client: client.sign(keys["rsa"].id, DIGEST, bytes(64)))
    assert error.code is FaultCode.TOKEN_NOT_ACTIVE
    signer.sign(keys["0"])


def test_from_request_to_registered_certificate_and_no_authentication(signer: Signer) -> None:
    from datetime import UTC, datetime

    log_in(signer)
    key = signer.make_key("hsm-one")
    lab = TrustLab.create(at=datetime.now(UTC))  # noqa: TID251 - a real process has real time

    async def work(client: SignerClient) -> None:
        request = RequestArgument(
            key_id=key.id, usage=KeyUsage.SIGNING, subject=(("CN", "x"),), member=MEMBER.encoded()
        )
        made = await client.make_request(request)
        certificate = lab.sign_request(made.der, CertificateKind.SIGN)
        record = await client.import_certificate(certificate.der, member=MEMBER.encoded())
        await client.set_certificate(record.hash, active=True)
        (entry,) = await client.certificates()
        assert (entry.key_id, entry.active, entry.token_active) == (key.id, True, True)
        await client.rename("seal of 2026", key_id=key.id)

    signer.ask(work)
    (kept,) = signer.token("hsm-one").token.keys
    assert (kept.friendly_name, kept.requests, len(kept.certificates)) == ("seal of 2026", (), 1)
    other = signer.make_key("hsm-one")
    request = RequestArgument(
        key_id=other.id, usage=KeyUsage.AUTHENTICATION, subject=(("CN", "x"),)
    )
    tls = KeyUsage.AUTHENTICATION
    for error in (
        signer.refusal(lambda client: client.generate_key("tls", usage=tls, token="hsm-one")),
        signer.refusal(lambda client: client.make_request(request)),
    ):
        assert error.code is FaultCode.WRONG_CERT_USAGE
        assert "software token" in error.message


def test_crashed_library_takes_nothing_with_it_and_comes_back_logged_in(signer: Signer) -> None:
    log_in(signer)
    soft, hard = signer.make_key("0"), signer.make_key("hsm-one")
    signer.processes["device"].send_signal(signal.SIGSEGV)
    signer.processes["device"].wait()
    signer.sign(soft)
    assert signer.refusal(lambda client: client.sign(hard.id, DIGEST, bytes(64)))
    info = signer.token("hsm-one")
    assert not info.available
    assert [key.id for key in info.token.keys] == [hard.id]  # known, but it can't sign
    assert info.available_keys == frozenset()
    (signer.home / "pins").write_text(f"0:{SOFT_PIN}\nhsm-one:{PIN}\n")
    (signer.home / "pins").chmod(0o600)
    signer.start_device()
    wait_until(lambda: hard.id in signer.token("hsm-one").available_keys)
    signer.sign(hard)


def test_hanging_library_keeps_nobody_else_waiting(signer: Signer) -> None:
    log_in(signer)
    soft, hard = signer.make_key("0"), signer.make_key("hsm-one")
    signer.processes["device"].send_signal(signal.SIGSTOP)

    async def work(client: SignerClient) -> None:
        stuck = asyncio.ensure_future(client.sign(hard.id, DIGEST, bytes(64)))
        started = time.monotonic()
        await client.sign(soft.id, DIGEST, bytes(64))
        assert time.monotonic() - started < 1
        assert not stuck.done()
        stuck.cancel()

    signer.ask(work)
    started = time.monotonic()
    assert not signer.token("hsm-one").available
    assert time.monotonic() - started < 5
    signer.processes["device"].send_signal(signal.SIGCONT)
    wait_until(lambda: signer.sees("hsm-one", available=True))
    signer.sign(hard)


def test_token_that_was_away_is_told_and_comes_back(signer: Signer) -> None:
    log_in(signer)
    hard = signer.make_key("hsm-one")
    signer.hsm.take_away()
    wait_until(lambda: "not in device hsm" in signer.token("hsm-one").problem)
    info = signer.token("hsm-one")
    assert not info.available
    assert info.available_keys == frozenset()
    error = signer.refusal(lambda client: client.sign(hard.id, DIGEST, bytes(64)))
    assert error.code is FaultCode.TOKEN_NOT_AVAILABLE
    signer.hsm.put_back()
    wait_until(lambda: hard.id in signer.token("hsm-one").available_keys)
    signer.sign(hard)


def test_record_of_a_token_can_be_forgotten_only_while_it_is_away(signer: Signer) -> None:
    log_in(signer)
    signer.make_key("hsm-one")
    error = signer.refusal(lambda client: client.forget_token("hsm-one"))
    assert error.code is FaultCode.TOKEN_NOT_AVAILABLE
    signer.hsm.take_away()
    wait_until(lambda: not signer.token("hsm-one").available)
    signer.ask(lambda client: client.forget_token("hsm-one"))
    infos = signer.ask(lambda client: client.tokens())
    assert "hsm-one" not in {info.token.id for info in infos}


def test_library_that_cannot_be_loaded_is_told(signer: Signer) -> None:
    signer.processes["device"].kill()
    signer.processes["device"].wait()
    signer.start_device(str(signer.home / "none.so"))
    wait_until(lambda: "doesn't work" in signer.ask(lambda c: c.tokens())[1].problem)
    log_in_soft = signer.ask(lambda client: client.initialise(SOFT_PIN))
    assert log_in_soft is None


def test_automatic_login_needs_a_file_that_nobody_else_may_read(signer: Signer) -> None:
    pins = signer.home / "pins"
    pins.write_text(f"hsm-one:{PIN}\nhsm-two:the-other-pin\n")
    pins.chmod(0o644)
    for mode, active in ((0o644, False), (0o600, True)):
        pins.chmod(mode)
        signer.processes["device"].terminate()
        signer.processes["device"].wait()
        signer.start_device()
        wait_until(lambda: signer.sees("hsm-two", available=True))
        if active:
            wait_until(lambda: signer.token("hsm-two").active)
        assert signer.token("hsm-two").active is active
    assert b"chmod 600" in (signer.home / "log").read_bytes()


def test_pins_reach_neither_logs_nor_files_nor_the_process_list(signer: Signer) -> None:
    log_in(signer)
    signer.refusal(lambda client: client.login(PIN + "x", token="hsm-one"))
    signer.make_key("0")
    for name, process in signer.processes.items():
        root = Path(f"/proc/{process.pid}")
        for seen in ("cmdline", "environ"):
            assert b"canary" not in (root / seen).read_bytes(), name
    texts = [signer.home / "log", *(signer.home / "signer").rglob("*")]
    for path in texts:
        if path.is_file():
            assert b"canary" not in path.read_bytes(), path
            assert path.name == "log" or path.stat().st_mode & 0o077 == 0, path
    for socket in ("signer.sock", "hsm.sock"):
        assert (signer.home / socket).stat().st_mode & 0o077 == 0


def test_refusals_carry_no_pin(signer: Signer) -> None:
    for token in ("0", "hsm-one", "none"):
        error = signer.refusal(lambda client, token=token: client.login("canary-x", token=token))
        assert isinstance(error, ConfigurationError)
        assert "canary" not in str(error)
