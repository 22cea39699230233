"""How does a command's line get into a server's audit log?

It is written when the command is over and before its exit code tells how it went; a server whose
audit log can't be written is not changed.
"""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError, PostroadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroad.adapters.audit_log import AuditLog, AuditValue

_AUTH: Final = "Cli"


@contextmanager
def told_in(log: AuditLog, home: Path, event: str, data: dict[str, AuditValue]) -> Iterator[None]:
    """Around a command that changes the server in ``home``; it may add to ``data``."""
    if home.is_dir():
        log.ensure_writable()
    reason: str | None = None
    try:
        yield
    except BaseException as error:
        reason = _reason(error)
        raise
    finally:
        # A home that isn't there, after `init` least of all, was not changed either.
        if home.is_dir():
            at = SystemClock().now()
            told = log.write(event, at=at, user=_user(), auth=_AUTH, data=data, reason=reason)
            if not told and reason is None:
                raise ConfigurationError("it is done, but the audit log can't be written")


def _reason(error: BaseException) -> str | None:
    match error:
        case SystemExit():
            return f"exit code {error.code}" if error.code else None
        case PostroadError() | click.ClickException():
            return error.message
        case _:
            return type(error).__name__


def _user() -> str:
    """The operating system's user; not what its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
