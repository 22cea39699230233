"""Is this the authentication certificate of a server that hosts this client, and is it good now?

Both sides of a connection between security servers ask it, about the certificate that the other
end showed in the TLS handshake. Source: PR-MESSTRANSP 3.2 (7) and 3.3 (4); reference:
AuthTrustVerifier, CertHelper. The steps of :func:`verify_peer`:

1. the certificate is made for authentication
2. the registry of the client's instance says that a server with this certificate hosts the client
3. it leads to an approved certification service of that instance
4. an authorised, fresh OCSP response says of every certificate on that path that it's good
"""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.crypto.ocsp import OcspResponse, require_good, verify_ocsp
from postroad.errors import FaultCode, PostroadError, TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId, SecurityServerId

MAX_CHAIN: Final = 10
"""Certificates that a peer may show."""


@dataclass(frozen=True, slots=True)
class VerifiedPeer:
    """A peer whose authentication certificate was found good for a client, until a moment.

    ``verified_at`` and ``valid_until`` bound the moments at which the same evidence leads to the
    same verdict.
    """

    certificate: Certificate
    server_id: SecurityServerId | None
    verified_at: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class GoodCertificate:
    """A certificate with its path and OCSP responses, found good until a moment."""

    path: tuple[Certificate, ...]
    ocsp_responses: tuple[bytes, ...]
    """DER, one for each certificate of the path but the anchor."""
    valid_until: datetime


def peer_path(
    chain: Sequence[Certificate], client: ClientId, globalconf: GlobalConfiguration, at: datetime
) -> tuple[Certificate, ...]:
    """Steps 1 to 3: the path from the certificate shown to an approved authority.

    ``chain`` is what the peer showed, its own certificate first. Raises ``TrustError``
    (``ssl_authentication_failed``).
    """
    if not chain:
        raise _refused("the other security server showed no certificate")
    leaf = chain[0]
    if not leaf.is_authentication():  # (1)
        raise _refused(f"{leaf!r} is not an authentication certificate")
    if not globalconf.auth_certificate_serves(leaf, client):  # (2)
        raise _refused(f"{leaf!r} is not registered for a security server of {client}")
    try:
        return path_to_authority(leaf, client.instance, globalconf, at, chain[1:MAX_CHAIN])  # (3)
    except PostroadError as error:
        raise _refused(f"the other security server's certificate: {error}") from error


def path_to_authority(
    leaf: Certificate,
    instance: str,
    globalconf: GlobalConfiguration,
    at: datetime,
    intermediates: Sequence[Certificate] = (),
) -> tuple[Certificate, ...]:
    """The path from a certificate to an approved authority of an instance, both included."""
    approved = [entry.certificate for entry in globalconf.approved_certificates(instance)]
    return verify_chain(leaf, approved, at=at, intermediates=intermediates)


def verify_peer(
    chain: Sequence[Certificate],
    ocsp_responses: Sequence[OcspResponse],
    *,
    client: ClientId,
    globalconf: GlobalConfiguration,
    at: datetime,
) -> VerifiedPeer:
    """Judge the certificate that a peer showed; see the steps above.

    Raises ``TrustError`` (``ssl_authentication_failed``) that tells which step failed.
    """
    path = peer_path(chain, client, globalconf, at)
    try:
        good = judge_path(path, ocsp_responses, client.instance, globalconf, at)  # (4)
    except PostroadError as error:
        raise _refused(f"the other security server's certificate: {error}") from error
    server = globalconf.server_by_auth_certificate(chain[0], client.instance)
    return VerifiedPeer(chain[0], server, at, good.valid_until)


def judge_path(
    path: Sequence[Certificate],
    ocsp_responses: Sequence[OcspResponse],
    instance: str,
    globalconf: GlobalConfiguration,
    at: datetime,
) -> GoodCertificate:
    """Step 4: an OCSP response for every certificate of the path but the anchor, and all good.

    Only responders that ``instance`` configures may speak for its authorities, and they themselves.
    Raises ``TrustError`` (``cert_validation``, ``incorrect_validation_info``).
    """
    policy = globalconf.ocsp_policy
    used: list[bytes] = []
    limits = [certificate.not_after for certificate in path]
    for subject, issuer in itertools.pairwise(path):
        response = next((r for r in ocsp_responses if r.matches(subject, issuer)), None)
        if response is None:
            raise TrustError(f"no OCSP response for {subject!r}", code=FaultCode.CERT_VALIDATION)
        configured = [
            responder.certificate
            for responder in globalconf.responders_of(issuer, instance)
            if responder.certificate is not None
        ]
        verified = verify_ocsp(
            response,
            subject,
            issuer,
            at=at,
            policy=policy,
            responders=configured,
            ca_certificates=globalconf.ca_certificates(),
        )
        require_good(verified)
        used.append(response.der)
        limits.append(verified.this_update + policy.freshness)
        if policy.verify_next_update and verified.next_update is not None:
            limits.append(verified.next_update)
    return GoodCertificate(tuple(path), tuple(used), min(limits))


class PeerVerdicts:
    """Remembers good verdicts for exactly as long as the same evidence would lead to them.

    The key is the evidence: certificates, OCSP responses and client, by their digests, for a peer
    may send much of it. A new global configuration forgets everything, for it may have taken a
    server, a client or an authority away.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._globalconf: GlobalConfiguration | None = None
        self._verdicts: OrderedDict[object, VerifiedPeer] = OrderedDict()

    def verify(
        self,
        chain: Sequence[Certificate],
        ocsp_responses: Sequence[bytes],
        *,
        client: ClientId,
        globalconf: GlobalConfiguration,
        at: datetime,
    ) -> VerifiedPeer:
        """As :func:`verify_peer`, with OCSP responses in DER."""
        if globalconf is not self._globalconf:
            self._globalconf = globalconf
            self._verdicts.clear()
        key = (
            tuple(certificate.sha256 for certificate in chain),
            tuple(hashlib.sha256(der).digest() for der in ocsp_responses),
            client,
        )
        known = self._verdicts.get(key)
        if known is not None and known.verified_at <= at <= known.valid_until:
            return known
        try:
            responses = [OcspResponse.parse(der) for der in ocsp_responses]
        except PostroadError as error:
            raise _refused(f"the other security server's OCSP response: {error}") from error
        verdict = verify_peer(chain, responses, client=client, globalconf=globalconf, at=at)
        self._verdicts[key] = verdict
        while len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)
        return verdict


def certificates_of(ders: Sequence[bytes]) -> tuple[Certificate, ...]:
    """Parse what a peer showed; raises ``TrustError`` (``ssl_authentication_failed``)."""
    if len(ders) > MAX_CHAIN:
        raise _refused(f"the other security server showed more than {MAX_CHAIN} certificates")
    try:
        return tuple(Certificate.from_der(der) for der in ders)
    except PostroadError as error:
        raise _refused(f"the other security server's certificate: {error}") from error


def _refused(message: str) -> TrustError:
    return TrustError(message, code=FaultCode.SSL_AUTHENTICATION_FAILED)
