"""How does a logged message become a container that anybody can verify?

A container (ASiC-E) holds the message, its signature, the time-stamp and what joins them, exactly
as logged. An attachment of which the log kept the digest only isn't in it: the verifier lists it
as proven by the hash chain but not seen. Source: PR-SIGDOC; reference: ``AsicContainerEntries``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.files import write_atomic
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.asic import (
    AsicContainer,
    Attachment,
    container_file_name,
    encode_container,
)
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import Direction

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.identifiers import ClientId
    from postroad.securityserver.messagelog.reading import StoredRecord
    from postroad.securityserver.messagelog.record_keys import LogKeys


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """An encoded container and the file name it has by the protocol's rule."""

    name: str
    data: bytes


def build_container(record: StoredRecord) -> AsicContainer:
    """Build the container of a stamped record.

    Raises ``ConfigurationError`` (``asic_timestamp_not_found``) if it isn't stamped yet.
    """
    stamp = record.timestamp
    if stamp is None:
        raise ConfigurationError(
            f"log record {record.id} has no time-stamp yet",
            code=FaultCode.ASIC_TIMESTAMP_NOT_FOUND,
        )
    # A record's own stamp is inside its signature; only a batch's stands beside it.
    is_batch = stamp.hash_chain is not None
    return AsicContainer(
        message=record.message,
        signatures=record.signature,
        hash_chain_result=record.hash_chain_result,
        hash_chain=record.hash_chain,
        timestamp_chain_result=stamp.hash_chain_result if is_batch else None,
        timestamp_chain=stamp.hash_chain if is_batch else None,
        timestamp=stamp.token if is_batch else None,
        attachments=tuple(
            Attachment(f"attachment{attachment.number}", attachment.content)
            for attachment in record.attachments
            if attachment.content is not None
        ),
    )


def encode_record(record: StoredRecord) -> ContainerFile:
    """Encode the container of a stamped record; see ``build_container``."""
    name = container_file_name(
        record.query_id,
        is_response=record.direction is Direction.RESPONSE,
        record_id=record.id,
    )
    return ContainerFile(name, encode_container(build_container(record), record.created_at))


def export_containers(
    database_url: str,
    query_id: str,
    directory: Path,
    *,
    party: ClientId | None = None,
    direction: Direction | None = None,
    keys: LogKeys | None = None,
) -> list[Path]:
    """Write the containers of all records of a message id into ``directory``; return their paths.

    Opens the log for reading only, so it works beside a running server. No records: an empty list.
    Raises ``ConfigurationError`` if the log can't be read, a file can't be written, or a record has
    no time-stamp yet (``asic_timestamp_not_found``); containers written before that stay.
    """
    reader = LogReader.open(database_url, keys)
    written: list[Path] = []
    try:
        for found in reader.find(query_id, party, direction=direction):
            record = reader.load(found.id)
            if record is None:  # purged in the meantime
                continue
            container = encode_record(record)
            path = directory / container.name
            write_atomic(path, container.data)
            written.append(path)
    except OSError as error:
        raise ConfigurationError(
            f"{directory} can't be written: {error.strerror}", code=FaultCode.IO_ERROR
        ) from error
    finally:
        reader.close()
    return written
