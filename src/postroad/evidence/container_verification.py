"""Does this container prove that its message was signed, and when?

:func:`verify_container` is the recipe of an independent verifier (PR-SIGDOC; reference:
AsicContainerVerifier). Steps:

1. the signature refers to the message, or to a hash chain result
2. the message says who must have signed it
3. an approved authority stamped the signature: directly, or as one of a batch by a hash chain
4. the signature holds as of the moment of the time-stamp (``verification``)
5. what remains in the container is told: parts that were not archived, entries nobody signed

Where we are stricter than the reference: an attachment in the container must be the one that was
signed. The reference prints "(unverified)" for one that differs, and says the container is valid;
but who reads "valid" beside a forged attachment has been misled. An attachment that is *missing*
is another matter, because bodies needn't be archived: it's listed as unverified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.timestamps import verify_token
from postroad.errors import PostroadError
from postroad.evidence.digests import (
    ATTACHMENT_PREFIX,
    HASH_CHAIN_RESULT_PART,
    MESSAGE_PART,
    SIGNATURES_PART,
    TIMESTAMP_CHAIN_PART,
    PartDigest,
)
from postroad.evidence.hashchain_verification import ChainPolicy, verify_hash_chain
from postroad.evidence.logged_message import parse_logged_message
from postroad.evidence.verification import (
    SIGNING_TIME_TOLERANCE,
    SignatureDocument,
    require_signed_message,
    verify_signature_at,
)
from postroad.evidence.xades_parsing import malformed, parse_signature

if TYPE_CHECKING:
    from datetime import timedelta

    from postroad.crypto.timestamps import VerifiedTimestamp
    from postroad.evidence.asic import AsicContainer
    from postroad.evidence.logged_message import LoggedMessage
    from postroad.evidence.verification import VerifiedSignature
    from postroad.evidence.xades_parsing import ParsedSignature
    from postroad.globalconf.view import GlobalConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentReport:
    """A body or attachment: ``verified`` when it is in the container and is what was signed."""

    name: str
    algorithm: DigestAlgorithm
    digest: bytes
    size: int | None
    """In bytes; None when the container doesn't hold it."""
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerReport:
    """A container that holds: who signed which message, with what, and when it existed."""

    message: LoggedMessage
    message_size: int
    signature: VerifiedSignature
    timestamp: VerifiedTimestamp
    timestamp_token: bytes
    batch_timestamp: bool
    attachments: tuple[AttachmentReport, ...]
    warnings: tuple[str, ...]

    @property
    def ocsp_gap(self) -> timedelta:
        """Time from the OCSP response to the time-stamp: the window left open by the proof."""
        return self.timestamp.gen_time - self.signature.ocsp.produced_at

    @property
    def signing_gap(self) -> timedelta | None:
        """Time from the signer's own claim to the time-stamp."""
        signing_time = self.signature.signing_time
        return None if signing_time is None else self.timestamp.gen_time - signing_time


def verify_container(container: AsicContainer, globalconf: GlobalConfiguration) -> ContainerReport:
    """Verify everything a container proves; see the steps above.

    Whether the configuration has expired isn't asked: old evidence needs old configuration.
    Raises ``MalformedInput`` or ``TrustError`` with the codes of the reference.
    """
    signature = parse_signature(container.signatures)
    require_signed_message(signature)  # (1)
    message = parse_logged_message(container.message)  # (2)
    token, timestamp = _verify_timestamp(container, signature, globalconf)  # (3)
    verified = verify_signature_at(  # (4)
        signature,
        SignatureDocument(container.signatures, container.hash_chain_result, container.hash_chain),
        signer=message.signer,
        parts=_parts(container),
        globalconf=globalconf,
        at=timestamp.gen_time,
        archived=True,
    )
    return ContainerReport(  # (5)
        message=message,
        message_size=len(container.message),
        signature=verified,
        timestamp=timestamp,
        timestamp_token=token,
        batch_timestamp=container.timestamp_chain_result is not None,
        attachments=_attachments(container, verified),
        warnings=(
            *_warnings(container, signature, verified, timestamp),
            *verified.warnings,
            *timestamp.warnings,
        ),
    )


def stamped_data(container: AsicContainer, signature: ParsedSignature) -> bytes:
    """Return the octets that the time-stamp must be over.

    For a batch these are the octets of the hash chain result, else those of the signature value.
    """
    if container.timestamp_chain_result is not None:
        return container.timestamp_chain_result
    return signature.value


def _verify_timestamp(
    container: AsicContainer, signature: ParsedSignature, globalconf: GlobalConfiguration
) -> tuple[bytes, VerifiedTimestamp]:
    if container.timestamp is not None:
        token = container.timestamp
    elif len(signature.timestamps) == 1:
        token = signature.timestamps[0]
    else:
        raise malformed(f"the container has {len(signature.timestamps)} time-stamps, not one")
    if container.timestamp_chain_result is not None and container.timestamp_chain is not None:
        try:
            verify_hash_chain(
                container.timestamp_chain_result,
                {TIMESTAMP_CHAIN_PART: container.timestamp_chain},
                {SIGNATURES_PART: container.signatures},
                policy=ChainPolicy(allow_transforms=False, allow_legacy=True),
            )
        except PostroadError as error:
            raise malformed(f"its batch time-stamp does not hold: {error.message}") from error
    verified = verify_token(
        token,
        stamped_data(container, signature),
        globalconf.tsa_certificates(),
        allow_legacy=True,
    )
    return token, verified


def _parts(container: AsicContainer) -> dict[str, PartDigest]:
    named = [
        (MESSAGE_PART, container.message),
        *((f"/{attachment.name}", attachment.data) for attachment in container.attachments),
    ]
    return {name: PartDigest.of(name, data, DigestAlgorithm.SHA512) for name, data in named}


def _attachments(
    container: AsicContainer, verified: VerifiedSignature
) -> tuple[AttachmentReport, ...]:
    # All that are present are covered and right, or verification would have failed.
    present = (
        AttachmentReport(
            name=attachment.name,
            algorithm=DigestAlgorithm.SHA512,
            digest=DigestAlgorithm.SHA512.digest(attachment.data),
            size=len(attachment.data),
            verified=True,
        )
        for attachment in container.attachments
    )
    missing = (
        AttachmentReport(
            name=reference.name.removeprefix("/"),
            algorithm=reference.algorithm,
            digest=reference.value,
            size=None,
            verified=False,
        )
        for reference in (verified.chain.unverified if verified.chain else ())
    )
    return (*present, *missing)


def _warnings(
    container: AsicContainer,
    signature: ParsedSignature,
    verified: VerifiedSignature,
    timestamp: VerifiedTimestamp,
) -> list[str]:
    warnings = []
    if container.hash_chain is not None and not signature.references_to(HASH_CHAIN_RESULT_PART):
        warnings.append(
            "the container holds a hash chain that is not signed: it proves nothing and was ignored"
        )
    if container.ignored:
        listed = ", ".join(repr(name[:100]) for name in container.ignored[:10])
        warnings.append(f"the container holds entries that nothing covers: {listed}")
    for reference in verified.chain.unverified if verified.chain else ():
        kind = "attachment" if reference.name.startswith(ATTACHMENT_PREFIX) else "part"
        warnings.append(
            f"the signed {kind} {reference.name.removeprefix('/')!r} is not in the container"
        )
    if timestamp.gen_time + SIGNING_TIME_TOLERANCE < verified.ocsp.produced_at:
        warnings.append("the OCSP response was produced after the time-stamp")
    return warnings
