"""Which optional configuration parts are distributed besides the parameters?

Source: reference configuration parts. They belong to the internal configuration of every version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.system import OptionalPart
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.errors import MalformedInput
from postroad.globalconf.extensions import check_extension
from postroad.globalconf.parts import FILE_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


def list_optional_parts(session: Session) -> Sequence[OptionalPart]:
    """All uploaded parts, by content identifier."""
    return session.scalars(select(OptionalPart).order_by(OptionalPart.content_identifier)).all()


def upload_optional_part(change: Change, content_identifier: str, data: bytes) -> bool:
    """Distribute a part from the next generation on; False when it is these bytes already.

    Refused for an unknown identifier and for bytes that break the part's schema.
    """
    try:
        check_extension(content_identifier, data)
    except MalformedInput as error:
        raise RegistryRefusal(
            Problem.UNKNOWN_CONFIGURATION_PART,
            f"{content_identifier!r} can't be distributed: {error.message}",
        ) from error
    wanted = select(OptionalPart).where(OptionalPart.content_identifier == content_identifier)
    row = change.session.scalars(wanted).one_or_none()
    if row is not None and row.data == data:
        return False
    if row is None:
        row = OptionalPart(
            content_identifier=content_identifier, file_name=FILE_NAMES[content_identifier]
        )
        change.session.add(row)
    row.data = data
    row.updated_at = change.at
    change.record("Upload configuration part", contentIdentifier=content_identifier)
    return True
