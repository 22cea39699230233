"""Does a path of certificates lead from this one to an approved authority, at this moment?

A short path check in the manner of RFC 5280 6.1, for the trust model of the ecosystem: the
authorities of the global configuration are the anchors, whether they're roots or not, so the
direct issuer of a certificate normally ends the path. Revocation is judged in ``ocsp``.
Source: PR-MESSTRANSP 3.2 and 3.3; reference: ``CertChain``, ``CertChainVerifier``.

What is checked on every path: (1) names join and signatures verify, (2) SHA-1 and MD5 signatures
are refused, (3) every certificate is valid at the moment, the anchor too, (4) issuers are
authorities by basicConstraints, and by keyUsage where stated, (5) path length bounds hold,
(6) nothing critical is left that we don't understand, (7) the leaf's
key is of a kind and size that's accepted. Name constraints are not processed, so a
certificate below the anchor that states them as critical is refused by (6).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import check_key_strength, verify_signature
from postroad.errors import FaultCode, MalformedInput, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from postroad.crypto.certificates import Certificate

MAX_PATH_LENGTH: Final = 10
"""Certificates in a path, both ends included."""
MAX_INTERMEDIATES: Final = 30
"""Helper certificates that a peer may offer."""

_UNDERSTOOD_EXTENSIONS: Final = (
    "2.5.29.14",  # subjectKeyIdentifier
    "2.5.29.15",  # keyUsage
    "2.5.29.17",  # subjectAltName
    "2.5.29.18",  # issuerAltName
    "2.5.29.19",  # basicConstraints
    "2.5.29.31",  # cRLDistributionPoints: revocation is OCSP's here
    "2.5.29.32",  # certificatePolicies: no policy is required here
    "2.5.29.33",  # policyMappings
    "2.5.29.35",  # authorityKeyIdentifier
    "2.5.29.37",  # extKeyUsage
    "1.3.6.1.5.5.7.1.1",  # authorityInfoAccess
    "1.3.6.1.5.5.7.1.3",  # qcStatements
)


def verify_issued_by(
    certificate: Certificate, issuer: Certificate, *, allow_legacy: bool = False
) -> None:
    """Return quietly if ``issuer`` is named by ``certificate`` and its key signed it.

    Raises ``TrustError`` (``cannot_create_cert_path``). ``allow_legacy`` admits SHA-1 and small
    RSA keys, for evidence of old.
    """
    reason = _why_not_issued_by(certificate, issuer, allow_legacy)
    if reason is not None:
        raise _no_path(reason)


def is_issued_by(
    certificate: Certificate, issuer: Certificate, *, allow_legacy: bool = False
) -> bool:
    """Whether ``issuer`` is named by ``certificate`` and its key signed it."""
    return _why_not_issued_by(certificate, issuer, allow_legacy) is None


@lru_cache(maxsize=4096)
def _why_not_issued_by(
    certificate: Certificate,
    issuer: Certificate,
    allow_legacy: bool,  # noqa: FBT001 - private, and the memory takes it by position
) -> str | None:
    if certificate.issuer_key != issuer.subject_key:
        return f"{certificate!r} is not issued by {issuer.subject_rfc2253}"
    try:
        verify_signature(
            issuer.public_key,
            certificate.signature_algorithm,
            certificate.x509.signature,
            certificate.x509.tbs_certificate_bytes,
            ecdsa_raw=False,
            allow_legacy=allow_legacy,
        )
    except (TrustError, MalformedInput) as error:
        return f"{certificate!r} is not signed by {issuer.subject_rfc2253}: {error}"
    return None


def verify_chain(
    leaf: Certificate,
    issuers: Sequence[Certificate],
    *,
    at: datetime,
    intermediates: Sequence[Certificate] = (),
    allow_legacy: bool = False,
) -> tuple[Certificate, ...]:
    """Find the shortest path from ``leaf`` to one of ``issuers`` that holds at ``at``.

    Every authority of a matching name is tried, so that two of the same name (a renewed key) don't
    shadow each other. Returns the path from leaf to anchor. Raises ``TrustError``
    (``cannot_create_cert_path``) that tells why the most promising path failed.
    """
    if len(intermediates) > MAX_INTERMEDIATES:
        raise _no_path(f"{len(intermediates)} intermediate certificates are more than anyone needs")
    reasons: list[str] = []
    anchors = frozenset(issuers)
    paths: list[tuple[Certificate, ...]] = [(leaf,)]
    seen = {leaf}
    while paths:
        path = paths.pop(0)  # breadth first: the shortest path strains length bounds least
        for issuer in _candidates(path[-1], issuers, intermediates):
            reason = _why_not_next(
                path, issuer, at, is_anchor=issuer in anchors, allow_legacy=allow_legacy
            )
            if reason is not None:
                reasons.append(reason)
            elif issuer in anchors:
                reason = _why_not_usable(leaf, at, allow_legacy=allow_legacy)
                if reason is not None:
                    raise _no_path(reason)
                return (*path, issuer)
            elif issuer not in seen and len(path) < MAX_PATH_LENGTH - 1:
                seen.add(issuer)
                paths.append((*path, issuer))
    raise _no_path(
        reasons[0]
        if reasons
        else f"no approved authority named {leaf.issuer_rfc2253} issued {leaf!r}"
    )


def _candidates(
    certificate: Certificate, issuers: Sequence[Certificate], intermediates: Sequence[Certificate]
) -> Iterable[Certificate]:
    """Possible issuers by name, anchors first."""
    for candidate in dict.fromkeys((*issuers, *intermediates)):
        if candidate.subject_key == certificate.issuer_key and candidate != certificate:
            yield candidate


def _why_not_next(
    path: tuple[Certificate, ...],
    issuer: Certificate,
    at: datetime,
    *,
    is_anchor: bool,
    allow_legacy: bool,
) -> str | None:
    """Why ``issuer`` can't continue the path; None if it can."""
    if issuer in path:
        return f"{issuer!r} stands in its own path"
    if not issuer.is_ca():
        return f"{issuer!r} is not an authority: basic constraints or key usage deny it"
    bound = issuer.basic_constraints.path_length if issuer.basic_constraints else None
    below = sum(1 for certificate in path[1:] if not certificate.is_self_signed)
    if bound is not None and below > bound:
        return f"{issuer!r} allows {bound} authorities below it, the path has {below}"
    return (
        _why_not_valid(issuer, at)
        or (None if is_anchor else _why_not_understood(issuer))
        or _why_not_issued_by(path[-1], issuer, allow_legacy)
    )


def _why_not_usable(leaf: Certificate, at: datetime, *, allow_legacy: bool) -> str | None:
    try:
        check_key_strength(leaf.public_key, allow_legacy=allow_legacy)
    except (TrustError, MalformedInput) as error:
        return f"the key of {leaf!r} cannot be used: {error}"
    return _why_not_valid(leaf, at) or _why_not_understood(leaf)


def _why_not_valid(certificate: Certificate, at: datetime) -> str | None:
    if certificate.is_valid_at(at):
        return None
    return (
        f"{certificate!r} is valid from {certificate.not_before.isoformat()} "
        f"to {certificate.not_after.isoformat()}, not at {at.isoformat()}"
    )


def _why_not_understood(certificate: Certificate) -> str | None:
    unknown = certificate.unknown_critical_extensions(_UNDERSTOOD_EXTENSIONS)
    if not unknown:
        return None
    return f"{certificate!r} has critical extensions we don't understand: {', '.join(unknown)}"


def _no_path(reason: str) -> TrustError:
    return TrustError(reason, code=FaultCode.CANNOT_CREATE_CERT_PATH)
