"""Is the token of the signing keys open, and who opens and closes it while the server runs?

Source: reference ``TokensServiceImpl``: without a login nothing is signed, so nothing is published.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from postroad.adapters.tokens import SoftwareToken
from postroad.centralserver.signing_keys import SigningToken
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN_ID = "0"  # noqa: S105 - the reference's id of the software token
TOKEN_NAME = "softToken-0"  # noqa: S105 - its friendly name there


class TokenLogin:
    """The node's token, open or closed; threads may share it."""

    def __init__(
        self,
        directory: Path,
        opened: SigningToken | None = None,
        *,
        unlock: Callable[[str], SigningToken] | None = None,
    ) -> None:
        """``unlock`` opens it with its PIN, and a hardware token with it; see the opened node."""
        self._directory = directory
        self._unlock = unlock or (lambda pin: SigningToken(directory, pin))
        self._opened = opened
        self._lock = threading.Lock()

    @property
    def is_initialized(self) -> bool:
        """Whether the token has a PIN."""
        return SoftwareToken(self._directory).is_initialised

    @property
    def is_active(self) -> bool:
        """Whether somebody has logged in."""
        return self._opened is not None

    @property
    def token(self) -> SigningToken:
        """The opened token; ``ConfigurationError`` (``token_not_active``) while it's closed."""
        opened = self._opened
        if opened is None:
            raise ConfigurationError(
                "nobody has logged in to the token of the signing keys",
                code=FaultCode.TOKEN_NOT_ACTIVE,
            )
        return opened

    def login(self, pin: str) -> None:
        """Open the token; one attempt at a time, each takes a third of a second.

        An open one stays as it is, if the PIN is right: a hardware token isn't logged in to twice.
        Raises ``ConfigurationError``: ``token_not_initialized``, or ``pin_incorrect``.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._unlock(pin)
            else:
                SoftwareToken(self._directory).unlock(pin)

    def logout(self) -> None:
        """Close the token: nothing is signed until somebody logs in again."""
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()
