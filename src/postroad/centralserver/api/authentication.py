"""Who asks, and how have they proved it?

An API key in the ``Authorization`` header, a session that a login has opened, or, where API keys
themselves are managed, user name and password with the request. Source: reference
``ApiWebSecurityConfig``, ``ManageApiKeysWebSecurityConfig``, ``FormLoginWebSecurityConfig``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.login_guard import LoginGuard
from postroad.centralserver.api.operations import Caller
from postroad.centralserver.api.refusals import FORBIDDEN, UNAUTHENTICATED, ApiRefusal
from postroad.centralserver.passwords import verify_password
from postroad.centralserver.registry.administrators import (
    find_administrator,
    find_api_key,
    roles_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.centralserver.api.operations import Operation
    from postroad.centralserver.api.sessions import Session, Sessions
    from postroad.centralserver.node import CentralServerNode

SESSION_COOKIE: Final = "JSESSIONID"
XSRF_COOKIE: Final = "XSRF-TOKEN"
XSRF_HEADER: Final = "x-xsrf-token"
_API_KEY = re.compile(r"X-Road-ApiKey token=([!-~]{1,255})", re.IGNORECASE)
_BASIC = re.compile(r"Basic +([A-Za-z0-9+/=]{1,2048})", re.IGNORECASE)
_POLLED: Final = "/notifications/"
TOO_MANY_ATTEMPTS: Final = ApiRefusal(429, "too_many_login_attempts")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request shows of its sender."""

    address: str
    authorization: str | None
    cookies: Mapping[str, str]
    xsrf_header: str | None


class Authenticator:
    """Judges proofs against the registry of administrators and API keys, as they are now."""

    def __init__(self, node: CentralServerNode, sessions: Sessions) -> None:
        self._node = node
        self._sessions = sessions
        self._guard = LoginGuard()
        networks = node.settings.management_api.key_management_from
        self._key_management_from = [ipaddress.ip_network(network) for network in networks]

    def identify(self, proof: Proof, operation: Operation) -> tuple[Caller, bool]:
        """Who asks for an operation, and whether by a session; refused when nobody knows.

        A header with credentials is all that counts when there is one: a session beside it neither
        helps nor hinders.
        """
        if proof.authorization is not None:
            return self._by_header(proof, operation), False
        return self._by_session(proof, keep_alive=not operation.path.startswith(_POLLED)), True

    def login(self, username: str, password: str, address: str) -> tuple[str, Session]:
        """Open a session for somebody who knows the password; refused otherwise."""
        password_hash = self._check_password(username, password, address)
        return self._sessions.open(username, password_hash, self._node.clock.now())

    def logout(self, proof: Proof) -> str:
        """End the session that is shown; whose it was."""
        caller = self._by_session(proof, keep_alive=False)
        self._sessions.close(proof.cookies[SESSION_COOKIE])
        return caller.name

    def _by_header(self, proof: Proof, operation: Operation) -> Caller:
        header = proof.authorization or ""
        if operation.keys_only_by_password:
            return self._by_password(header, proof.address)
        shown = _API_KEY.fullmatch(header.strip())
        if shown is None:
            raise UNAUTHENTICATED
        with self._node.reading() as session:
            key = find_api_key(session, shown[1])
            if key is None:
                raise UNAUTHENTICATED
            return Caller(f"api-key-{key.id}", roles_of(key), "ApiKey")

    def _by_password(self, header: str, address: str) -> Caller:
        shown = _BASIC.fullmatch(header.strip())
        if shown is None or not self._may_manage_keys(address):
            raise UNAUTHENTICATED
        try:
            text = base64.b64decode(shown[1], validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise UNAUTHENTICATED from None
        username, _colon, password = text.partition(":")
        self._check_password(username, password, address)
        return self._administrator(username, "HttpBasicPam")

    def _may_manage_keys(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._key_management_from)

    def _by_session(self, proof: Proof, *, keep_alive: bool) -> Caller:
        session_id = proof.cookies.get(SESSION_COOKIE)
        if not session_id:
            raise UNAUTHENTICATED
        session = self._sessions.find(session_id, self._node.clock.now(), keep_alive=keep_alive)
        if session is None:
            raise UNAUTHENTICATED
        # Reading needs the token too: the reference asks for it as soon as there is a session.
        for shown in (proof.xsrf_header, proof.cookies.get(XSRF_COOKIE)):
            if shown is None or not hmac.compare_digest(
                shown.encode("utf-8", "replace"), session.xsrf_token.encode()
            ):
                raise FORBIDDEN
        return self._administrator(session.username, "Session", session.password_hash)

    def _administrator(self, username: str, scheme: str, known_hash: str | None = None) -> Caller:
        with self._node.reading() as session:
            found = find_administrator(session, username)
            if found is None or known_hash not in {None, found.password_hash}:
                raise UNAUTHENTICATED
            return Caller(username, roles_of(found), scheme)

    def _check_password(self, username: str, password: str, address: str) -> str:
        if not self._guard.admit(address, username, time.monotonic()):
            raise TOO_MANY_ATTEMPTS
        known: str | None = None
        if "\0" not in username:
            with self._node.reading() as session:
                found = find_administrator(session, username)
                known = None if found is None else found.password_hash
        if not verify_password(password, known) or known is None:
            raise UNAUTHENTICATED
        self._guard.succeeded(address, username)
        return known
