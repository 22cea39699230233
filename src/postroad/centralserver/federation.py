"""How does a Central Server make sure that a trusted anchor leads where it should?

The anchor must lead to an external configuration: signed by a key that it names, unexpired, with
shared parameters of the instance that it names, and without private ones. Source: reference
``TrustedAnchorServiceImpl`` and the option ``--verifyAnchorForExternalSource`` of its client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.adapters.configuration_download import check_anchor
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.trusted_anchors import (
    add_trusted_anchor,
    preview_trusted_anchor,
)
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.registry.trusted_anchors import AnchorPreview
    from postroad.ports import HttpFetcher


def preview_anchor(node: CentralServerNode, data: bytes) -> AnchorPreview:
    """What an anchor file says, without asking its addresses; ``RegistryRefusal`` if unusable."""
    with node.reading() as session:
        return preview_trusted_anchor(session, data)


async def upload_anchor(
    node: CentralServerNode, data: bytes, fetcher: HttpFetcher, actor: str
) -> AnchorPreview:
    """Verify an anchor by downloading what it leads to, then trust it from the next generation on.

    Returns what was uploaded. Raises ``RegistryRefusal``; nothing is changed then.
    """
    preview = preview_anchor(node, data)
    try:
        await check_anchor(preview.anchor, fetcher, node.clock, is_own=False)
    except PostroadError as error:
        raise RegistryRefusal(
            Problem.TRUSTED_ANCHOR_NOT_VERIFIED,
            f"the anchor of {preview.anchor.instance} doesn't lead to its external configuration: "
            f"{error.message}",
        ) from error
    # No transaction was open while strangers were asked: the rules are checked again inside.
    with node.changing(actor) as change:
        add_trusted_anchor(change, data)
    return preview
