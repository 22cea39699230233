"""Which token does a call concern, and who answers it?

The software token answers in this process, hardware tokens in the process of their device. A call
names its token (``TOKEN-ID/method``), or a key, a certificate or its hash that leads to one. What a
device told last is remembered, so that its keys stay known while its process is away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.signer_protocol import (
    SOFTWARE_ID,
    ImportArgument,
    SignArgument,
    TokenInfo,
    TokenRecord,
    TokenStatus,
)
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.signer.service import decode_argument
from postroad.signer.tokens import public_key_der

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.adapters.ipc import IpcClient
    from postroad.signer.service import SignerService

DEVICE_INFO_DEADLINE: Final = 2.0
"""Seconds; telling its state is work for a device's loop, which never waits for the library."""
SIGN_DEADLINE: Final = 10.0
CHANGE_DEADLINE: Final = 60.0
_BY_KEY: Final = frozenset({"delete_key", "make_request", "remake_request", "delete_request"})
_BY_HASH: Final = frozenset({"set_certificate", "set_renewal", "delete_certificate"})


class _NamesKey(msgspec.Struct, frozen=True):
    key_id: str = ""


class _NamesCertificate(msgspec.Struct, frozen=True):
    hash: str = ""


class TokenRouter:
    """Answers for the software token, and passes on what is for the others."""

    def __init__(self, software: SignerService, devices: Mapping[str, IpcClient]) -> None:
        self._software = software
        self._devices = devices
        self._told: dict[str, list[TokenInfo]] = {}

    async def handle(self, method: str, argument: bytes) -> object:
        """Answer one call; raises ``PostroadError`` for the caller to see."""
        if method == "tokens":
            return await self.tokens()
        token_id, slash, name = method.rpartition("/")
        if not slash:
            token_id = await self._token_concerned(method, argument) if self._devices else ""
        if token_id in {"", SOFTWARE_ID}:
            return await self._software.handle(name, argument)
        device = await self._device_of(token_id)
        deadline = SIGN_DEADLINE if name == "sign" else CHANGE_DEADLINE
        # Raw goes in and out as it is: a signature needs no second look on its way.
        answer = await self._devices[device].call(
            f"{token_id}/{name}", msgspec.Raw(argument), msgspec.Raw, deadline=deadline
        )
        if name != "sign":
            await self._ask(device)  # what has changed must be known if the device goes away now
        return answer

    async def tokens(self) -> list[TokenInfo]:
        """Every token with its state, the software token first."""
        told = await asyncio.gather(*(self._ask(name) for name in self._devices))
        return [
            self._software.keyring.info(),
            *(info for infos in told for info in infos),
        ]

    async def _ask(self, device: str) -> list[TokenInfo]:
        try:
            infos = await self._devices[device].call(
                "tokens", None, list[TokenInfo], deadline=DEVICE_INFO_DEADLINE
            )
        except PostroadError as error:
            return [_away(info, error.message) for info in self._known(device)]
        self._told[device] = infos
        return infos

    def _known(self, device: str) -> list[TokenInfo]:
        name = f"({device})"
        never_seen = TokenInfo(
            token=TokenRecord(id=name, friendly_name=name),
            active=False,
            status=TokenStatus.NOT_INITIALIZED,
            kind=device,
        )
        return self._told.get(device) or [never_seen]

    async def _device_of(self, token_id: str) -> str:
        for attempt in (1, 2):
            for device, infos in self._told.items():
                if any(info.token.id == token_id for info in infos):
                    return device
            if attempt == 1:
                await self.tokens()
        raise ConfigurationError(f"there is no token {token_id}", code=FaultCode.TOKEN_NOT_FOUND)

    async def _token_concerned(self, method: str, argument: bytes) -> str:
        """The id of the token that a call without a token's name is about."""
        if method == "sign":
            return await self._token_of_key(decode_argument(argument, SignArgument).key_id)
        if method in _BY_KEY or method == "rename":
            key_id = decode_argument(argument, _NamesKey).key_id
            return await self._token_of_key(key_id) if key_id else SOFTWARE_ID
        if method in _BY_HASH:
            return await self._token_of_hash(decode_argument(argument, _NamesCertificate).hash)
        if method == "import_certificate":
            return await self._token_of_certificate(decode_argument(argument, ImportArgument).der)
        return SOFTWARE_ID

    async def _token_of_key(self, key_id: str) -> str:
        if any(key.id == key_id for key in self._software.keyring.record.keys):
            return SOFTWARE_ID
        for attempt in (1, 2):
            holders = [
                info
                for infos in self._told.values()
                for info in infos
                if any(key.id == key_id for key in info.token.keys)
            ]
            if holders:
                usable = [info for info in holders if key_id in info.available_keys]
                return (usable or holders)[0].token.id
            if attempt == 1:
                await self.tokens()
        return SOFTWARE_ID  # which says that there is no such key

    async def _token_of_hash(self, certificate_hash: str) -> str:
        for info in await self.tokens():
            for key in info.token.keys:
                if any(kept.hash == certificate_hash.upper() for kept in key.certificates):
                    return info.token.id
        return SOFTWARE_ID

    async def _token_of_certificate(self, der: bytes) -> str:
        try:
            wanted = public_key_der(Certificate.from_pem_or_der(der).public_key)
        except PostroadError:
            return SOFTWARE_ID  # which says what is wrong with it
        for info in await self.tokens():
            if any(key.public_key == wanted for key in info.token.keys):
                return info.token.id
        return SOFTWARE_ID


def _away(info: TokenInfo, problem: str) -> TokenInfo:
    return msgspec.structs.replace(
        info, active=False, available=False, available_keys=frozenset(), problem=problem
    )
