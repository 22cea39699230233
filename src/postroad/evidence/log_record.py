"""What does a proxy hand over to the message log for each signed message?

A record holds the exact bytes of a message, its signature and what proves them, so that anybody
can verify the exchange years later. The fields follow the ``logrecord`` table of the protocol's
message log (PR-SIGDOC, DM-ML). The values are MessagePack structures, because the proxy workers
hand them to the log writer over a socket.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from postroad.identifiers import ClientId, client_id


class Direction(StrEnum):
    """Which way a message went."""

    REQUEST = "request"
    RESPONSE = "response"


class Side(StrEnum):
    """Which part this server played in the exchange."""

    CLIENT = "client"
    """The service client's server: records carry the client's identifier."""
    SERVER = "server"
    """The service provider's server: records carry the identifier of the service's owner."""


class InlineBody(msgspec.Struct, frozen=True, tag="inline"):
    """An attachment small enough to travel inside its record."""

    data: bytes


class SpooledBody(msgspec.Struct, frozen=True, tag="spooled"):
    """An attachment that waits in the spool directory; the log removes the file once it is stored.

    ``file_name`` is a plain name inside the spool directory, ``digest`` the SHA-512 of the file,
    ``size`` its length in bytes. Whoever still needs the bytes keeps the file open.
    """

    file_name: str
    digest: bytes
    size: int


class OmittedBody(msgspec.Struct, frozen=True, tag="omitted"):
    """An attachment of which only the digest (SHA-512) and size in bytes are kept.

    The signed hash chain names the same digest, so the record still proves what was exchanged.
    """

    digest: bytes
    size: int


Body = InlineBody | SpooledBody | OmittedBody
"""One attachment: the body of a REST message, or one attachment of a SOAP message."""


class MessageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A signed message, as a proxy hands it to the message log.

    The party is the *client* on the client's server and the *service owner* on the provider's
    server, for request and response alike. ``attachments`` are numbered from 1 in their order.
    """

    query_id: str
    request_id: str | None = None
    direction: Direction
    side: Side
    instance: str
    member_class: str
    member_code: str
    subsystem_code: str | None = None
    message: bytes
    attachments: tuple[Body, ...] = ()
    signature: bytes
    hash_chain_result: bytes | None = None
    hash_chain: bytes | None = None
    created_at: datetime

    @property
    def party(self) -> ClientId:
        """Whose message log entry this is."""
        return client_id(self.instance, self.member_class, self.member_code, self.subsystem_code)

    @property
    def has_spool_files(self) -> bool:
        """Whether some attachment waits in the spool directory."""
        for body in self.attachments:  # noqa: SIM110 - asked for every message; a loop is cheaper
            if isinstance(body, SpooledBody):
                return True
        return False


def build_record(
    party: ClientId,
    *,
    query_id: str,
    request_id: str | None,
    direction: Direction,
    side: Side,
    message: bytes,
    signature: bytes,
    created_at: datetime,
    attachments: tuple[Body, ...] = (),
    hash_chain_result: bytes | None = None,
    hash_chain: bytes | None = None,
) -> MessageRecord:
    """Build the record of one signed message that belongs to ``party``."""
    return MessageRecord(
        query_id=query_id,
        request_id=request_id,
        direction=direction,
        side=side,
        instance=party.instance,
        member_class=party.member_class,
        member_code=party.member_code,
        subsystem_code=party.subsystem_code,
        message=message,
        attachments=attachments,
        signature=signature,
        hash_chain_result=hash_chain_result,
        hash_chain=hash_chain,
        created_at=created_at,
    )
