"""How do processes write their logs: structured lines on standard error, secrets kept out.

One canonical line per exchange and a line per change of state. Keys are glossary words.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

SECRET_KEYS = frozenset(
    {"pin", "password", "private_key", "key_pem", "body", "secret", "token_pin"}
)


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in SECRET_KEYS.intersection(event):
        event[key] = "[redacted]"
    for key, value in event.items():
        if isinstance(value, (bytes, bytearray, memoryview)):
            event[key] = f"[{len(value)} bytes]"
    return event


def configure_logging(
    *, process: str, style: Literal["text", "json"] = "text", level: int = logging.INFO
) -> None:
    """Set up structured logging for one process; call it once, at its start."""
    renderer: structlog.typing.Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one component."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return bound
