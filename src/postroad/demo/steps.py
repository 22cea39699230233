"""What is a step of the demo: what it says when it found what it must."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from postroad.demo.consumer import Answer


@dataclass(frozen=True, slots=True)
class Shown:
    """One finished step: a title and what it found."""

    title: str
    findings: tuple[str, ...]


def expect_status(answer: Answer, status: int) -> None:
    """Raise ``ConfigurationError`` unless the answer has that status."""
    if answer.status != status:
        raise ConfigurationError(
            f"expected HTTP {status}, got {answer.status}: {answer.fault_code} "
            f"{answer.fault_message}"
        )


def expect(what: str, found: object, wanted: object) -> None:
    """Raise ``ConfigurationError`` unless it was found as wanted."""
    if found != wanted:
        raise ConfigurationError(f"{what}: expected {wanted!r}, found {found!r}")


def took(answer: Answer) -> str:
    """How long an exchange took, and the id it is found by."""
    return f"HTTP {answer.status} in {answer.seconds * 1000:.0f} ms, id {answer.query_id}"
