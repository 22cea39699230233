"""Configuration parts: the generated ones, and the optional ones that are uploaded.

Source: reference ``ConfigurationPartsController``. Optional parts are of version 0, which stands
for every version (G-31).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.configuration_sources import VIEW_SOURCES, viewed_source
from postroad.centralserver.api.operations import Call, Download, Operation, Upload, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.api.signing_keys import source_type_of
from postroad.centralserver.registry.optional_parts import (
    list_optional_parts,
    upload_optional_part,
)
from postroad.centralserver.registry.sources import SourceType
from postroad.centralserver.roles import Permission
from postroad.globalconf.parts import FILE_NAMES, PRIVATE_PARAMETERS, SHARED_PARAMETERS

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

_GENERATED: Final = {
    SourceType.INTERNAL: (PRIVATE_PARAMETERS, SHARED_PARAMETERS),
    SourceType.EXTERNAL: (SHARED_PARAMETERS,),
}
_OPTIONAL_VERSION: Final = 0


class ConfigurationPart(Payload):
    """One part of a configuration."""

    content_identifier: str
    file_name: str
    optional: bool
    version: int
    file_updated_at: datetime | None = None


class ConfigurationPartUpload(Payload):
    """A part to be distributed."""

    content_identifier: Text
    file: Upload


@dataclass(frozen=True, slots=True)
class _Published:
    """A generated part as it was published last."""

    path: Path
    updated_at: datetime


def list_parts(call: Call) -> list[ConfigurationPart]:
    """All parts of a source that were generated or uploaded, and those that could be."""
    source_type = viewed_source(call)
    parts = [
        ConfigurationPart(
            content_identifier=identifier,
            file_name=FILE_NAMES[identifier],
            optional=False,
            version=version,
            file_updated_at=published.updated_at,
        )
        for version in call.node.settings.versions
        for identifier in _GENERATED[source_type]
        if (published := _published(call, version, identifier)) is not None
    ]
    if source_type is SourceType.INTERNAL:
        with call.reading() as session:
            parts += _optional_parts(session)
    return parts


def upload_part(call: Call) -> None:
    """Distribute an optional part with the internal configuration."""
    body: ConfigurationPartUpload = call.body
    source_type = source_type_of(call)
    call.audited.update(
        sourceType=source_type.value.upper(),
        contentIdentifier=body.content_identifier,
        partFileName=FILE_NAMES.get(body.content_identifier),
    )
    if source_type is not SourceType.INTERNAL:
        raise ApiRefusal(400, "unknown_configuration_part", (body.content_identifier,))
    with call.changing() as change:
        upload_optional_part(change, body.content_identifier, body.file.data)


def download_part(call: Call) -> Download:
    """One part as it's distributed now."""
    source_type = source_type_of(call)
    identifier, version = call.path["content_identifier"], call.path["version"]
    if version == str(_OPTIONAL_VERSION):
        with call.reading() as session:
            for row in list_optional_parts(session):
                if row.content_identifier == identifier and source_type is SourceType.INTERNAL:
                    return Download(row.data, row.file_name, "application/xml")
    elif identifier in _GENERATED[source_type] and version in map(str, call.node.settings.versions):
        published = _published(call, int(version), identifier)
        if published is not None:
            return Download(published.path.read_bytes(), published.path.name, "application/xml")
    raise ApiRefusal(404, "configuration_part_file_not_found")


def _optional_parts(session: Session) -> list[ConfigurationPart]:
    uploaded = {row.content_identifier: row.updated_at for row in list_optional_parts(session)}
    return [
        ConfigurationPart(
            content_identifier=identifier,
            file_name=file_name,
            optional=True,
            version=_OPTIONAL_VERSION,
            file_updated_at=uploaded.get(identifier),
        )
        for identifier, file_name in FILE_NAMES.items()
        if identifier not in {PRIVATE_PARAMETERS, SHARED_PARAMETERS}
    ]


def _published(call: Call, version: int, identifier: str) -> _Published | None:
    """The part in the newest generation of a version; its folders are named after moments."""
    folder = call.node.settings.public_path / f"V{version}"
    found = sorted(folder.glob(f"[0-9]*/{FILE_NAMES[identifier]}"))
    if not found:
        return None
    updated_at = datetime.fromtimestamp(found[-1].stat().st_mtime, UTC)
    return _Published(found[-1], updated_at)


_PATH: Final = "/configuration-sources/{configuration_type}/configuration-parts"
OPERATIONS: Final = (
    Operation(
        method="GET",
        path=_PATH,
        name="getConfigurationParts",
        handler=list_parts,
        needs=VIEW_SOURCES,
        answer=list[ConfigurationPart],
    ),
    Operation(
        method="POST",
        path=_PATH,
        name="uploadConfigurationParts",
        handler=upload_part,
        needs=any_of(Permission.UPLOAD_CONFIGURATION_PART),
        status=204,
        form=ConfigurationPartUpload,
        event="Upload configuration part",
    ),
    Operation(
        method="GET",
        path=_PATH + "/{content_identifier}/{version}/download",
        name="downloadConfigurationParts",
        handler=download_part,
        needs=any_of(Permission.DOWNLOAD_CONFIGURATION_PART),
        answer=Download,
    ),
)
