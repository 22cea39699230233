"""Which fields does an operational monitoring record have, and how are they named where?

One record an exchange and role. Field names are the columns of the database; ``JSON_NAMES`` are
those of the protocol. What is not known is absent. Source: PR-OPMON 2 and its annexes; reference:
OpMonitoringData, OperationalDataRecord.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

CLIENT: Final = "Client"
PRODUCER: Final = "Producer"
"""The two roles, ``securityServerType``."""
MAX_TEXT: Final = 255
MAX_FAULT_STRING: Final = 2048
"""Characters of a text that are kept (reference: store_operational_data_request_schema.yaml)."""


class OperationalRecord(msgspec.Struct, array_like=True, kw_only=True):
    """What is known of one exchange; sizes in bytes."""

    monitoring_data_ts: int | None = None
    """Seconds: when the record was stored, by which records are asked for and removed."""
    security_server_internal_ip: str | None = None
    security_server_type: str = CLIENT
    request_in_ts: int | None = None
    request_out_ts: int | None = None
    response_in_ts: int | None = None
    response_out_ts: int | None = None
    """Milliseconds, these four."""
    client_xroad_instance: str | None = None
    client_member_class: str | None = None
    client_member_code: str | None = None
    client_subsystem_code: str | None = None
    service_xroad_instance: str | None = None
    service_member_class: str | None = None
    service_member_code: str | None = None
    service_subsystem_code: str | None = None
    service_code: str | None = None
    rest_method: str | None = None
    rest_path: str | None = None
    """The pattern of the declared endpoint, never the path: that may hold personal data."""
    service_version: str | None = None
    represented_party_class: str | None = None
    represented_party_code: str | None = None
    message_id: str | None = None
    message_user_id: str | None = None
    message_issue: str | None = None
    message_protocol_version: str | None = None
    client_security_server_address: str | None = None
    service_security_server_address: str | None = None
    request_size: int | None = None
    response_size: int | None = None
    request_mime_size: int | None = None
    request_attachment_count: int | None = None
    response_mime_size: int | None = None
    response_attachment_count: int | None = None
    succeeded: int = 0
    """1 or 0; JSON has true or false."""
    fault_code: str | None = None
    fault_string: str | None = None
    x_request_id: str | None = None
    status_code: int | None = None
    service_type: str | None = None
    x_road_version: str | None = None


class Observation(msgspec.Struct, array_like=True):
    """A record as a worker knows it, and what it takes to complete it."""

    record: OperationalRecord
    peer_server: str
    """The other security server's identifier; empty if it was never known."""
    path: str
    """The raw path within the service; it ends here."""
    seconds: float
    """How long the exchange took."""


Value: TypeAlias = int | str | None
COLUMNS: Final[tuple[str, ...]] = OperationalRecord.__struct_fields__


def _json_name(column: str) -> str:
    first, *others = column.replace("xroad", "x_road").split("_")
    return first + "".join(part.capitalize() for part in others)


JSON_NAMES: Final = {column: _json_name(column) for column in COLUMNS}
"""By column: the names in answers and in output specifications."""
_NUL: Final = "\0"


def clean(record: OperationalRecord) -> None:
    """Cut what is longer than the protocol's fields, and what no database takes.

    Identifiers come from the wire percent-escaped: any character may be in them.
    """
    for name in COLUMNS:
        text = getattr(record, name)
        if not isinstance(text, str):
            continue
        if _NUL in text or not text.isascii():
            text = text.replace(_NUL, "").encode("utf-8", "replace").decode("utf-8")
        limit = MAX_FAULT_STRING if name == "fault_string" else MAX_TEXT
        setattr(record, name, text[:limit])


def json_fields(columns: tuple[str, ...], row: tuple[Value, ...]) -> dict[str, Value | bool]:
    """A stored record as it is answered: what is absent is left out."""
    return {
        JSON_NAMES[column]: bool(value) if column == "succeeded" else value
        for column, value in zip(columns, row, strict=True)
        if value is not None
    }
