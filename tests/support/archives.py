"""Archives of a message log for tests, made in memory."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

from postroad.evidence.linking_info import ArchiveEnd
from postroad.evidence.log_archive import ArchiveBuilder, ArchiveReader, archive_file_name

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def archive_of(
    *contents: bytes, previous: ArchiveEnd | None = None, group: str = ""
) -> tuple[ArchiveEnd, bytes]:
    """An archive of these containers, which need not be real ones; its name and bytes."""
    file = io.BytesIO()
    builder = ArchiveBuilder(file, previous or ArchiveEnd())
    for number, content in enumerate(contents):
        builder.add(f"q{number}-request-{number}.asice", content, AT)
    digest = builder.finish(AT).last_digest
    return ArchiveEnd(digest, archive_file_name(group, AT, AT, digest)), file.getvalue()


def rewritten(
    data: bytes, change: dict[str, bytes | None], order: list[str] | None = None
) -> bytes:
    """The same archive with other contents (None takes an entry away), or in another order."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        names = before.namelist()
        for name in order or [*names, *(name for name in change if name not in names)]:
            content = change[name] if name in change else before.read(name)
            if content is not None:
                after.writestr(name, content)
    return out.getvalue()


def read(data: bytes) -> ArchiveReader:
    return ArchiveReader(io.BytesIO(data))
