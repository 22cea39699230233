"""What has to be given up when an exchange ends, whatever became of it?

Less than an ``ExitStack`` can do, at a fraction of its price: every message needs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Resources:
    """Connections and spooled bodies of one exchange; closes the newest first."""

    __slots__ = ("_closers",)

    def __init__(self) -> None:
        self._closers: list[Callable[[], object]] = []

    def callback(self, close: Callable[[], object]) -> None:
        """Call ``close`` at the end."""
        self._closers.append(close)

    def close(self) -> None:
        """Close everything, even if one of the closers fails; the last failure is raised."""
        try:
            while self._closers:
                self._closers.pop()()
        finally:
            if self._closers:
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
