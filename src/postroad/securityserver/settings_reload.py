"""Which settings take effect while the server runs, and which ones want a restart?"""

from __future__ import annotations

from typing import Final

import msgspec

from postroad.securityserver.settings import Settings

_CHANGEABLE: Final = ("client_proxy", "server_proxy", "services")
"""Sections that only the workers read."""
_LISTENING: Final = frozenset({"host", "port", "http_port", "https_port", "ocsp_host", "ocsp_port"})


def reloaded(running: Settings, read: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings to go on with, and the changed keys that want a restart.

    Ports stay open as they are; what other processes read, too, must not differ between them: the
    signer, the log writer and the background process go on with what they were started with.
    """
    kept: dict[str, object] = {}
    waiting: list[str] = []
    for field in msgspec.structs.fields(Settings):
        before, after = getattr(running, field.name), getattr(read, field.name)
        if before == after or field.name == "home":
            continue
        if field.name not in _CHANGEABLE:
            waiting += _changed_keys(field.name, before, after)
            continue
        listening = {
            key: getattr(before, key)
            for key in _LISTENING & set(before.__struct_fields__)
            if getattr(before, key) != getattr(after, key)
        }
        waiting += [f"{field.name}.{key}" for key in sorted(listening)]
        kept[field.name] = msgspec.structs.replace(after, **listening)
    return msgspec.structs.replace(running, **kept), tuple(waiting)


def _changed_keys(name: str, before: object, after: object) -> list[str]:
    """The changed keys of a section by their whole names; a setting of its own is its own."""
    if isinstance(before, msgspec.Struct):
        keys = before.__struct_fields__
        return [f"{name}.{key}" for key in keys if getattr(before, key) != getattr(after, key)]
    if isinstance(before, dict) and isinstance(after, dict):
        keys = tuple(sorted(before.keys() | after.keys()))
        return [f"{name}.{key}" for key in keys if before.get(key) != after.get(key)]
    return [name]
