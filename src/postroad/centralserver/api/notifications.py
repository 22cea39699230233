"""What must an administrator look after now? Source: reference ``NotificationServiceImpl``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from postroad.centralserver.api.operations import AUTHENTICATED, Call, Operation
from postroad.centralserver.generator import load_status
from postroad.centralserver.registry.sources import SourceType, active_key, find_source
from postroad.centralserver.registry.system import instance_status

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class AlertData(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One thing to look after; unlike elsewhere the names are in camel case."""

    error_code: str
    metadata: list[str] | None = None


class StatusData(msgspec.Struct):
    """Whether there is a session."""

    valid: bool


def list_alerts(call: Call) -> list[AlertData]:
    """What to look after; nothing before there is an instance."""
    with call.reading() as session:
        status = instance_status(session, call.node_name)
        if None in {status.instance, status.address} or not call.services.login.is_initialized:
            return []
        alerts = [_key_alert(call, session, source_type) for source_type in SourceType]
    return [alert for alert in (_generation_alert(call), *alerts) if alert is not None]


def session_status(call: Call) -> StatusData:
    """Whether the caller has a session; asking doesn't keep it alive."""
    return StatusData(valid=call.has_session)


def _generation_alert(call: Call) -> AlertData | None:
    last = load_status(call.node.settings)
    prefix = "status.global_conf_generation"
    if last is None:
        return AlertData(error_code=f"{prefix}.status_not_found")
    if not last.success:
        return AlertData(error_code=f"{prefix}.failing", metadata=[last.time.isoformat()])
    if last.expires_at is not None and last.expires_at < call.node.clock.now():
        return AlertData(error_code=f"{prefix}.global_conf_expired")
    return None


def _key_alert(call: Call, session: Session, source_type: SourceType) -> AlertData | None:
    prefix = f"status.signing_key.{source_type.value}"
    if active_key(find_source(session, source_type, call.node_name)) is None:
        return AlertData(error_code=f"{prefix}.missing")
    if not call.services.login.is_active:
        return AlertData(error_code=f"{prefix}.token_not_active")
    return None


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/notifications/alerts",
        name="checkAlerts",
        handler=list_alerts,
        needs=AUTHENTICATED,
        answer=list[AlertData],
    ),
    Operation(
        method="GET",
        path="/notifications/session-status",
        name="isSessionAlive",
        handler=session_status,
        needs=AUTHENTICATED,
        answer=StatusData,
    ),
)
