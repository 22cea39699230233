"""What the signer's service refuses, and how long a wrong PIN must wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from postroad.adapters.signer_protocol import PinArgument
from postroad.clock import FixedClock
from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.signer.keyring import Keyring
from postroad.signer.service import LONGEST_PIN_DELAY, PinDelay, SignerService

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PIN = "canary-pin-4711"


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pin(text: str) -> bytes:
    return msgspec.msgpack.encode(PinArgument(pin=text))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_delay_doubles_up_to_a_minute_and_ends_with_the_right_pin() -> None:
    time = Time()
    delay = PinDelay(time)
    delay.check()
    for wait in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_PIN_DELAY, LONGEST_PIN_DELAY]:
        delay.failed()
        time.now += wait - 0.1
        with pytest.raises(ConfigurationError) as caught:
            delay.check()
        assert caught.value.code is FaultCode.LOGIN_FAILED
        time.now += 0.1
        delay.check()
    delay.failed()
    delay.succeeded()
    delay.check()


def test_wrong_pin_is_told_and_the_next_one_must_wait_even_if_right(tmp_path: Path) -> None:
    async def work() -> None:
        time = Time()
        keyring = Keyring(tmp_path / "signer", tmp_path, scrypt_n=16)
        keyring.initialise(PIN)
        service = SignerService(keyring, FixedClock(NOW), time)
        with pytest.raises(ConfigurationError) as caught:
            await service.handle("login", pin("wrong"))
        assert caught.value.code is FaultCode.PIN_INCORRECT
        with pytest.raises(ConfigurationError) as caught:
            await service.handle("login", pin(PIN))
        assert caught.value.code is FaultCode.LOGIN_FAILED
        time.now += 1.1
        await service.handle("login", pin(PIN))
        assert keyring.is_active
        service.close()
        assert not keyring.is_active

    run(work())


def test_policy_is_enforced_when_asked(tmp_path: Path) -> None:
    async def work() -> None:
        keyring = Keyring(tmp_path / "signer", tmp_path, scrypt_n=16)
        service = SignerService(keyring, FixedClock(NOW))
        argument = msgspec.msgpack.encode(PinArgument(pin="1234", enforce_policy=True))
        with pytest.raises(ConfigurationError):
            await service.handle("initialise", argument)
        assert [keyring.is_initialised] == [False]
        await service.handle("initialise", pin("1234"))
        assert [keyring.is_initialised] == [True]
        service.close()

    run(work())


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("export_key", b"\xc0"),
        ("sign", b"\xc0"),
        ("sign", b""),
        ("sign", msgspec.msgpack.encode(["k", "SHA-256", b"x" * 65])),
        ("login", msgspec.msgpack.encode({"pin": 7})),
        ("login", msgspec.msgpack.encode({"pin": PIN * 100})),
        ("generate_key", msgspec.msgpack.encode({"label": "k", "algorithm": "RSA-512"})),
    ],
)
def test_unreadable_call_is_refused_without_repeating_it(
    tmp_path: Path, method: str, argument: bytes
) -> None:
    async def work() -> None:
        service = SignerService(
            Keyring(tmp_path / "signer", tmp_path, scrypt_n=16), FixedClock(NOW)
        )
        with pytest.raises(MalformedInput) as caught:
            await service.handle(method, argument)
        assert caught.value.code is FaultCode.INVALID_REQUEST
        assert PIN not in str(caught.value)
        service.close()

    run(work())
