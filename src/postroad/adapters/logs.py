"""How do processes write their logs: structured lines on standard error, secrets kept out.

One canonical line per exchange and a line per change of state. Keys are glossary words. A log that
can't be written (a full disk behind standard error) never stops a message: the line is dropped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

_rich_is_new = "rich" not in sys.modules
if _rich_is_new:
    # structlog imports rich, if it is there, for tracebacks that we format ourselves: 2 MB and a
    # tenth of the time in which a server starts.
    sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    if _rich_is_new:
        del sys.modules["rich"]

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_KEYS = frozenset(
    {
        *("pin", "password", "private_key", "key_pem", "body", "secret"),
        *("api_key", "authorization", "cookie", "session_id"),
    }
)
"""Keys whose values never reach a log, whoever passes them."""

_BARE = re.compile(r"[!#-<>-~]+")
"""Values that need no quotes: printable ASCII without blanks, quotes and equals signs."""


class _Sink:
    """Writes one line; the text of a line is whole, whatever other processes write."""

    def __init__(self, *_names: object) -> None:
        self._stream = sys.stderr

    def msg(self, line: str) -> None:
        """Write a line."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # the disk behind it is full or it is closed: exchanges go on

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in event:
        if key in SECRET_KEYS:
            event[key] = "[redacted]"
        elif isinstance(event[key], (bytes, bytearray, memoryview)):
            event[key] = f"[{len(event[key])} bytes]"
    return event


def _plain(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Render ``time level event key=value …``; a value with blanks is quoted as in JSON."""
    head = f"{event.pop('timestamp', '')} {event.pop('level', '')} {event.pop('event', '')}"
    trace = event.pop("exception", None)
    pairs = [f"{key}={_value(value)}" for key, value in event.items()]
    line = " ".join((head, *pairs))
    return f"{line}\n{trace}" if trace else line


def _value(value: object) -> str:
    if type(value) is str and _BARE.fullmatch(value):
        return value
    if type(value) is int or type(value) is float or value is None:
        return str(value)
    text = str(value)
    if _BARE.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def configure_logging(
    *, process: str, style: Literal["text", "json"] = "text", level: int = logging.INFO
) -> None:
    """Set up structured logging for one process; call it once, at its start."""
    renderer: Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer(sort_keys=False)
    elif sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(pad_event_to=0)
    else:
        renderer = _plain
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
        logger_factory=_Sink,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    _lines.process = process
    _lines.form = None
    if style == "json":
        _lines.form = _json_line
    elif renderer is _plain:
        _lines.form = _plain_line
    _lines.is_wanted = level <= logging.INFO
    _lines.sink = _Sink()


class FrequentLog:
    """Writes the one kind of event that comes with every message, at level ``info``.

    A line is what ``logger(name).info(event, **fields)`` would write, without the chain of
    processors, which would cost ten times as much.
    """

    def __init__(self, name: str, event: str) -> None:
        self._name = name
        self._event = event
        self._slow = logger(name)

    def write(self, fields: dict[str, object]) -> None:
        """Write a line."""
        form = _lines.form
        if form is None or not SECRET_KEYS.isdisjoint(fields):
            self._slow.info(self._event, **fields)
        elif _lines.is_wanted:
            _lines.sink.msg(form(self._name, self._event, fields))


class _Lines:
    """How this process writes lines, for ``FrequentLog``."""

    process = ""
    form: Callable[[str, str, dict[str, object]], str] | None = None
    is_wanted = True
    sink: _Sink


_lines = _Lines()


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")  # noqa: TID251 - a line's own time


def _plain_line(name: str, event: str, fields: dict[str, object]) -> str:
    texts = [value if type(value) is str else str(value) for value in fields.values()]
    # Mostly nothing needs quotes, and then one look at all values together tells.
    if "" in texts or not _BARE.fullmatch("".join(texts)):
        texts = [_value(value) for value in fields.values()]
    pairs = [f"{key}={text}" for key, text in zip(fields, texts, strict=True)]
    head = f"{_now()} info {event} component={name}"
    return " ".join((head, *pairs, f"process={_value(_lines.process)}"))


def _json_line(name: str, event: str, fields: dict[str, object]) -> str:
    line = {"component": name, **fields, "event": event, "process": _lines.process}
    return json.dumps(line | {"level": "info", "timestamp": _now()}, default=repr)


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of one component."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return bound
