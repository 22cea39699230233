"""Trusted anchors of other instances. Source: reference ``TrustedAnchorsApiController``."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import HttpClient
from postroad.centralserver.api.operations import Call, Download, Operation, Upload, any_of
from postroad.centralserver.api.schemas import Payload
from postroad.centralserver.federation import preview_anchor, upload_anchor
from postroad.centralserver.registry import trusted_anchors
from postroad.centralserver.roles import Permission

if TYPE_CHECKING:
    from postroad.centralserver.registry.trusted_anchors import AnchorPreview


class TrustedAnchorFile(Payload):
    """An anchor to be trusted."""

    anchor: Upload


class TrustedAnchor(Payload):
    """The anchor of another instance."""

    instance_identifier: str
    hash: str
    generated_at: datetime | None = None


def list_anchors(call: Call) -> list[TrustedAnchor]:
    """All trusted anchors."""
    with call.reading() as session:
        return [
            TrustedAnchor(
                instance_identifier=row.instance_identifier,
                hash=row.fingerprint,
                generated_at=row.generated_at,
            )
            for row in trusted_anchors.list_trusted_anchors(session)
        ]


def preview(call: Call) -> TrustedAnchor:
    """What an anchor says, for the person who compares its fingerprint."""
    body: TrustedAnchorFile = call.body
    return _payload(preview_anchor(call.node, body.anchor.data))


def upload(call: Call) -> TrustedAnchor:
    """Verify an anchor by what it leads to, and trust it."""
    body: TrustedAnchorFile = call.body
    found = asyncio.run(_uploaded(call, body.anchor.data))
    call.audited.update(
        instanceIdentifier=found.anchor.instance,
        anchorFileHash=found.fingerprint,
        anchorFileHashAlgorithm="SHA-224",
        anchorUrls=[source.download_url for source in found.anchor.sources],
    )
    return _payload(found)


def download(call: Call) -> Download:
    """A trusted anchor, byte for byte as it was uploaded."""
    with call.reading() as session:
        row = trusted_anchors.load_trusted_anchor(session, call.path["hash"])
        made = f"{row.generated_at:%Y-%m-%d_%H_%M_%S}" if row.generated_at else "unknown_time"
        return Download(row.anchor, f"configuration_anchor_UTC_{made}.xml", "application/xml")


def delete(call: Call) -> None:
    """No longer trust an instance."""
    with call.changing() as change:
        trusted_anchors.delete_trusted_anchor(change, call.path["hash"])


async def _uploaded(call: Call, data: bytes) -> AnchorPreview:
    http = HttpClient()
    try:
        return await upload_anchor(call.node, data, http, call.actor)
    finally:
        http.close()


def _payload(found: AnchorPreview) -> TrustedAnchor:
    return TrustedAnchor(
        instance_identifier=found.anchor.instance,
        hash=found.fingerprint,
        generated_at=found.anchor.generated_at,
    )


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/trusted-anchors",
        name="getTrustedAnchors",
        handler=list_anchors,
        needs=any_of(Permission.VIEW_TRUSTED_ANCHORS),
        answer=list[TrustedAnchor],
    ),
    Operation(
        method="POST",
        path="/trusted-anchors",
        name="uploadTrustedAnchor",
        handler=upload,
        needs=any_of(Permission.UPLOAD_TRUSTED_ANCHOR),
        status=201,
        form=TrustedAnchorFile,
        answer=TrustedAnchor,
        event="Add trusted anchor",
    ),
    Operation(
        method="POST",
        path="/trusted-anchors/preview",
        name="previewTrustedAnchor",
        handler=preview,
        needs=any_of(Permission.UPLOAD_TRUSTED_ANCHOR),
        form=TrustedAnchorFile,
        answer=TrustedAnchor,
    ),
    Operation(
        method="DELETE",
        path="/trusted-anchors/{hash}",
        name="deleteTrustedAnchor",
        handler=delete,
        needs=any_of(Permission.DELETE_TRUSTED_ANCHOR),
        status=204,
        event="Delete trusted anchor",
    ),
    Operation(
        method="GET",
        path="/trusted-anchors/{hash}/download",
        name="downloadTrustedAnchor",
        handler=download,
        needs=any_of(Permission.DOWNLOAD_TRUSTED_ANCHOR),
        answer=Download,
    ),
)
