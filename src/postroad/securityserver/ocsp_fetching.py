"""How does a server keep fresh OCSP responses for its own certificates?

For every active certificate and for every authority between it and a self-signed one, the
responders that the global configuration names are asked, then those that the certificate itself
names; the first answer that proves to be an authorised, fresh one is stored, whatever it says of
the certificate. Reference: OcspClientWorker; freshness rules: PR-GCONF extensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import write_atomic
from postroad.adapters.trust_services import fetch_ocsp_response
from postroad.crypto.chains import is_issued_by
from postroad.crypto.ocsp import OcspResponse, VerifiedOcsp, build_request, verify_ocsp
from postroad.errors import ConfigurationError, FaultCode, PostroadError, UnavailablePeer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.crypto.certificates import Certificate
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import HttpFetcher

MAX_DEPTH: Final = 10
MAX_URLS: Final = 10


@dataclass(frozen=True, slots=True)
class OcspTarget:
    """A certificate that needs an OCSP response, and the authority that issued it."""

    subject: Certificate
    issuer: Certificate


@dataclass(frozen=True, slots=True)
class FetchedOcsp:
    """A response that was fetched, proven and stored."""

    target: OcspTarget
    verified: VerifiedOcsp
    url: str
    der: bytes


def targets_of(certificate: Certificate, globalconf: GlobalConfiguration) -> tuple[OcspTarget, ...]:
    """What needs OCSP responses so that peers can trust a certificate of ours.

    The certificate first, then its authorities up to the last that is not self-signed. Raises
    `ConfigurationError` (`cannot_create_cert_path`) when no approved authority issued it.
    """
    targets: list[OcspTarget] = []
    subject = certificate
    while not subject.is_self_signed and len(targets) < MAX_DEPTH:
        candidates = (entry.certificate for entry in globalconf.issuers_anywhere(subject))
        issuer = next((ca for ca in candidates if is_issued_by(subject, ca)), None)
        if issuer is None:
            break  # an approved authority may itself be issued by one that is not approved
        targets.append(OcspTarget(subject, issuer))
        subject = issuer
    if not targets:
        raise ConfigurationError(
            f"no approved certification service issued {certificate!r}",
            code=FaultCode.CANNOT_CREATE_CERT_PATH,
        )
    return tuple(targets)


def verify_for(
    target: OcspTarget, der: bytes, globalconf: GlobalConfiguration, at: datetime
) -> VerifiedOcsp:
    """Judge a response by what the global configuration says of the target's issuer."""
    configured = [
        responder.certificate
        for responder in globalconf.responders_of(target.issuer)
        if responder.certificate is not None
    ]
    return verify_ocsp(
        OcspResponse.parse(der),
        target.subject,
        target.issuer,
        at=at,
        policy=globalconf.ocsp_policy,
        responders=configured,
        ca_certificates=globalconf.ca_certificates(),
    )


class OcspClient:
    """Fetches OCSP responses for own certificates into the directory that the workers watch."""

    def __init__(self, directory: Path, fetcher: HttpFetcher, clock: Clock) -> None:
        self._directory = directory
        self._fetcher = fetcher
        self._clock = clock

    async def fetch(self, target: OcspTarget, globalconf: GlobalConfiguration) -> FetchedOcsp:
        """Fetch, prove and store the response for one certificate.

        Raises what the last responder failed with, `UnavailablePeer` if there is none to ask.
        """
        failure: PostroadError = UnavailablePeer(
            f"no OCSP responder is known for {target.subject!r}", code=FaultCode.CERT_VALIDATION
        )
        request = build_request(target.subject, target.issuer)
        for url in _responder_urls(target, globalconf):
            try:
                der = await fetch_ocsp_response(self._fetcher, url, request)
                verified = verify_for(target, der, globalconf, self._clock.now())
            except PostroadError as error:
                failure = error
            else:
                self._store(target.subject, der)
                return FetchedOcsp(target, verified, url, der)
        raise failure

    def _store(self, subject: Certificate, der: bytes) -> None:
        path = self._directory / f"{subject.sha1.hex()}.ocsp"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(path, der, mode=0o600)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error


def _responder_urls(target: OcspTarget, globalconf: GlobalConfiguration) -> Sequence[str]:
    configured = [responder.url for responder in globalconf.responders_of(target.issuer)]
    return list(dict.fromkeys((*configured, *target.subject.ocsp_urls)))[:MAX_URLS]
