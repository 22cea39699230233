"""From where does each setting come, and what is wrong with the one that can't be used?

Layers, the later one wins: built-in defaults, the profile's, ``server.toml``, the environment
(``POSTROAD_SECTION__KEY``). What is wrong is told with the key, the value, and what to write.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from postroad.errors import ConfigurationError
from postroad.securityserver.settings_profiles import PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFIX: Final = "POSTROAD_"
_SEPARATOR: Final = "__"
_MAX_SHOWN: Final = 60

Sections = dict[str, Any]
"""Settings as TOML gives them: sections of keys, and keys of their own."""

_T = TypeVar("_T")


def layers_of(
    text: str, model: type[msgspec.Struct], *, source: str, environ: Mapping[str, str]
) -> list[tuple[str, Sections]]:
    """The layers that settings are made of, by name, the weakest first."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is not TOML: {error}") from error
    if "home" in data:
        raise ConfigurationError(f"{source}: `home` is where the file lies; remove the key")
    surroundings = read_environment(environ, model)
    name = surroundings.get("profile", data.get("profile", ""))
    profile = PROFILES.get(name, {}) if isinstance(name, str) else {}
    return [(f"profile {name}", dict(profile)), (source, data), ("environment", surroundings)]


def read_environment(environ: Mapping[str, str], model: type[msgspec.Struct]) -> Sections:
    """The settings in environment variables; others that begin alike are no settings of ours.

    Raises ``ConfigurationError`` for a section or key that doesn't exist, or a value of the wrong
    kind.
    """
    found: Sections = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX):
            continue
        path = name.removeprefix(PREFIX).lower().split(_SEPARATOR)
        if len(path) < 2 and path[0] != "profile":
            continue  # POSTROAD_SERVER_HOME and the like
        place, kind = found, typing.cast("Any", model)
        for at, step in enumerate(path):
            kind = _kind_of(kind, step, name)
            if at < len(path) - 1:
                place = place.setdefault(step, {})
        place[path[-1]] = _value(text, kind, name)
    return found


def _kind_of(kind: Any, step: str, name: str) -> Any:
    """The type of what a step leads to: a field of a section, or an entry of a table."""
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        types = typing.get_type_hints(kind, include_extras=True)
        known = settable(kind)
        if step in known:
            return types[known[step]]
        raise ConfigurationError(
            f"{name} in the environment: there is no {step!r}{suggestion(step, known)}"
        )
    raise ConfigurationError(f"{name} in the environment: {step!r} is part of no section")


def settable(model: type[msgspec.Struct]) -> dict[str, str]:
    """The keys of a section that may be written, and the attributes that hold them.

    The home directory is not among them: it is where the file lies.
    """
    fields = msgspec.structs.fields(model)
    return {field.encode_name: field.name for field in fields if field.name != "home"}


def _value(text: str, kind: Any, name: str) -> object:
    """A value from its text; lists and tables are written as in TOML."""
    raw: object = text
    if text.startswith(("[", "{")):
        try:
            raw = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{name} in the environment is not TOML: {error}") from error
    try:
        return msgspec.to_builtins(msgspec.convert(raw, kind, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{name}={_shown(text)} in the environment: {_lowered(error)}"
        ) from error


def merged(layers: Iterable[Mapping[str, object]]) -> Sections:
    """All layers as one; of a key the last one counts."""
    result: Sections = {}
    for layer in layers:
        for key, value in layer.items():
            before = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged([before if isinstance(before, Mapping) else {}, value])
            else:
                result[key] = value
    return result


def origin_of(path: Sequence[str], layers: Sequence[tuple[str, Mapping[str, object]]]) -> str:
    """The name of the layer that a setting comes from; ``default`` when none has it."""
    for name, layer in reversed(layers):
        value: object = layer
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            return name
    return "default"


def checked(data: Sections, model: type[_T], source: str) -> _T:
    """Settings as their type, or a ``ConfigurationError`` that says what to write."""
    assert issubclass(model, msgspec.Struct)  # noqa: S101 - for the type checker
    _check_names(data, model, source)
    try:
        return typing.cast("_T", msgspec.convert(data, model))
    except msgspec.ValidationError as error:
        raise ConfigurationError(_complaint(error, data, model, source)) from error


def _check_names(data: Mapping[str, object], model: type[msgspec.Struct], source: str) -> None:
    sections = settable(model)
    types = typing.get_type_hints(model)
    for name, value in data.items():
        if name == "home":
            continue
        if name not in sections:
            raise ConfigurationError(
                f"{source}: there is no section or key {name!r}{suggestion(name, sections)}"
            )
        kind = types[name]
        if not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
            continue
        known = settable(kind)
        for key in value if isinstance(value, Mapping) else ():
            if key not in known:
                elsewhere = [other for other in sections if key in _keys_of(types[other])]
                hint = _belongs(key, elsewhere) or suggestion(key, known)
                raise ConfigurationError(f"{source}: there is no key {key!r} in [{name}]{hint}")


def _keys_of(kind: object) -> list[str]:
    is_section = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return list(settable(typing.cast("type[msgspec.Struct]", kind))) if is_section else []


def _belongs(key: str, sections: Sequence[str]) -> str:
    return f"; {key!r} belongs into [{sections[0]}]" if sections else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """A guess at what was meant; empty when nothing is like it.

    >>> suggestion("htp_port", ["http_port", "https_port"])
    "; did you mean 'http_port'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _complaint(
    error: msgspec.ValidationError,
    data: Sections,
    model: type[msgspec.Struct],
    source: str,
) -> str:
    """What msgspec says, as somebody would who has the file open."""
    what, _, where = str(error).partition(" - at `$.")
    steps = [step for step in where.rstrip("`").split(".") if step]
    if not steps:
        return f"{source}: {_lowered(error)}"
    place = f"[{'.'.join(steps[:-1])}] {steps[-1]}" if len(steps) > 1 else steps[0]
    value: object = data
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    given = "" if value is None else f" = {_shown(value)}"
    known = _allowed(model, steps)
    allowed = f"; write one of {', '.join(map(repr, known))}" if known else ""
    guess = suggestion(str(value), known) if known and value is not None else ""
    return f"{source}: {place}{given}: {what[:1].lower()}{what[1:]}{allowed}{guess}"


def _allowed(model: type[msgspec.Struct], steps: Sequence[str]) -> list[str]:
    """The words of a setting that takes only certain ones."""
    kind: Any = model
    for step in steps:
        hints = typing.get_type_hints(kind) if hasattr(kind, "__struct_fields__") else {}
        kind = hints.get(step)
    if typing.get_origin(kind) is typing.Literal:
        return [str(value) for value in typing.get_args(kind)]
    members = getattr(kind, "__members__", {})
    return [str(member.value) for member in members.values()]


def _lowered(error: msgspec.ValidationError) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
