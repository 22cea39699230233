"""How is the verdict on a container told, to a person and to a program?

Everything that comes out of a container is a stranger's text: control characters are made visible,
so that a message identifier can't repaint the terminal of the person who judges it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.x509.oid import NameOID
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from rich.console import RenderableType

    from postroad.crypto.certificates import Certificate
    from postroad.errors import PostroadError
    from postroad.evidence.container_verification import AttachmentReport, ContainerReport
    from postroad.evidence.logged_message import LoggedMessage

_FRIENDLY_NAMES: Final = {
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
    NameOID.EMAIL_ADDRESS: "emailAddress",
}
_MARKS: Final = {
    "valid": ("✔ VALID", "bold green"),
    "invalid": ("✘ INVALID", "bold red"),
    "unknown": ("? NOT JUDGED", "bold yellow"),
}

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one file.

    Exactly one of ``report`` (valid), ``error`` (invalid) and ``problem`` (it can't be judged) is
    set.
    """

    file: str
    report: ContainerReport | None = None
    error: PostroadError | None = None
    problem: str | None = None
    claimed: LoggedMessage | None = None
    """What the message in an invalid container says of itself, where it can be read."""
    extracted: str | None = None

    @property
    def word(self) -> str:
        """The verdict in one word."""
        if self.report is not None:
            return "valid"
        return "invalid" if self.error is not None else "unknown"


def as_json(verdict: Verdict) -> dict[str, Json]:
    """Build the JSON form of a verdict."""
    out: dict[str, Json] = {"file": verdict.file, "verdict": verdict.word}
    if verdict.report is not None:
        out |= _report_as_json(verdict.report)
    if verdict.error is not None:
        out["error"] = {"code": verdict.error.fault_code, "message": verdict.error.message}
    if verdict.claimed is not None:
        out["claimed_message"] = _message_as_json(verdict.claimed)
    if verdict.problem is not None:
        out["problem"] = verdict.problem
    if verdict.extracted is not None:
        out["extracted_to"] = verdict.extracted
    return out


def _report_as_json(report: ContainerReport) -> dict[str, Json]:
    signature, ocsp = report.signature, report.signature.ocsp
    gap = report.signing_gap
    return {
        "message": _message_as_json(report.message) | {"size": report.message_size},
        "signature": {
            "signer": str(signature.signer),
            "member": str(signature.member),
            "algorithm": signature.algorithm.jca_name,
            "digest": signature.digest.label,
            "batch": signature.batch,
            "signing_time": _moment(signature.signing_time),
            "certificate": _certificate_as_json(signature.certificate),
            "issuer": _certificate_as_json(signature.issuer),
        },
        "ocsp": {
            "status": ocsp.status.value,
            "produced_at": _moment(ocsp.produced_at),
            "this_update": _moment(ocsp.this_update),
            "next_update": _moment(ocsp.next_update),
            "responder": ocsp.responder.subject_rfc2253,
        },
        "timestamp": {
            "time": _moment(report.timestamp.gen_time),
            "tsa": report.timestamp.tsa.subject_rfc2253,
            "algorithm": report.timestamp.algorithm.label,
            "serial": str(report.timestamp.serial),
            "batch": report.batch_timestamp,
        },
        "gaps": {
            "ocsp_to_timestamp_seconds": report.ocsp_gap.total_seconds(),
            "signing_to_timestamp_seconds": None if gap is None else gap.total_seconds(),
        },
        "attachments": [
            {
                "name": attachment.name,
                "size": attachment.size,
                "digest_algorithm": attachment.algorithm.label,
                "digest": attachment.digest.hex(),
                "verified": attachment.verified,
            }
            for attachment in report.attachments
        ],
        "warnings": list(report.warnings),
    }


def _message_as_json(message: LoggedMessage) -> dict[str, Json]:
    return {
        "kind": message.kind.value,
        "direction": _direction(message),
        "client": str(message.client),
        "service": str(message.service),
        "query_id": message.query_id,
        "request_id": message.request_id,
        "user_id": message.user_id,
        "issue": message.issue,
    }


def _certificate_as_json(certificate: Certificate) -> Json:
    return {
        "subject": certificate.subject_rfc2253,
        "serial": str(certificate.serial),
        "not_before": _moment(certificate.not_before),
        "not_after": _moment(certificate.not_after),
        "sha256": certificate.sha256.hex(),
    }


def renderables(verdict: Verdict) -> Iterator[RenderableType]:
    """Make the lines that a person reads: the verdict first, then what it rests on."""
    mark, style = _MARKS[verdict.word]
    warnings = () if verdict.report is None else verdict.report.warnings
    if warnings:
        mark, style = f"{mark}, with warnings", "bold yellow"
    yield Text.assemble((mark, style), "  ", (visible(verdict.file), "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _lines(verdict):
        table.add_row(f"  {label}", Text(visible(text)))
    for warning in warnings:
        table.add_row("  Warning", Text(visible(warning), "yellow"))
    yield table
    yield Text("")


def _lines(verdict: Verdict) -> Iterator[tuple[str, str]]:
    if verdict.error is not None:
        yield "Reason", verdict.error.message
        yield "Code", verdict.error.fault_code
    if verdict.claimed is not None:
        yield "", "The message says of itself, without proof:"
        yield from _message_lines(verdict.claimed)
    if verdict.problem is not None:
        yield "Reason", verdict.problem
    if verdict.report is not None:
        yield from _report_lines(verdict.report)
    if verdict.extracted is not None:
        yield "Extracted", verdict.extracted


def _report_lines(report: ContainerReport) -> Iterator[tuple[str, str]]:
    signature, ocsp = report.signature, report.signature.ocsp
    certificate, gap = signature.certificate, report.signing_gap
    yield from _message_lines(report.message)
    yield "Signed by", f"{signature.member}, for {signature.signer}"
    validity = f"valid {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
    yield "Certificate", f"{_name(certificate)}; serial {certificate.serial}; {validity}"
    yield "Issued by", _name(signature.issuer)
    how = "batch signature over a hash chain" if signature.batch else "signature of this message"
    yield "Signature", f"{signature.algorithm.jca_name}, digest {signature.digest.label}, {how}"
    if signature.signing_time is not None:
        yield "Signed at", f"{_time(signature.signing_time)} (the signer's claim)"
    answered = f"{ocsp.status.value}, produced {_time(ocsp.produced_at)}"
    yield "OCSP", f"{answered} by {_name(ocsp.responder)}"
    kind = "in a batch" if report.batch_timestamp else "for this signature"
    stamp = report.timestamp
    yield "Time-stamp", f"{_time(stamp.gen_time)} by {_name(stamp.tsa)}, {kind}"
    claimed = "" if gap is None else f"; from signing: {_duration(gap)}"
    yield "Gap", f"from OCSP to time-stamp: {_duration(report.ocsp_gap)}{claimed}"
    for attachment in report.attachments:
        yield "Attachment", _attachment(attachment)


def _message_lines(message: LoggedMessage) -> Iterator[tuple[str, str]]:
    yield "Message", f"{message.kind.value} {_direction(message)} {message.query_id}"
    yield "Client", str(message.client)
    yield "Service", str(message.service)


def _name(certificate: Certificate) -> str:
    return certificate.x509.subject.rfc4514_string(_FRIENDLY_NAMES)


def _attachment(attachment: AttachmentReport) -> str:
    state = (
        f"{attachment.size} bytes, verified"
        if attachment.verified
        else "not in the container, unverified"
    )
    return (
        f"{attachment.name}: {state}; {attachment.algorithm.label} {attachment.digest.hex()[:32]}…"
    )


def visible(text: str) -> str:
    r"""Make control and formatting characters of a stranger's text visible.

    >>> visible("a\x1b[2Jb") == r"a\x1b[2Jb"
    True
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _direction(message: LoggedMessage) -> str:
    return "response" if message.is_response else "request"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _duration(gap: timedelta) -> str:
    seconds = gap.total_seconds()
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    if abs(seconds) < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
