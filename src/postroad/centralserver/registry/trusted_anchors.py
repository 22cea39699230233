"""Which federated instances may our Security Servers exchange messages with?

A trusted anchor is the external anchor of another instance, carried by hand and compared by its
fingerprint. It goes into our private parameters as a configuration source, byte for byte in what
it says. Source: reference ``TrustedAnchorServiceImpl``. Three rules go beyond it: an anchor of our
own instance is refused (our own servers have one already), so is one that is older than what it
would replace, and so is one without an address that can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from postroad.centralserver.models.system import TrustedAnchor
from postroad.centralserver.registry.parameters import own_instance
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.errors import MalformedInput
from postroad.globalconf.anchor import Anchor, fingerprint
from postroad.globalconf.locations import check_url
from postroad.globalconf.parts import encode_directory_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change

MAX_TRUSTED_ANCHORS = 200
"""Each one is in every generation's private parameters and polled by every Security Server."""


@dataclass(frozen=True, slots=True)
class AnchorPreview:
    """What an uploaded file says, for the person who compares its fingerprint."""

    anchor: Anchor
    fingerprint: str
    replaces: str | None
    """Fingerprint of the trusted anchor of the same instance, None when there is none."""


def list_trusted_anchors(session: Session) -> Sequence[TrustedAnchor]:
    """All trusted anchors, by instance."""
    return session.scalars(select(TrustedAnchor).order_by(TrustedAnchor.instance_identifier)).all()


def load_trusted_anchor(session: Session, anchor_fingerprint: str) -> TrustedAnchor:
    """The trusted anchor with that fingerprint (colons and case don't matter); refused if none."""
    wanted = _digits(anchor_fingerprint)
    for row in list_trusted_anchors(session):
        if _digits(row.fingerprint) == wanted:
            return row
    raise RegistryRefusal(
        Problem.TRUSTED_ANCHOR_NOT_FOUND,
        f"no trusted anchor has the fingerprint {anchor_fingerprint[:100]!r}",
    )


def preview_trusted_anchor(session: Session, data: bytes) -> AnchorPreview:
    """What an anchor file says, if it may be uploaded; nothing is changed, nothing is fetched."""
    anchor = _parse(data)
    _check_instance(session, anchor)
    held = _held(session, anchor.instance)
    _check_age(anchor, data, held)
    return AnchorPreview(anchor, fingerprint(data), None if held is None else held.fingerprint)


def add_trusted_anchor(change: Change, data: bytes) -> bool:
    """Trust the instance of an anchor file from the next generation on; False if we do already.

    An earlier anchor of the same instance is replaced. The caller has verified that the anchor
    leads to an external configuration (``centralserver.federation``).
    """
    session = change.session
    preview = preview_trusted_anchor(session, data)
    anchor = preview.anchor
    row = _held(session, anchor.instance)
    if row is not None and row.anchor == data:
        return False
    if row is None:
        count = session.scalar(select(func.count()).select_from(TrustedAnchor)) or 0
        if count >= MAX_TRUSTED_ANCHORS:
            raise RegistryRefusal(
                Problem.TOO_MANY_TRUSTED_ANCHORS,
                f"there are {count} trusted anchors; delete one first",
            )
        row = TrustedAnchor(instance_identifier=anchor.instance)
        session.add(row)
    row.anchor = data
    row.fingerprint = preview.fingerprint
    row.generated_at = anchor.generated_at
    change.record(
        "Add trusted anchor",
        instanceIdentifier=anchor.instance,
        anchorFileHash=preview.fingerprint,
        anchorFileHashAlgorithm="SHA-224",
        generatedAt=None if anchor.generated_at is None else anchor.generated_at.isoformat(),
        anchorUrls=[source.download_url for source in anchor.sources],
        replacedAnchorFileHash=preview.replaces,
    )
    return True


def delete_trusted_anchor(change: Change, anchor_fingerprint: str) -> None:
    """No longer trust an instance: its configuration leaves our Security Servers within a poll."""
    row = load_trusted_anchor(change.session, anchor_fingerprint)
    change.session.delete(row)
    change.record(
        "Delete trusted anchor",
        instanceIdentifier=row.instance_identifier,
        anchorFileHash=row.fingerprint,
        anchorFileHashAlgorithm="SHA-224",
    )


def _parse(data: bytes) -> Anchor:
    try:
        anchor = Anchor.parse(data)
        # What can't be a directory of its own, or can't be asked, would only fail at the servers.
        encode_directory_name(anchor.instance)
        for source in anchor.sources:
            check_url(source.download_url)
    except MalformedInput as error:
        raise RegistryRefusal(
            Problem.MALFORMED_ANCHOR, f"the file is no usable anchor: {error.message}"
        ) from error
    return anchor


def _check_instance(session: Session, anchor: Anchor) -> None:
    own = own_instance(session)
    # The federation filter of Security Servers doesn't tell upper from lower case either.
    if anchor.instance.casefold() == own.casefold():
        raise RegistryRefusal(
            Problem.TRUSTED_ANCHOR_OF_OWN_INSTANCE,
            f"the anchor is of our own instance {own}; upload the external anchor of another one",
        )


def _check_age(anchor: Anchor, data: bytes, held: TrustedAnchor | None) -> None:
    if held is None or held.generated_at is None or held.anchor == data:
        return
    if anchor.generated_at is None or anchor.generated_at < held.generated_at:
        made = "at an unknown time" if anchor.generated_at is None else f"{anchor.generated_at}"
        raise RegistryRefusal(
            Problem.TRUSTED_ANCHOR_OLDER,
            f"the anchor of {anchor.instance} was generated {made}, the trusted one "
            f"{held.generated_at}; to go back on purpose, delete the trusted one first",
        )


def _held(session: Session, instance: str) -> TrustedAnchor | None:
    wanted = select(TrustedAnchor).where(TrustedAnchor.instance_identifier == instance)
    return session.scalars(wanted).one_or_none()


def _digits(text: str) -> str:
    return text.replace(":", "").strip().upper()
