"""What do OCSP responders and time-stamping services answer now? Asked once for all checks."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.trust_services import fetch_ocsp_response
from postroad.crypto import timestamps
from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import OcspResponse, build_request
from postroad.crypto.timestamps import (
    MAX_TOKEN_BYTES,
    gen_time,
    parse_response,
    verify_token,
)
from postroad.errors import FaultCode, PostroadError, RefusedRequest
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.messagelog.records import SIGNATURE_DIGEST
from postroad.securityserver.ocsp_fetching import OcspTarget, targets_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.crypto.timestamps import VerifiedTimestamp
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import HttpFetcher, KeyCertificate
    from postroad.securityserver.doctor.patient import Patient

MAX_CERTIFICATES: Final = 50
MAX_RESPONDERS: Final = 5


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What one responder said about one certificate, not believed yet."""

    key: KeyCertificate
    target: OcspTarget
    url: str
    answer: OcspResponse | PostroadError
    at: datetime
    """When the answer came."""


@dataclass(frozen=True, slots=True)
class StampAnswer:
    """What one time-stamping service gave."""

    url: str
    approved: bool
    """Whether the global configuration lists a service of that address."""
    answer: VerifiedTimestamp | PostroadError
    claimed: datetime | None
    """The moment in the token, believed or not."""
    at: datetime


async def ocsp_answers(patient: Patient) -> tuple[OcspAnswer, ...]:
    """Ask every responder about every active certificate of ours, and about its authorities."""
    return await patient.once("ocsp", lambda: _ask_responders(patient))


async def _ask_responders(patient: Patient) -> tuple[OcspAnswer, ...]:
    globalconf = await patient.globalconf()
    asked: dict[tuple[bytes, str], tuple[KeyCertificate, OcspTarget, str]] = {}
    for key in [key for key in await patient.keys() if key.active][:MAX_CERTIFICATES]:
        try:
            targets = targets_of(Certificate.from_der(key.der), globalconf)
        except PostroadError:
            continue  # told by the checks of certificates
        for target in targets:
            for url in _responders(target, globalconf):
                asked.setdefault((target.subject.sha256, url), (key, target, url))
    fetcher = patient.fetcher()

    async def ask(key: KeyCertificate, target: OcspTarget, url: str) -> OcspAnswer:
        async def fetch() -> OcspResponse:
            request = build_request(target.subject, target.issuer)
            return OcspResponse.parse(await fetch_ocsp_response(fetcher, url, request))

        return OcspAnswer(key, target, url, await attempt(fetch()), patient.clock.now())

    return tuple(await asyncio.gather(*(ask(*question) for question in asked.values())))


def _responders(target: OcspTarget, globalconf: GlobalConfiguration) -> Sequence[str]:
    configured = [responder.url for responder in globalconf.responders_of(target.issuer)]
    return list(dict.fromkeys(configured or target.subject.ocsp_urls))[:MAX_RESPONDERS]


async def stamps(patient: Patient) -> tuple[StampAnswer, ...]:
    """Get a real time-stamp, over random octets, from every service that is configured."""
    return await patient.once("stamps", lambda: _ask_for_stamps(patient))


async def _ask_for_stamps(patient: Patient) -> tuple[StampAnswer, ...]:
    globalconf = await patient.globalconf()
    urls = list(dict.fromkeys(url for _name, url in (await patient.serverconf()).timestamping))
    listed = {
        service.url.strip()
        for instance in globalconf.instances
        for service in globalconf.approved_tsas(instance)
    }
    fetcher = patient.fetcher()

    async def ask(url: str) -> StampAnswer:
        token = await attempt(_fetch_token(fetcher, url, data))
        at = patient.clock.now()
        if isinstance(token, PostroadError):
            return StampAnswer(url, url in listed, token, None, at)
        verified = await attempt(_verify(token, data, globalconf))
        return StampAnswer(url, url in listed, verified, gen_time(token), at)

    data = secrets.token_bytes(32)
    return tuple(await asyncio.gather(*(ask(url) for url in urls)))


async def _fetch_token(fetcher: HttpFetcher, url: str, data: bytes) -> bytes:
    imprint = SIGNATURE_DIGEST.digest(data)
    response = await fetcher.fetch(
        "POST",
        url,
        headers=(("Content-Type", "application/timestamp-query"),),
        body=timestamps.build_request(imprint, SIGNATURE_DIGEST),
        max_body=MAX_TOKEN_BYTES,
    )
    if response.status != 200:
        raise RefusedRequest(
            f"it answered with HTTP status {response.status}",
            code=FaultCode.MLOG_TIMESTAMPING_NON_OK_RESPONSE,
        )
    return parse_response(response.body, imprint=imprint, algorithm=SIGNATURE_DIGEST)


async def _verify(token: bytes, data: bytes, globalconf: GlobalConfiguration) -> VerifiedTimestamp:
    return verify_token(token, data, globalconf.tsa_certificates())
