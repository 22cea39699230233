"""How is a vendor's PKCS#11 library loaded, and which tokens does it show?

``python-pkcs11`` initializes a library for use by one thread; whoever holds a ``Pkcs11Library``
calls it and its tokens from one thread at a time. Sources: PKCS#11 v2.40; reference
``HardwareModuleWorker``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pkcs11

from postroad.adapters.signer_protocol import TokenStatus
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - a class in spite of its name

    from postroad.adapters.hardware_devices import DeviceSettings


class Pkcs11Library:
    """One library of ``[devices.NAME]``; loaded at the first question."""

    def __init__(self, name: str, settings: DeviceSettings) -> None:
        self.name = name
        self.settings = settings
        self.generation = 0
        """Counts the starts: a session of an earlier one is lost."""
        self._library: Library | None = None

    def tokens(self) -> dict[str, pkcs11.Token]:
        """The tokens that are present, by their id.

        Raises ``ConfigurationError`` (``hsm_non_operational``) when the library doesn't work.
        """
        try:
            slots = self._loaded().get_slots(token_present=True)
        except (pkcs11.PKCS11Error, OSError) as error:
            raise self._broken(error) from error
        found: dict[str, pkcs11.Token] = {}
        for index, slot in enumerate(slots):
            wanted = self.settings.slot_ids
            if wanted and slot.slot_id not in wanted:
                continue
            try:
                token = slot.get_token()
            except pkcs11.PKCS11Error:
                continue  # taken out between the two questions
            if pkcs11.TokenFlag.TOKEN_INITIALIZED not in token.flags:
                continue
            found.setdefault(self.token_id(index, token), token)
        return found

    def token_id(self, slot_index: int, token: pkcs11.Token) -> str:
        """The id of a token by the section's format."""
        return self.settings.token_id(
            self.name,
            slot_index=slot_index,
            serial_number=token.serial.decode("utf-8", "replace").strip(" \0"),
            label=token.label.strip(" \0"),
        )

    def find(self, token_id: str) -> pkcs11.Token:
        """One token; ``token_not_available`` while it isn't there, even after a new start."""
        token = self.tokens().get(token_id)
        if token is None:
            self.restart()
            token = self.tokens().get(token_id)
        if token is None:
            raise ConfigurationError(
                f"the token {token_id} is not in device {self.name}",
                code=FaultCode.TOKEN_NOT_AVAILABLE,
            )
        return token

    def restart(self) -> None:
        """Finalize and initialize the library: some notice new tokens only then.

        Every session of every token of this library ends.
        """
        if self._library is None:
            return
        self.generation += 1
        try:
            self._library.reinitialize()
        except pkcs11.PKCS11Error:
            try:
                self._library.initialize()
            except pkcs11.PKCS11Error as error:
                raise self._broken(error) from error

    def _loaded(self) -> Library:
        if self._library is None:
            self._library = pkcs11.lib(self.settings.module_path)
        return self._library

    def _broken(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"the library of device {self.name} doesn't work: {describe(error)}",
            code=FaultCode.HSM_NON_OPERATIONAL,
        )


def describe(error: Exception) -> str:
    """What a PKCS#11 error says; most have no text but their name."""
    return str(error) or type(error).__name__


def status_of(token: pkcs11.Token) -> TokenStatus | None:
    """What the token itself says of its PIN; None when all is well. Order as in the reference."""
    flags = token.flags
    for flag, status in _FLAGS:
        if flag in flags:
            return status
    if pkcs11.TokenFlag.USER_PIN_INITIALIZED not in flags:
        return TokenStatus.NOT_INITIALIZED
    return None


_FLAGS: Final = (
    (pkcs11.TokenFlag.USER_PIN_LOCKED, TokenStatus.USER_PIN_LOCKED),
    (pkcs11.TokenFlag.USER_PIN_FINAL_TRY, TokenStatus.USER_PIN_FINAL_TRY),
    (pkcs11.TokenFlag.USER_PIN_COUNT_LOW, TokenStatus.USER_PIN_COUNT_LOW),
    (pkcs11.TokenFlag.USER_PIN_TO_BE_CHANGED, TokenStatus.USER_PIN_EXPIRED),
)
