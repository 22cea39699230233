"""What follows from a service description: services, endpoints, and what is odd about it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import MAX_PART_LENGTH

if TYPE_CHECKING:
    from postroad.authorization.rights import Endpoint

MAX_WARNINGS: Final = 20
_FORBIDDEN: Final = frozenset(":;%/\\\ufeff\u200b")


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedService:
    """A service that a description names; ``version`` is None except for some of SOAP."""

    code: str
    version: str | None = None
    url: str
    title: str = ""

    @property
    def full_code(self) -> str:
        """Code and version as administrators see them."""
        return self.code if self.version is None else f"{self.code}.{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Everything that follows from one description."""

    services: tuple[DerivedService, ...]
    endpoints: tuple[Endpoint, ...] = ()
    """Of the one service of an OpenAPI document; base endpoints are never among them."""
    warnings: tuple[str, ...] = ()
    """What a person should look at before it is used."""


class Warnings:
    """Warnings, up to a number that a person may read."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()

    @property
    def are_enough(self) -> bool:
        """Whether no more are taken."""
        return len(self.texts) >= MAX_WARNINGS

    def add(self, text: str) -> None:
        """One more, cut to a line."""
        if not self.are_enough:
            self.texts += (text.replace("\n", " ")[:300],)


def check_identifier(what: str, text: str) -> str:
    """The text, if it may be a part of an identifier; ``MalformedInput`` otherwise.

    Reference: IdentifierValidator, in the form for existing ecosystems.
    """
    if not text.strip() or len(text) > MAX_PART_LENGTH:
        raise malformed(f"{what} {text[:80]!r} is empty or longer than {MAX_PART_LENGTH}")
    wrong = [each for each in text if each in _FORBIDDEN or unicodedata.category(each) == "Cc"]
    if wrong:
        raise malformed(f"{what} {text[:80]!r} holds the forbidden character {wrong[0]!r}")
    return text


def malformed(message: str) -> MalformedInput:
    """The error for a description that can't be used."""
    return MalformedInput(message, code=FaultCode.INVALID_REQUEST)
