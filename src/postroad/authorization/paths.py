"""Which service paths have one meaning only, and which do endpoint patterns cover?

The path that is judged must be the path that the provider acts on. This server forwards the raw
path byte for byte, so it can only judge paths whose meaning cannot differ between here and any
provider behind it: a path that some server would normalise, decode a second time or cut off is
refused, never rewritten. (PR-REST 4.2; endpoint patterns: reference class PathGlob, whose check on
a normalised copy of the path this module replaces on purpose.)
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_PATH_CHARACTERS: Final = 8192
"""Longest raw service path that is judged; the HTTP servers in use stop at the same size."""

_UNDELIMITED = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")
_PLAIN = re.compile(r"(?:/[A-Za-z0-9\-_~][A-Za-z0-9\-._~]*+)*+/?")
"""Most paths: no escapes, no parameters, no segment that begins with a dot."""
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECOND_ESCAPE = re.compile(r"%[0-9A-Fa-fuU]")
# Characters that several platforms "best-fit" to a delimiter though Unicode does not (NFKC keeps
# them): fraction slash, division slash, big solidus, set minus, small full stops and the like.
_BEST_FIT_DELIMITERS: Final = frozenset("\u2044\u2215\u2216\u29f5\u29f8\u29f9\u00b7\u3002")
_DELIMITERS: Final = frozenset("./\\;%?#")


class RefusalReason(StrEnum):
    """Why a service path is refused; every reason is one way in which two servers may disagree."""

    TOO_LONG = "too_long"
    NOT_ABSOLUTE = "not_absolute"
    ILLEGAL_CHARACTER = "illegal_character"
    BACKSLASH = "backslash"
    INVALID_ESCAPE = "invalid_escape"
    DOUBLE_ENCODING = "double_encoding"
    INVALID_UTF8 = "invalid_utf8"
    ENCODED_DELIMITER = "encoded_delimiter"
    CONTROL_CHARACTER = "control_character"
    LOOKALIKE_DELIMITER = "lookalike_delimiter"
    EMPTY_SEGMENT = "empty_segment"
    DOT_SEGMENT = "dot_segment"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A service path that is not judged at all, because its meaning depends on who reads it."""

    reason: RefusalReason
    detail: str


def safe_service_path(raw: str) -> str | Refusal:
    """Decode a raw service path once, or refuse it (never rewritten).

    `raw` is what follows the service code in the request target, without the query: empty, or
    starting with a slash. The result has the same segments as `raw`, each percent-decoded once.

    >>> safe_service_path("/pets/caf%C3%A9")
    '/pets/café'
    >>> safe_service_path("/pets/%2e%2e/admin").reason
    <RefusalReason.DOT_SEGMENT: 'dot_segment'>
    """
    if len(raw) <= MAX_PATH_CHARACTERS and _PLAIN.fullmatch(raw):
        return raw
    return _refuse_raw(raw) or _decode_once(raw)


def _refuse_raw(raw: str) -> Refusal | None:
    """Refuse what is wrong before any decoding: size, alphabet and escapes."""
    if len(raw) > MAX_PATH_CHARACTERS:
        return _refused(RefusalReason.TOO_LONG, f"more than {MAX_PATH_CHARACTERS} characters")
    if raw and not raw.startswith("/"):
        return _refused(RefusalReason.NOT_ABSOLUTE, "the service path does not start with a slash")
    if "\\" in raw:
        return _refused(RefusalReason.BACKSLASH, "a backslash is a slash for some servers")
    if not _UNDELIMITED.fullmatch(raw):
        return _refused(RefusalReason.ILLEGAL_CHARACTER, "a character that must be percent-encoded")
    if _BROKEN_ESCAPE.search(raw):
        return _refused(RefusalReason.INVALID_ESCAPE, "a percent sign without two hex digits")
    return None


def _decode_once(raw: str) -> str | Refusal:
    """Decode segment by segment; the first segment that could be read differently refuses all."""
    if not raw:
        return raw
    decoded: list[str] = []
    segments = raw[1:].split("/")
    for position, segment in enumerate(segments):
        is_last = position == len(segments) - 1
        text = _decode_segment(segment)
        if isinstance(text, Refusal):
            return text
        refusal = _refuse_segment(text, may_be_empty=is_last)
        if refusal is not None:
            return refusal
        decoded.append(text)
    return "/" + "/".join(decoded)


def _decode_segment(segment: str) -> str | Refusal:
    try:
        # Strict UTF-8: over-long forms, surrogates and truncated sequences are all errors.
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        return _refused(RefusalReason.INVALID_UTF8, "escapes that are not UTF-8")


def _refuse_segment(text: str, *, may_be_empty: bool) -> Refusal | None:
    """Refuse one decoded segment whose meaning depends on the server that reads it."""
    if not text:
        return None if may_be_empty else _refused(RefusalReason.EMPTY_SEGMENT, "'//' in the path")
    return _refuse_characters(text) or _refuse_name(text)


def _refuse_characters(text: str) -> Refusal | None:
    if "\\" in text:
        return _refused(RefusalReason.BACKSLASH, "an encoded backslash")
    if _SECOND_ESCAPE.search(text):
        return _refused(RefusalReason.DOUBLE_ENCODING, "an escape inside an escape")
    if "/" in text or "?" in text or "#" in text:
        return _refused(RefusalReason.ENCODED_DELIMITER, "an encoded '/', '?' or '#'")
    for character in text:
        refusal = None if character.isascii() and character.isprintable() else _unsafe(character)
        if refusal is not None:
            return refusal
    return None


def _refuse_name(text: str) -> Refusal | None:
    """Servers strip ";parameters", some file systems trailing dots and spaces: a name must stay."""
    name = text.split(";", 1)[0]
    if not name.strip():
        return _refused(RefusalReason.EMPTY_SEGMENT, "a segment without a name")
    if not name.strip(". \u00a0\u3000"):
        return _refused(RefusalReason.DOT_SEGMENT, "a dot segment")
    return None


def _unsafe(character: str) -> Refusal | None:
    if unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"}:
        return _refused(RefusalReason.CONTROL_CHARACTER, f"U+{ord(character):04X} in the path")
    folded = unicodedata.normalize("NFKC", character)
    if character in _BEST_FIT_DELIMITERS or not _DELIMITERS.isdisjoint(folded):
        return _refused(
            RefusalReason.LOOKALIKE_DELIMITER, f"U+{ord(character):04X} can turn into a delimiter"
        )
    return None


def _refused(reason: RefusalReason, detail: str) -> Refusal:
    return Refusal(reason, detail)


@lru_cache(maxsize=4096)
def path_pattern(pattern: str) -> re.Pattern[str]:
    r"""Compile an endpoint path pattern; the whole path must match (reference: PathGlob).

    `*` is any run of characters without a slash, two or more stars any run at all, `\*` and
    `\\` are a literal star and backslash. Stars are possessive: they take all they can and never
    give back, so `/a*b` matches nothing. Time is linear in the length of the path.

    >>> bool(path_pattern("/pets/*/photos").fullmatch("/pets/7/photos"))
    True
    >>> bool(path_pattern("/pets/*").fullmatch("/pets/7/photos"))
    False
    """
    parts: list[str] = []
    for token in re.findall(r"\\[*\\]|\*+|[^*\\]+|\\", pattern):
        if token.startswith("*"):
            parts.append("[^/]*+" if len(token) == 1 else ".*+")
        elif token in {r"\*", r"\\"}:
            parts.append(re.escape(token[1]))
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts), re.DOTALL)


def path_matches(pattern: str, path: str) -> bool:
    """Whether a decoded service path is covered by an endpoint path pattern."""
    return path_pattern(pattern).fullmatch(path) is not None
