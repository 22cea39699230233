"""What does the process of one PKCS#11 library answer, and how does it follow its tokens?

It has one thread for the library and a loop that always answers. Every few seconds it looks which
tokens are present: new ones get a record, missing ones keep theirs and are told as away. A library
that hangs for two minutes ends the process; the supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from postroad.adapters.hardware_devices import directory_name
from postroad.adapters.logs import logger
from postroad.adapters.pkcs11_library import Pkcs11Library
from postroad.adapters.pkcs11_tokens import Pkcs11Token
from postroad.adapters.signer_protocol import TokenInfo, TokenRecord, TokenStatus
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.signer.keyring import Keyring
from postroad.signer.service import SignerService

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postroad.adapters.hardware_devices import DeviceSettings
    from postroad.clock import Clock
    from postroad.signer.automatic_login import AutomaticLogin

LOOK_INTERVAL: Final = 5.0
"""Seconds between two looks at the library's tokens."""
RESTART_INTERVAL: Final = 60.0
"""Seconds between two new starts of the library to find a token that is away; the others lose their
sessions by it, and open new ones."""
SLOW: Final = 10.0
"""Seconds after which a library that answers nothing is told as hanging."""
HANGS: Final = 120.0
"""Seconds after which its process gives up; making an RSA key may take a slow device a minute."""


class _Token:
    """One token of the device: its service, and whether it is present."""

    def __init__(self, service: SignerService, store: Pkcs11Token) -> None:
        self.service = service
        self.store = store
        self.present = False
        self.login_tried = False


class DeviceService:
    """The tokens of one library, each behind ``TOKEN-ID/method``."""

    def __init__(
        self,
        name: str,
        settings: DeviceSettings,
        directory: Path,
        clock: Clock,
        *,
        login: AutomaticLogin | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._login = login
        self._monotonic = monotonic
        self._library = Pkcs11Library(name, settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"pkcs11-{name}")
        self._answered_at = monotonic()
        self._restarted_at = float("-inf")
        self._looking = False
        self._problem = ""
        self._log = logger("signer")
        self._tokens: dict[str, _Token] = {}
        if directory.is_dir():
            for path in sorted(directory.iterdir()):
                if (path / "token.json").exists():
                    self._know(unquote(path.name))

    async def handle(self, method: str, argument: bytes) -> object:
        """Answer one call: ``tokens``, or one for a single token."""
        if method == "tokens":
            return self.infos()
        token_id, _, name = method.rpartition("/")
        token = self._tokens.get(token_id)
        if token is None:
            raise ConfigurationError(
                f"device {self._name} has no token {token_id}", code=FaultCode.TOKEN_NOT_FOUND
            )
        if name == "info":
            return self._info(token)
        if name == "forget":
            self._forget(token_id, token)
            return None
        return await token.service.handle(name, argument)

    def infos(self) -> list[TokenInfo]:
        """Every token of this device, present or not."""
        return [self._info(token) for token in self._tokens.values()] or [self._placeholder()]

    def close(self) -> None:
        """Log out of every token, if the library still answers."""
        for token in self._tokens.values():
            self._thread.submit(token.store.close)
        self._thread.shutdown(wait=not self._hangs(), cancel_futures=False)

    # --- telling ---------------------------------------------------------------------------------

    def _info(self, token: _Token) -> TokenInfo:
        info = token.service.keyring.info()
        problem = self._problem
        if self._hangs():
            problem = f"the library of device {self._name} doesn't answer"
        elif not problem and not token.present:
            problem = f"the token is not in device {self._name}"
        usable = token.present and not problem
        return msgspec.structs.replace(
            info,
            kind=self._name,
            available=usable,
            available_keys=info.available_keys if usable else frozenset(),
            read_only=self._settings.read_only,
            batch_signing=self._settings.batch_signing_enabled,
            problem=problem,
        )

    def _placeholder(self) -> TokenInfo:
        """What is told of a device that has never shown a token: why."""
        name = f"({self._name})"
        return TokenInfo(
            token=TokenRecord(id=name, friendly_name=name),
            active=False,
            status=TokenStatus.NOT_INITIALIZED,
            kind=self._name,
            available=False,
            problem=self._problem or f"device {self._name} holds no token",
        )

    def _hangs(self) -> bool:
        return self._looking and self._monotonic() - self._answered_at > SLOW

    # --- following -------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Look at the library until cancelled; returns when it hangs for good."""
        while True:
            look = asyncio.ensure_future(self.look())
            done, _ = await asyncio.wait({look}, timeout=HANGS)
            if not done:
                self._log.error("the library hangs: its process ends", device=self._name)
                raise ConfigurationError(
                    f"the library of device {self._name} hangs",
                    code=FaultCode.HSM_NON_OPERATIONAL,
                )
            look.result()
            await asyncio.sleep(LOOK_INTERVAL)

    async def look(self) -> None:
        """Look once which tokens are present, and log in to those whose PIN is known."""
        self._looking, self._answered_at = True, self._monotonic()
        try:
            loop = asyncio.get_running_loop()
            present = await loop.run_in_executor(self._thread, self._look_at_library)
            self._say("")
        except PostroadError as error:
            present = frozenset()
            self._say(error.message)
        finally:
            self._looking = False
        for token_id in present - self._tokens.keys():
            self._know(token_id)
        for token_id, token in self._tokens.items():
            if token.present != (token_id in present):
                token.present = not token.present
                self._log.info(
                    "token is there" if token.present else "token is away",
                    token=token_id,
                    device=self._name,
                )
        await self._log_in()

    def _look_at_library(self) -> frozenset[str]:
        present = self._library.tokens()
        some_away = bool(self._tokens.keys() - present.keys())
        is_due = self._monotonic() - self._restarted_at >= RESTART_INTERVAL
        if not present or (some_away and is_due):
            self._restarted_at = self._monotonic()
            self._library.restart()  # some libraries notice a returned token only then
            present = self._library.tokens()
        for token_id, token in self._tokens.items():
            token.store.look(present.get(token_id))
        return frozenset(present)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            if problem:
                self._log.error("device doesn't work", device=self._name, why=problem)
            else:
                self._log.info("device works", device=self._name)

    def _know(self, token_id: str) -> None:
        store = Pkcs11Token(self._library, token_id)
        directory = self._directory / directory_name(token_id)
        keyring = Keyring(
            directory,
            self._directory,  # nothing is lent from here, so OCSP responses don't matter
            store=store,
            new=TokenRecord(id=token_id, friendly_name=token_id),
            rsa_pss=self._settings.rsa_sign_mechanism == "CKM_RSA_PKCS_PSS",
        )
        service = SignerService(keyring, self._clock, executor=self._thread)
        self._tokens[token_id] = _Token(service, store)

    def _forget(self, token_id: str, token: _Token) -> None:
        """Drop the record of a token that is away for good."""
        if token.present:
            raise ConfigurationError(
                "the token is there; only the record of one that is away can be forgotten",
                code=FaultCode.TOKEN_NOT_AVAILABLE,
            )
        directory = self._directory / directory_name(token_id)
        (directory / "token.json").unlink(missing_ok=True)
        if directory.is_dir():
            directory.rmdir()
        del self._tokens[token_id]
        self._log.info("token forgotten", token=token_id, device=self._name)

    async def _log_in(self) -> None:
        """Log in once to each present token whose PIN is known, unless its tries run low."""
        due = [token for token in self._tokens.values() if token.present and not token.login_tried]
        if self._login is None or not due:
            return
        try:
            pins = await asyncio.to_thread(self._login.pins)
        except PostroadError as error:
            self._log.warning("no automatic login", device=self._name, why=error.message)
            pins = {}
        for token in due:
            token.login_tried = True
            pin = pins.get(token.service.token_id)
            if pin is None or token.store.status is not TokenStatus.OK:
                continue
            try:
                await token.service.login(pin)
            except PostroadError as error:
                self._log.warning(
                    "automatic login failed",
                    token=token.service.token_id,
                    reason=error.code.value,
                )
