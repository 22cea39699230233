"""What of a message does the message log get: all of it, or only who asked whom?

The service's subsystem decides, on either side (reference: MessageBodyManipulator): for services
of our own ("local producers") and for those that our clients call ("remote producers") there is a
list of exceptions from what is the rule.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from postroad.identifiers import SubsystemId
from postroad.messages.metadata import (
    rest_request_metadata,
    rest_response_metadata,
    soap_metadata,
)
from postroad.securityserver.messagelog.records import Direction, Side
from postroad.securityserver.soap_message import SoapRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.identifiers import ServiceId
    from postroad.securityserver.messagelog.records import Body
    from postroad.securityserver.settings_sections import MessageLogSection
    from postroad.securityserver.transport import Attachment


class Loggable(NamedTuple):
    """What a record holds of a message."""

    message: bytes
    attachments: tuple[Body, ...]


class _Exchange(Protocol):
    """The request of the exchange, whichever of its messages is logged."""

    @property
    def service(self) -> ServiceId:
        """The service that is called."""
        ...


def loggable(  # noqa: PLR0917 - the parts of one message
    rules: MessageLogSection,
    side: Side,
    direction: Direction,
    exchange: _Exchange,
    block: bytes,
    attachments: Sequence[Attachment],
) -> Loggable:
    """Return what is to be kept of a message.

    Raises ``ConfigurationError`` (``logging_failed``) for a body that is too large, where the
    settings want it refused.
    """
    if is_body_logged(rules, side, exchange.service):
        return Loggable(block, tuple([item.body.log_body(rules) for item in attachments]))
    if isinstance(exchange, SoapRequest):
        return Loggable(soap_metadata(block), ())
    if direction is Direction.REQUEST:
        return Loggable(rest_request_metadata(block), ())
    return Loggable(rest_response_metadata(block), ())


def is_body_logged(rules: MessageLogSection, side: Side, service: ServiceId) -> bool:
    """Whether messages to and from a service are kept as they are."""
    is_local = side is Side.SERVER
    if rules.log_bodies:
        exceptions = (
            rules.disabled_body_logging_local_producer_subsystems
            if is_local
            else rules.disabled_body_logging_remote_producer_subsystems
        )
    else:
        exceptions = (
            rules.enabled_body_logging_local_producer_subsystems
            if is_local
            else rules.enabled_body_logging_remote_producer_subsystems
        )
    is_exception = bool(exceptions) and service.client in _subsystems(exceptions)
    return rules.log_bodies is not is_exception


@lru_cache(maxsize=8)
def _subsystems(listed: tuple[str, ...]) -> frozenset[SubsystemId]:
    return frozenset(map(SubsystemId.parse, listed))
