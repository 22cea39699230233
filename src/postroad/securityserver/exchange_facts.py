"""What does operational monitoring get to know of an exchange, beside what the access log tells?

Noted while the exchange runs, so a note is an assignment and nothing more: what it means is worked
out later, and by another process. Moments are seconds of the monotonic clock; 0 if it never came
to that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.consumer_exchange import Message
    from postroad.securityserver.transport import Attachment


class MessageSize(NamedTuple):
    """How large a message is, in bytes, and what came beside it."""

    block: int
    attached: int
    attachments: int


@dataclass(slots=True)
class ExchangeFacts:
    """Moments, sizes and the request of one exchange."""

    message: Message | None = None
    """The request, once it was read."""
    request_in: float = field(default_factory=monotonic)
    request_out: float = 0.0
    response_in: float = 0.0
    response_out: float = 0.0
    request: MessageSize | None = None
    response: MessageSize | None = None
    fault_string: str = ""
    """What the caller was told, where the access log says more."""
    own_service: bool = False
    """Whether the server itself answers: nothing goes out and comes in (reference:
    MetadataServiceHandlerImpl)."""

    def note_asking(self) -> None:
        """The request goes out."""
        self.request_out = monotonic()

    def note_answered(self) -> None:
        """The head of the answer came."""
        self.response_in = monotonic()

    def note_answering(self) -> None:
        """Our answer goes out."""
        self.response_out = monotonic()

    def note_request(self, block: bytes, attachments: Sequence[Attachment]) -> None:
        """The request is there as a whole."""
        self.request = _size(block, attachments)

    def note_response(self, block: bytes, attachments: Sequence[Attachment]) -> None:
        """The response is there as a whole."""
        self.response = _size(block, attachments)


def _size(block: bytes, attachments: Sequence[Attachment]) -> MessageSize:
    attached = sum([attachment.body.size for attachment in attachments])
    return MessageSize(len(block), attached, len(attachments))
