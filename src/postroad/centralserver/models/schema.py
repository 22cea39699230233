"""Which tables are there in all? The schema as the code has it, for migrations and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.models.administrators import Administrator
from postroad.centralserver.models.base import Base
from postroad.centralserver.models.history import ChangeLogEntry
from postroad.centralserver.models.parties import Member
from postroad.centralserver.models.system import SystemParameter
from postroad.centralserver.models.trust_services import ApprovedCa

if TYPE_CHECKING:
    from sqlalchemy import MetaData

TOPICS = (Administrator, ApprovedCa, ChangeLogEntry, Member, SystemParameter)
"""One table of each module: importing it brings the others of that module."""


def registry_metadata() -> MetaData:
    """All tables of the registry."""
    return Base.metadata
