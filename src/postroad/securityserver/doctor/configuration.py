"""Can the global configuration be downloaded now, and proven by the anchor?

It is downloaded by the doctor itself, whole, and stored nowhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from postroad.adapters.configuration_download import converse
from postroad.errors import FaultCode, PostroadError, UnavailablePeer
from postroad.globalconf.anchor import Anchor
from postroad.globalconf.source_state import SourceState
from postroad.globalconf.trusted import UpdateScope
from postroad.globalconf.updates import stored_shared_parameters, update_instance
from postroad.securityserver.background import UnverifiedWeb
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import PatientFetcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.globalconf.shared_values import ConfigurationSource
    from postroad.globalconf.trusted import AcceptedUpdate
    from postroad.securityserver.doctor.patient import HttpDate, Patient

NAME: Final = "configuration download"


@dataclass(frozen=True, slots=True)
class Download:
    """How a download by ourselves went."""

    version: int | None
    """None when nothing was accepted."""
    url: str
    failures: tuple[tuple[str, PostroadError], ...]
    error: PostroadError | None
    dates: tuple[HttpDate, ...]
    anchored: frozenset[str] = frozenset()
    """The hosts that the anchor names."""
    published: frozenset[str] = frozenset()
    """The hosts that the configuration itself names as its sources; empty before version 3."""
    unknown_certificates: int = 0
    """Certificates that the configuration names for our kind of source, and the anchor doesn't."""


async def download(patient: Patient) -> Download:
    """Download once; every check that wants to know shares the outcome."""
    return await patient.once("download", lambda: _download(patient))


async def _download(patient: Patient) -> Download:
    settings = patient.settings
    anchor = Anchor.parse(await asyncio.to_thread(settings.anchor_path.read_bytes))
    web = patient.http if settings.configuration_client.verify_tls else UnverifiedWeb(patient.http)
    fetcher = PatientFetcher(web, patient.clock, patient.answer_seconds)
    dialogue = update_instance(
        anchor,
        UpdateScope(anchor.instance, is_own=True),
        stored={},
        state=SourceState(""),
        shuffle=list,
    )
    patience = patient.answer_seconds + 1.0
    try:
        async with asyncio.timeout(patience):
            outcome = await converse(dialogue, fetcher, patient.clock)
    except TimeoutError:
        silence = UnavailablePeer(f"no whole answer within {patience:g} s")
        tried = tuple((source.download_url, silence) for source in anchor.sources)
        return Download(None, "", tried, silence, tuple(fetcher.dates))
    location = outcome.state.location
    accepted = outcome.accepted
    sources = () if accepted is None else _sources(accepted, anchor.instance)
    known = {der for source in anchor.sources for der in source.verification_certificates}
    return Download(
        version=None if accepted is None else accepted.directory.version,
        url="" if location is None else location.url,
        failures=tuple((failure.url, failure.error) for failure in outcome.failures),
        error=outcome.error,
        dates=tuple(fetcher.dates),
        anchored=frozenset(
            urlsplit(source.download_url).hostname or "" for source in anchor.sources
        ),
        published=frozenset(urlsplit(f"//{source.address}").hostname or "" for source in sources),
        unknown_certificates=len(
            {der for source in sources for der in source.internal_verification_certificates} - known
        ),
    )


def _sources(accepted: AcceptedUpdate, instance: str) -> Sequence[ConfigurationSource]:
    shared = stored_shared_parameters(accepted.instances, instance)
    return () if shared is None else shared.sources


async def examine(patient: Patient) -> Sequence[Finding]:
    """Download, and say how it went."""
    return judge(await download(patient))


def judge(seen: Download) -> list[Finding]:
    """One address that gives a proven configuration is enough."""
    tell = Telling(NAME)
    if seen.error is None:
        moved = seen.published and not seen.anchored & seen.published
        if moved or seen.unknown_certificates:
            what = "names other addresses" if moved else "doesn't know the newest signing keys"
            return [
                tell.warning(
                    f"the anchor {what}: it will stop working when the old ones go",
                    "get the newest anchor from the Central Server's operator",
                )
            ]
        return [tell.ok(f"version {seen.version} from {seen.url}, signature proven")]
    tried = ", ".join(dict.fromkeys(url for url, _error in seen.failures)) or "no address"
    if all(isinstance(error, UnavailablePeer) for _url, error in seen.failures):
        return [
            tell.failed(
                f"the Central Server can't be reached ({tried}): {seen.error.message}",
                "ask the Central Server's operator, and look at the firewall between",
            )
        ]
    if seen.error.code is FaultCode.GLOBAL_CONF_OUTDATED:
        return [
            tell.failed(
                f"the Central Server hands out an expired configuration: {seen.error.message}",
                "ask the Central Server's operator: it doesn't publish, or its keys are not open",
                symptom_of=("clock",),
            )
        ]
    return [
        tell.failed(
            f"what the addresses of the anchor give ({tried}) can't be proven: "
            f"{seen.error.message}",
            "the anchor and its sources don't belong together: get the anchor anew, compare its "
            "fingerprint by another way",
            symptom_of=("clock",),
        )
    ]
