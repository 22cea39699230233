"""Is the configuration anchor a good one, and of this server's instance?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from postroad.crypto.certificates import Certificate
from postroad.errors import PostroadError
from postroad.globalconf.anchor import MAX_ANCHOR_BYTES, Anchor, fingerprint
from postroad.securityserver.doctor.findings import Finding, Telling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "anchor"
_ADVICE: Final = (
    "get the anchor from the Central Server's operator, compare its fingerprint by another way, "
    "and put it in its place"
)


async def examine(patient: Patient) -> Sequence[Finding]:
    """Read the anchor."""
    data = await asyncio.to_thread(read, patient.settings.anchor_path)
    return judge(data, patient.settings.server_id.instance, patient.clock.now())


def read(path: Path) -> bytes | str:
    """The anchor's bytes, or why it can't be read; blocking."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_ANCHOR_BYTES + 1)
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"


def judge(data: bytes | str, instance: str, at: datetime) -> list[Finding]:
    """It parses, is of our instance, and names certificates that can verify something."""
    tell = Telling(NAME)
    if isinstance(data, str):
        return [tell.failed(data, _ADVICE, symptom_of=("files",))]
    try:
        anchor = Anchor.parse(data)
        certificates = [
            Certificate.from_pem_or_der(der)
            for source in anchor.sources
            for der in source.verification_certificates
        ]
    except PostroadError as error:
        return [tell.failed(f"it is none: {error.message}", _ADVICE)]
    if anchor.instance != instance:
        return [
            tell.failed(
                f"it is of the instance {anchor.instance!r}, the server of {instance!r}", _ADVICE
            )
        ]
    seen = f"of {anchor.instance}, {len(anchor.sources)} sources, {fingerprint(data)}"
    if certificates and all(at > certificate.not_after for certificate in certificates):
        # Their dates don't count for the protocol: the anchor itself vouches for them.
        return [tell.warning(f"{seen}; all its certificates have expired", _ADVICE)]
    return [tell.ok(seen)]
