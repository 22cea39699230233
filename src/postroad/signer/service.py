"""What does the signer answer for one token?

One method per operation (`adapters.signer_protocol` has the arguments); only our own processes can
connect. Key operations run in a small thread pool, so that a slow RSA signature or the stretching
of a PIN never holds the loop; changes are made one at a time and are durable when answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from postroad.adapters.logs import logger
from postroad.adapters.signer_protocol import (
    CertificateArgument,
    CertificateRecord,
    ChangePinArgument,
    GenerateArgument,
    ImportArgument,
    KeyItemArgument,
    KeyRecord,
    LentKeyReply,
    MadeRequest,
    PinArgument,
    RenameArgument,
    RenewalArgument,
    RequestArgument,
    SignArgument,
    TokenInfo,
)
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, PostroadError
from postroad.signer.tokens import check_pin_policy

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from postroad.clock import Clock
    from postroad.signer.keyring import Keyring

T = TypeVar("T")
Handler = Callable[[bytes], Awaitable[object]]

THREADS: Final = 2
MAX_WAITING: Final = 512
"""Calls that may wait for the threads; more would only be answered after their callers gave up."""
LONGEST_PIN_DELAY: Final = 60.0
"""Seconds until the next attempt, however many wrong PINs came before."""


class PinDelay:
    """How long the next PIN must wait: 1 s after the first wrong one, then doubling to a minute."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._not_before = 0.0

    def check(self) -> None:
        """Raise `ConfigurationError` (`login_failed`) while attempts are not taken."""
        wait = self._not_before - self._monotonic()
        if self._failures and wait > 0:
            raise ConfigurationError(
                f"after a wrong PIN the next attempt is taken in {wait:.0f} s",
                code=FaultCode.LOGIN_FAILED,
            )

    def failed(self) -> None:
        """Count a wrong PIN."""
        self._failures = min(self._failures + 1, 30)
        delay = min(LONGEST_PIN_DELAY, 2.0 ** (self._failures - 1))
        self._not_before = self._monotonic() + delay

    def succeeded(self) -> None:
        """Forget earlier failures."""
        self._failures = 0


class SignerService:
    """Answers the calls of one token.

    A hardware token's library brings its own `executor`, of one thread. With `enforce_policy` every
    new PIN must fit the PIN policy, whoever sets it.
    """

    def __init__(
        self,
        keyring: Keyring,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        executor: Executor | None = None,
        enforce_policy: bool = False,
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        self._enforce_policy = enforce_policy
        self._delay = PinDelay(monotonic)
        self._changing = asyncio.Lock()
        self._waiting = 0
        self._own_threads = (
            ThreadPoolExecutor(THREADS, thread_name_prefix="key") if executor is None else None
        )
        self._threads = executor or self._own_threads
        self._log = logger("signer")
        self._handlers: dict[str, Handler] = {
            "sign": self._sign,
            "info": self._info,
            "initialise": self._initialise,
            "login": self._login,
            "logout": self._logout,
            "change_pin": self._change_pin,
            "generate_key": self._generate_key,
            "delete_key": self._delete_key,
            "rename": self._rename,
            "make_request": self._make_request,
            "remake_request": self._remake_request,
            "delete_request": self._delete_request,
            "import_certificate": self._import_certificate,
            "set_certificate": self._set_certificate,
            "set_renewal": self._set_renewal,
            "delete_certificate": self._delete_certificate,
            "lend_authentication_key": self._lend_authentication_key,
            "certificates_on_token": self._certificates_on_token,
        }

    @property
    def token_id(self) -> str:
        """The id of its token."""
        return self._keyring.record.id

    @property
    def keyring(self) -> Keyring:
        """What it answers from."""
        return self._keyring

    async def handle(self, method: str, argument: bytes) -> object:
        """Answer one call; raises `PostroadError` for the caller to see."""
        handler = self._handlers.get(method)
        if handler is None:
            raise MalformedInput("the signer has no such method", code=FaultCode.INVALID_REQUEST)
        return await handler(argument)

    def close(self) -> None:
        """Let running key operations finish, then forget the keys."""
        if self._own_threads is not None:
            self._own_threads.shutdown(wait=True)
            self._keyring.logout()

    # --- the one hot path ------------------------------------------------------------------------

    async def _sign(self, argument: bytes) -> bytes:
        call = decode_argument(argument, SignArgument)
        if self._keyring.signs_fast(call.key_id):
            return self._keyring.sign(call.key_id, call.digest_algorithm, call.digest)
        return await self._in_thread(
            lambda: self._keyring.sign(call.key_id, call.digest_algorithm, call.digest)
        )

    # --- PIN -------------------------------------------------------------------------------------

    async def _info(self, _argument: bytes) -> TokenInfo:
        return self._keyring.info()

    async def _initialise(self, argument: bytes) -> None:
        call = decode_argument(argument, PinArgument)
        if call.enforce_policy or self._enforce_policy:
            check_pin_policy(call.pin)
        await self._change(lambda: self._keyring.initialise(call.pin))
        self._log.info("token initialised", token=self.token_id)

    async def _login(self, argument: bytes) -> None:
        await self.login(decode_argument(argument, PinArgument).pin)

    async def login(self, pin: str) -> None:
        """Log the token in; also called once at start when the operator gave a PIN file."""
        await self._with_pin(lambda: self._keyring.login(pin))
        info = self._keyring.info()
        self._log.info("token logged in", token=info.token.id, keys=len(info.available_keys))

    async def _logout(self, _argument: bytes) -> None:
        await self._change(self._keyring.logout)
        self._log.info("token logged out", token=self.token_id)

    async def _change_pin(self, argument: bytes) -> None:
        call = decode_argument(argument, ChangePinArgument)
        if call.enforce_policy or self._enforce_policy:
            check_pin_policy(call.new)
        await self._with_pin(lambda: self._keyring.change_pin(call.old, call.new))
        self._log.info("token PIN changed", token=self.token_id)

    async def _with_pin(self, operation: Callable[[], None]) -> None:
        async with self._changing:
            self._delay.check()
            try:
                await self._in_thread(operation)
            except PostroadError as error:
                if error.code is FaultCode.PIN_INCORRECT:
                    self._delay.failed()
                    self._log.warning("wrong token PIN", token=self.token_id)
                raise
            self._delay.succeeded()

    # --- keys and certificates -------------------------------------------------------------------

    async def _generate_key(self, argument: bytes) -> KeyRecord:
        call = decode_argument(argument, GenerateArgument)
        key = await self._change(
            lambda: self._keyring.generate(call.label, call.algorithm, call.usage)
        )
        self._log.info("key generated", key_id=key.id, algorithm=key.algorithm)
        return key

    async def _delete_key(self, argument: bytes) -> None:
        call = decode_argument(argument, KeyItemArgument)
        await self._change(lambda: self._keyring.delete_key(call.key_id))
        self._log.info("key deleted", key_id=call.key_id)

    async def _rename(self, argument: bytes) -> None:
        call = decode_argument(argument, RenameArgument)
        await self._change(lambda: self._keyring.rename(call.key_id, call.name))

    async def _make_request(self, argument: bytes) -> MadeRequest:
        call = decode_argument(argument, RequestArgument)
        made = await self._change(lambda: self._keyring.make_request(call))
        self._log.info("certificate request made", key_id=call.key_id, usage=call.usage.value)
        return made

    async def _remake_request(self, argument: bytes) -> MadeRequest:
        call = decode_argument(argument, KeyItemArgument)
        return await self._in_thread(lambda: self._keyring.remake_request(call.key_id, call.item))

    async def _delete_request(self, argument: bytes) -> None:
        call = decode_argument(argument, KeyItemArgument)
        await self._change(lambda: self._keyring.delete_request(call.key_id, call.item))

    async def _import_certificate(self, argument: bytes) -> CertificateRecord:
        call = decode_argument(argument, ImportArgument)
        record = await self._change(
            lambda: self._keyring.import_certificate(
                call.der, member=call.member, status=call.status
            )
        )
        self._log.info("certificate imported", certificate=record.hash, member=record.member)
        return record

    async def _set_certificate(self, argument: bytes) -> None:
        call = decode_argument(argument, CertificateArgument)
        await self._change(
            lambda: self._keyring.set_certificate(call.hash, active=call.active, status=call.status)
        )
        self._log.info(
            "certificate changed",
            certificate=call.hash,
            active=call.active,
            status=None if call.status is None else call.status.value,
        )

    async def _set_renewal(self, argument: bytes) -> None:
        call = decode_argument(argument, RenewalArgument)
        await self._change(lambda: self._keyring.set_renewal(call))

    async def _delete_certificate(self, argument: bytes) -> None:
        call = decode_argument(argument, CertificateArgument)
        await self._change(lambda: self._keyring.delete_certificate(call.hash))
        self._log.info("certificate deleted", certificate=call.hash)

    async def _lend_authentication_key(self, _argument: bytes) -> LentKeyReply:
        async with self._changing:
            return self._keyring.lend_authentication_key(self._clock.now())

    async def _certificates_on_token(self, _argument: bytes) -> tuple[bytes, ...]:
        return await self._change(self._keyring.certificates_on_token)

    # --- threads ---------------------------------------------------------------------------------

    async def _in_thread(self, operation: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise ConfigurationError(
                f"{self._waiting} calls wait for the token already",
                code=FaultCode.HSM_NON_OPERATIONAL,
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, operation)
        finally:
            self._waiting -= 1

    async def _change(self, operation: Callable[[], T]) -> T:
        async with self._changing:
            return await self._in_thread(operation)


def decode_argument(argument: bytes, kind: type[T]) -> T:
    """Read a call's argument; what is wrong with it is told without repeating it."""
    try:
        return msgspec.msgpack.decode(argument, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedInput(
            f"the signer can't read the argument: {error}", code=FaultCode.INVALID_REQUEST
        ) from None
