"""How are administrators' passwords kept, so that a stolen database tells none of them?

Argon2id (RFC 9106) in its PHC form, which carries salt and cost along; a changed cost holds for
passwords that are set from then on.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from postroad.centralserver.registry.refusals import Problem, RegistryRefusal

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 255
_ITERATIONS: Final = 2
_LANES: Final = 1
_MEMORY_KIB: Final = 32 * 1024
"""With two iterations well above the least that OWASP asks for (19 MiB)."""


def hash_password(password: str, *, allow_weak: bool = False) -> str:
    """The hash to keep.

    Raises ``RegistryRefusal`` for a password that is too short, too long or of one character;
    with ``allow_weak`` only for none and for one that is too long.
    """
    shortest, different = (1, 1) if allow_weak else (MIN_LENGTH, MIN_LENGTH // 2)
    if not shortest <= len(password) <= MAX_LENGTH or len(set(password)) < different:
        raise RegistryRefusal(
            Problem.WEAK_PASSWORD,
            f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters, at least "
            f"{MIN_LENGTH // 2} of them different",
        )
    return _hasher().derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether this is the password; None stands for a user who doesn't exist, and takes as long."""
    known = password_hash if password_hash is not None else _nobodys_hash()
    data = password[: MAX_LENGTH + 1].encode("utf-8", "surrogatepass")
    try:
        Argon2id.verify_phc_encoded(data, known)
    except InvalidKey:
        return False
    return password_hash is not None


def _hasher() -> Argon2id:
    return Argon2id(
        salt=os.urandom(16),
        length=32,
        iterations=_ITERATIONS,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )


@cache
def _nobodys_hash() -> str:
    return _hasher().derive_phc_encoded(os.urandom(32))
