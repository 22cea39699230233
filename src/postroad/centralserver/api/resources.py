"""Which operations are there in all? The tables of all resources, one after the other."""

from __future__ import annotations

from typing import Final

from postroad.centralserver.api import (
    initialization,
    member_classes,
    members,
    signing_keys,
    subsystems,
    system,
    tokens,
    user,
)

OPERATIONS: Final = (
    *initialization.OPERATIONS,
    *member_classes.OPERATIONS,
    *members.OPERATIONS,
    *signing_keys.OPERATIONS,
    *subsystems.OPERATIONS,
    *system.OPERATIONS,
    *tokens.OPERATIONS,
    *user.OPERATIONS,
)
