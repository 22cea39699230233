from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.signing_keys import SigningToken, initialize_token
from postroad.centralserver.token_login import TokenLogin
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pathlib import Path

PIN = "canary-pin-1"


def test_a_token_is_opened_once_whoever_logs_in_at_the_same_time(tmp_path: Path) -> None:
    initialize_token(tmp_path, PIN)
    opened: list[SigningToken] = []

    def unlock(pin: str) -> SigningToken:
        opened.append(SigningToken(tmp_path, pin))
        return opened[-1]

    login = TokenLogin(tmp_path, unlock=unlock)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(login.login, [PIN] * 4))
    assert len(opened) == 1
    assert login.token is opened[0]
    with pytest.raises(ConfigurationError) as caught:
        login.login(PIN + "x")
    assert caught.value.code is FaultCode.PIN_INCORRECT
    assert login.token is opened[0]
    login.logout()
    login.login(PIN)
    assert len(opened) == 2
