"""What do both sides of an exchange have in common? Who signed is proved, and everything is logged.

What either side logs and verifies differs only in whose side it is and who must have signed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from postroad.errors import FaultCode, PostroadError
from postroad.evidence.verification import VerificationCache, verify_message_signature
from postroad.securityserver.body_logging import loggable
from postroad.securityserver.flood_limits import FloodLimit
from postroad.securityserver.messagelog.records import Side, build_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.evidence.verification import VerifiedSignature
    from postroad.fault_table import Dialect
    from postroad.identifiers import ClientId
    from postroad.ports import MessageLogPort
    from postroad.securityserver.consumer_exchange import Message
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.messagelog.records import Direction
    from postroad.securityserver.settings import Settings
    from postroad.securityserver.signing import BatchingSigner, MessageSignature
    from postroad.securityserver.snapshots import Snapshot
    from postroad.securityserver.transport import Attachment, ReceivedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageProxy:
    """What either side needs from outside."""

    side: ClassVar[Side]

    settings: Settings
    clock: Clock
    snapshot: Callable[[], Snapshot]
    signer: BatchingSigner
    log: MessageLogPort
    new_id: Callable[[], str]
    dialect: Dialect
    flood: FloodLimit = field(default_factory=lambda: FloodLimit(0.0, time.monotonic))
    """How often one client may ask."""
    cache: VerificationCache = field(default_factory=VerificationCache)
    """Verdicts on signatures of a moment ago; the roles of one process may share it."""

    @property
    def spool(self) -> Path:
        """Where large bodies wait."""
        return self.settings.spool_path

    def verify_signature(
        self, snapshot: Snapshot, received: ReceivedMessage, *, signer: ClientId
    ) -> VerifiedSignature:
        """The signer's member signed exactly what arrived.

        Raises ``TrustError`` or ``MalformedInput`` (``signature_verification.*``).
        """
        try:
            return verify_message_signature(
                received.document,
                signer=signer,
                parts=received.parts,
                globalconf=snapshot.globalconf,
                at=self.clock.now(),
                cache=self.cache,
            )
        except PostroadError as error:
            error.within(FaultCode.SIGNATURE_VERIFICATION.value)
            raise

    def log_message(
        self,
        message: Message,
        direction: Direction,
        block: bytes,
        attachments: Sequence[Attachment],
        signature: MessageSignature,
    ) -> Awaitable[int]:
        """Log a message of the exchange that ``message`` asked for; durable once awaited."""
        side = self.side
        kept = loggable(self.settings.message_log, side, direction, message, block, attachments)
        record = build_record(
            message.client if side is Side.CLIENT else message.service.client,
            query_id=message.query_id,
            request_id=message.request_id or None,
            direction=direction,
            side=side,
            message=kept.message,
            signature=signature.signature,
            created_at=self.clock.now(),
            attachments=kept.attachments,
            hash_chain_result=signature.hash_chain_result,
            hash_chain=signature.hash_chain,
        )
        return self.log.append(record)


def note_request(report: ExchangeReport, message: Message) -> None:
    """Let the report say who asked for what."""
    report.method = message.method
    report.client = str(message.client)
    report.service = str(message.service)
    report.query_id = message.query_id
    report.request_id = message.request_id
    report.facts.message = message
