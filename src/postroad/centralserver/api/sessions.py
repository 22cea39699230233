"""Which browser sessions are open?

In memory: a restart logs everybody out. A session has a secret id (a cookie that scripts can't
read) and a token against cross-site requests (a cookie that scripts copy into a header). Source:
reference ``CookieAndSessionCsrfTokenRepository``.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

MAX_SESSIONS: Final = 1000
"""Of more, the one that was used longest ago is closed."""
MAX_AGE: Final = timedelta(hours=12)
"""However busy a session is, it ends then."""


@dataclass(slots=True)
class Session:
    """Somebody who has logged in."""

    username: str
    password_hash: str = field(repr=False)
    """The hash they proved to know; with another password the session is over."""
    opened_at: datetime
    used_at: datetime
    xsrf_token: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))


class Sessions:
    """All open sessions, by their ids; ``idle`` seconds of silence end one."""

    def __init__(self, *, idle: float) -> None:
        self._idle = timedelta(seconds=idle)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, username: str, password_hash: str, at: datetime) -> tuple[str, Session]:
        """A new session and its id, whatever id the browser has shown before."""
        session_id = secrets.token_urlsafe(32)
        session = Session(username, password_hash, at, at)
        with self._lock:
            self._sessions[session_id] = session
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return session_id, session

    def find(self, session_id: str, at: datetime, *, keep_alive: bool) -> Session | None:
        """The session of that id, None when there is none or it's over.

        Without ``keep_alive`` the request doesn't count as use: pages poll without anybody there.
        """
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                return None
            if at - session.used_at > self._idle or at - session.opened_at > MAX_AGE:
                del self._sessions[session_id]
                return None
            if keep_alive:
                session.used_at = at
                self._sessions.move_to_end(session_id)
            return session

    def close(self, session_id: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(session_id, None)
