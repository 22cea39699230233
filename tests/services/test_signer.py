"""The signer as a process of its own, asked over its socket; secrets stay in it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import KeyAlgorithm, KeyUsage, RequestArgument, TokenStatus
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, UnavailablePeer
from postroad.identifiers import MemberId
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.profiles import CertificateKind

T = TypeVar("T")
PIN = "canary-pin-4711-secret"
DATA = b"what is signed"
MEMBER = MemberId("TEST", "GOV", "1")

SCRIPT = """
import sys
from pathlib import Path
from postroad.adapters.logs import configure_logging
from postroad.signer.processes import SignerPaths, run
home = Path(sys.argv[1])
configure_logging(process="signer", style="json")
run(
    SignerPaths(
        directory=home / "signer", socket=home / "signer.sock", ocsp_directory=home / "ocsp"
    )
)
"""


@dataclass
class Signer:
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> bytes:
        return (self.home / "log").read_bytes()

    def ask(self, work: Callable[[SignerClient], Awaitable[T]]) -> T:
        async def call() -> T:
            client = SignerClient(self.home / "signer.sock")
            try:
                return await work(client)
            finally:
                client.close()

        return asyncio.run(call())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def answers(path: Path) -> bool:
    """Whether somebody listens there; the file alone comes a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def start(home: Path) -> Signer:
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(home)], stdout=log, stderr=log
        )
    until = time.monotonic() + 20
    while not answers(home / "signer.sock"):
        assert process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < until
        time.sleep(0.02)
    return Signer(home, process)


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    signer = start(tmp_path)
    yield signer
    with contextlib.suppress(ProcessLookupError):
        signer.process.kill()
    signer.process.wait()


async def ready(client: SignerClient) -> None:
    await client.initialise(PIN)
    await client.login(PIN)


def test_socket_and_files_belong_to_their_owner_only(signer: Signer) -> None:
    signer.ask(ready)
    assert (signer.home / "signer.sock").stat().st_mode & 0o777 == 0o600
    assert (signer.home / "signer").stat().st_mode & 0o777 == 0o700


def test_signs_for_many_callers_at_once(signer: Signer) -> None:
    async def work(client: SignerClient) -> None:
        await ready(client)
        rsa_key = await client.generate_key("rsa", usage=KeyUsage.SIGNING)
        ec_key = await client.generate_key(
            "ec", algorithm=KeyAlgorithm.EC_P256, usage=KeyUsage.SIGNING
        )
        digests = [DigestAlgorithm.SHA512.digest(b"%d" % number) for number in range(20)]
        for key in (rsa_key, ec_key):
            public = load_der_public_key(key.public_key)
            assert isinstance(public, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey))
            values = await asyncio.gather(
                *(client.sign(key.id, DigestAlgorithm.SHA512, digest) for digest in digests)
            )
            for number, value in enumerate(values):
                algorithm = SignatureAlgorithm.for_key(public, DigestAlgorithm.SHA512)
                verify_signature(public, algorithm, value, b"%d" % number, ecdsa_raw=True)

    signer.ask(work)


def test_from_request_to_lent_key(signer: Signer) -> None:
    from datetime import UTC, datetime

    lab = TrustLab.create(at=datetime.now(UTC))  # noqa: TID251 - a real process has real time

    async def work(client: SignerClient) -> None:
        await ready(client)
        for usage, kind in (
            (KeyUsage.SIGNING, CertificateKind.SIGN),
            (KeyUsage.AUTHENTICATION, CertificateKind.AUTH),
        ):
            member = MEMBER.encoded() if usage is KeyUsage.SIGNING else None
            key = await client.generate_key(usage.value, algorithm=KeyAlgorithm.EC_P256)
            made = await client.make_request(
                RequestArgument(
                    key_id=key.id, usage=usage, subject=(("C", "FI"), ("CN", "x")), member=member
                )
            )
            certificate = lab.sign_request(made.der, kind)
            record = await client.import_certificate(certificate.der, member=member)
            await client.set_certificate(record.hash, active=True)
        states = [(c.usage, c.member, c.active, c.status) for c in await client.certificates()]
        assert states == [
            ("SIGNING", "TEST/GOV/1", True, "registered"),
            ("AUTHENTICATION", None, True, "saved"),
        ]
        lent = await client.lend_authentication_key()
        private = load_pem_private_key(lent.private_key_pkcs8_pem, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        assert Certificate.from_der(lent.certificate_der).public_key == private.public_key()
        assert not (await client.info()).token.keys[0].requests

    signer.ask(work)


def test_keys_survive_a_kill_and_wait_for_the_pin(signer: Signer) -> None:
    signer.ask(ready)
    key = signer.ask(lambda c: c.generate_key("k", algorithm=KeyAlgorithm.EC_P256))
    signer.process.kill()
    signer.process.wait()
    (signer.home / "signer.sock").unlink()
    again = start(signer.home)
    try:
        info = again.ask(lambda client: client.info())
        assert [record.id for record in info.token.keys] == [key.id]
        assert not info.active
        with pytest.raises(ConfigurationError) as caught:
            again.ask(lambda c: c.sign(key.id, DigestAlgorithm.SHA256, bytes(32)))
        assert caught.value.code is FaultCode.TOKEN_NOT_ACTIVE
        again.ask(lambda client: client.login(PIN))
        assert len(again.ask(lambda c: c.sign(key.id, DigestAlgorithm.SHA256, bytes(32)))) == 64
        assert again.stop() == 0
        assert not (signer.home / "signer.sock").exists()
    finally:
        again.process.kill()
        again.process.wait()


def test_caller_hears_when_the_signer_is_not_there(tmp_path: Path) -> None:
    client = SignerClient(tmp_path / "signer.sock")
    with pytest.raises(UnavailablePeer):
        asyncio.run(client.info())


def test_wrong_pin_is_refused_and_the_next_attempt_must_wait(signer: Signer) -> None:
    async def work(client: SignerClient) -> None:
        await client.initialise(PIN)
        with pytest.raises(ConfigurationError) as caught:
            await client.login("wrong")
        assert caught.value.code is FaultCode.PIN_INCORRECT
        with pytest.raises(ConfigurationError) as caught:
            await client.login(PIN)
        assert caught.value.code is FaultCode.LOGIN_FAILED
        assert (await client.info()).status is TokenStatus.USER_PIN_INCORRECT

    signer.ask(work)


def test_neither_pin_nor_keys_reach_logs_errors_or_metadata(signer: Signer) -> None:
    secrets: list[bytes] = [PIN.encode()]
    errors: list[str] = []

    async def attempt(work: Awaitable[object]) -> None:
        try:
            await work
        except (ConfigurationError, MalformedInput, UnavailablePeer) as error:
            errors.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")

    async def work(client: SignerClient) -> None:
        await attempt(client.login(PIN))
        await ready(client)
        await attempt(client.initialise(PIN))
        await attempt(client.initialise(PIN * 60))
        await attempt(client.change_pin("wrong", PIN, enforce_policy=True))
        await attempt(client.change_pin(PIN, "x", enforce_policy=True))
        key = await client.generate_key(
            "auth", algorithm=KeyAlgorithm.EC_P256, usage=KeyUsage.AUTHENTICATION
        )
        await attempt(client.sign(key.id, DigestAlgorithm.SHA1, bytes(20)))
        await attempt(client.delete_key("00112233"))
        await attempt(client.import_certificate(b"junk", member=None))
        from datetime import UTC, datetime

        lab = TrustLab.create(at=datetime.now(UTC))  # noqa: TID251 - a real process has real time
        request = RequestArgument(
            key_id=key.id, usage=KeyUsage.AUTHENTICATION, subject=(("CN", "x"),)
        )
        made = await client.make_request(request)
        certificate = lab.sign_request(made.der, CertificateKind.AUTH)
        record = await client.import_certificate(certificate.der, member=None)
        await client.set_certificate(record.hash, active=True)
        lent = await client.lend_authentication_key()
        private = load_pem_private_key(lent.private_key_pkcs8_pem, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        scalar = private.private_numbers().private_value.to_bytes(32, "big")
        body = b"".join(lent.private_key_pkcs8_pem.splitlines()[1:-1])
        secrets.extend([scalar, scalar.hex().encode(), scalar.hex().upper().encode(), body])
        errors.append(repr(lent.certificate_der))
        await client.logout()
        await attempt(client.login(PIN + "wrong"))

    signer.ask(work)
    assert signer.stop() == 0
    texts = [signer.log, *(error.encode() for error in errors)]
    texts += [path.read_bytes() for path in (signer.home / "signer").rglob("*") if path.is_file()]
    assert len(errors) >= 8
    for text in texts:
        for secret in secrets:
            assert secret not in text
