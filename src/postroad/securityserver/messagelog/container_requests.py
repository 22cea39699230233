"""What does a client get that asks its server for evidence over HTTP?

``/asic`` gives containers of the client's own messages, ``/verificationconf`` the global
configuration to verify them with. Both are asked with GET on the ports for information systems.
Errors are plain text. Source: UG-SIGDOC; reference: ``AsicContainerClientRequestProcessor``.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, quote_plus

from postroad.errors import (
    ConfigurationError,
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
)
from postroad.evidence.asic import MIME_TYPE
from postroad.globalconf.parts import PartMetadata
from postroad.globalconf.stored import (
    StoredPart,
    encode_layout,
    load_parts,
    read_instance_identifier,
)
from postroad.identifiers import ClientId, client_id
from postroad.securityserver.messagelog.export import ContainerFile, encode_record
from postroad.securityserver.messagelog.records import Direction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from postroad.securityserver.messagelog.reading import FoundRecord, LogReader

ASIC_PATH: Final = "/asic"
VERIFICATION_CONFIGURATION_PATH: Final = "/verificationconf"
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""Most message bodies that one answer may carry; it is built in memory."""
MAX_QUERY_LENGTH: Final = 16 * 1024
MAX_QUERY_FIELDS: Final = 50
_MAX_NAME: Final = 226
_SHARED_PARAMETERS: Final = "shared-params.xml"
_ZIP_ROOT: Final = "verificationconf/"


class Answer(NamedTuple):
    """An HTTP response: status, header fields and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class ContainerQuestion(NamedTuple):
    """What ``/asic`` was asked for."""

    query_id: str
    party: ClientId
    direction: Direction | None
    unique: bool
    force: bool


def parse_question(query: str) -> ContainerQuestion:
    """Read the query of ``/asic`` (what follows the question mark).

    Raises ``MalformedInput`` (``bad_request``).
    """
    if len(query) > MAX_QUERY_LENGTH:
        raise _bad("the query is too long")
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except (ValueError, UnicodeError) as error:
        raise _bad(f"the query can't be read: {error}") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _bad("a parameter is given twice")
    try:
        party = client_id(
            _required(fields, "xRoadInstance"),
            _required(fields, "memberClass"),
            _required(fields, "memberCode"),
            fields.get("subsystemCode") or None,
        )
    except MalformedInput as error:
        raise _bad(error.message) from error
    only_request, only_response = "requestOnly" in fields, "responseOnly" in fields
    if only_request and only_response:
        raise _bad("requestOnly and responseOnly exclude each other")
    direction = None
    if only_request or only_response:
        direction = Direction.REQUEST if only_request else Direction.RESPONSE
    unique = "unique" in fields
    if unique and direction is None:
        raise _bad("unique needs requestOnly or responseOnly")
    return ContainerQuestion(
        _required(fields, "queryId"), party, direction, unique, "force" in fields
    )


async def handle_asic(
    query: str,
    *,
    open_reader: Callable[[], LogReader],
    authenticate: Callable[[ClientId], Awaitable[None]],
    stamp_now: Callable[[Sequence[int]], Awaitable[None]] | None,
    seal: Callable[[bytes, ClientId], bytes] | None = None,
) -> Answer:
    """Answer ``GET /asic?<query>``.

    ``authenticate`` raises any ``PostroadError`` if the caller may not speak for the client.
    ``stamp_now`` stamps the given records at once, for ``force``; without it, force is refused.
    ``seal`` encrypts an answer for a client, where archives are encrypted.
    """
    try:
        question = parse_question(query)
        await _authenticate(authenticate, question.party)
        found = await asyncio.to_thread(_find, open_reader, question)
        waiting = [record.id for record in found if not record.is_stamped]
        if waiting:
            if not question.force or stamp_now is None:
                raise ConfigurationError(
                    "some of the messages have no time-stamp yet; try again later",
                    code=FaultCode.TIMESTAMPING_FAILED,
                )
            await stamp_now(waiting)
        containers = await asyncio.to_thread(_load, open_reader, found)
        return await asyncio.to_thread(_answer, question, containers, seal)
    except PostroadError as error:
        return _refusal(error)


async def handle_verification_configuration(
    read_files: Callable[[], Mapping[str, bytes]],
) -> Answer:
    """Answer ``GET /verificationconf``; ``read_files`` reads the stored global configuration."""
    try:
        data = await asyncio.to_thread(lambda: encode_verification_configuration(read_files()))
    except PostroadError as error:
        return _refusal(error)
    # Without "attachment", as the reference writes it.
    disposition = 'filename="verificationconf.zip"'
    return Answer(
        200, (("Content-Type", "application/zip"), ("Content-Disposition", disposition)), data
    )


def encode_verification_configuration(files: Mapping[str, bytes]) -> bytes:
    """Zip what a verifier needs of the stored global configuration: shared parameters, versions.

    ``files`` are those of the global configuration's directory, by relative path.
    """
    instances = [
        (
            instance,
            {
                _SHARED_PARAMETERS: StoredPart(
                    parts[_SHARED_PARAMETERS].content,
                    PartMetadata(version=parts[_SHARED_PARAMETERS].metadata.version),
                )
            },
        )
        for instance, parts in sorted(load_parts(files).items())
        if _SHARED_PARAMETERS in parts
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in encode_layout(read_instance_identifier(files), instances).items():
            archive.writestr(zipfile.ZipInfo(_ZIP_ROOT + path), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


async def _authenticate(
    authenticate: Callable[[ClientId], Awaitable[None]], party: ClientId
) -> None:
    try:
        await authenticate(party)
    except PostroadError as error:
        raise RefusedRequest(error.message, code=FaultCode.SSL_AUTHENTICATION_FAILED) from error


def _find(open_reader: Callable[[], LogReader], question: ContainerQuestion) -> list[FoundRecord]:
    reader = open_reader()
    try:
        found = reader.find(question.query_id, question.party, direction=question.direction)
    finally:
        reader.close()
    if not found:
        raise RefusedRequest("no message with this id was found", code=FaultCode.NOT_FOUND)
    if question.unique and len(found) > 1:
        raise _bad(f"{len(found)} messages have this id: it isn't unique")
    size = sum(record.attachment_bytes for record in found)
    if size > MAX_ANSWER_BYTES:
        raise _bad(f"the messages have {size} bytes: ask for requestOnly or responseOnly")
    return found


def _load(
    open_reader: Callable[[], LogReader], found: Sequence[FoundRecord]
) -> list[ContainerFile]:
    reader = open_reader()
    try:
        records = (reader.load(record.id) for record in found)
        containers = [encode_record(record) for record in records if record is not None]
    finally:
        reader.close()
    if not containers:
        raise RefusedRequest("no message with this id was found", code=FaultCode.NOT_FOUND)
    return containers


def _answer(
    question: ContainerQuestion,
    containers: Sequence[ContainerFile],
    seal: Callable[[bytes, ClientId], bytes] | None,
) -> Answer:
    data, media_type, name = _contents(question, containers)
    if seal is None:
        return _file(data, media_type, name)
    try:
        sealed = seal(data, question.party)
    except PostroadError as error:
        # Where our keys lie is nobody else's business.
        raise ConfigurationError(
            "the answer can't be encrypted: the server's operator must see to the keys of archives",
            code=error.code,
        ) from error
    return _file(sealed, "application/octet-stream", f"{name}.gpg")


def _contents(
    question: ContainerQuestion, containers: Sequence[ContainerFile]
) -> tuple[bytes, str, str]:
    """Return what the client gets, its media type and its file name."""
    if question.unique:
        return containers[0].data, MIME_TYPE, containers[0].name
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for container in containers:
            archive.writestr(zipfile.ZipInfo(container.name), container.data)
    kind = "" if question.direction is None else f"-{question.direction.value}"
    name = quote_plus(question.query_id)[:_MAX_NAME]
    return out.getvalue(), "application/zip", f"{name}{kind}.zip"


def _file(data: bytes, media_type: str, name: str) -> Answer:
    # Names are percent-escaped, so no quote or line break can end the header's value.
    disposition = f'attachment; filename="{name}"'
    return Answer(200, (("Content-Type", media_type), ("Content-Disposition", disposition)), data)


def _refusal(error: PostroadError) -> Answer:
    status = _STATUS.get(error.code, 500)
    return Answer(
        status,
        (("Content-Type", "text/plain;charset=utf-8"),),
        f"{error.message}\n".encode("utf-8", "replace"),
    )


_STATUS: Final = {
    FaultCode.BAD_REQUEST: 400,
    FaultCode.SSL_AUTHENTICATION_FAILED: 401,
    FaultCode.NOT_FOUND: 404,
}


def _required(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise _bad(f"the parameter {name} is missing")
    return value


def _bad(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.BAD_REQUEST)
