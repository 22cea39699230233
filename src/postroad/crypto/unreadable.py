"""What do the parsing libraries raise for bytes that they can't make sense of?

Neither library documents it in one place, so this list is, and fuzzing keeps it true. Code that
parses bytes from outside catches ``UNREADABLE`` where it calls a library, and nothing wider.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE: Final[tuple[type[Exception], ...]] = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
