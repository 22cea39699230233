"""Configuration sources: their anchors and addresses.

Source: reference ``ConfigurationSourceAnchorsController``, ``ConfigurationSourcesController``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.operations import Call, Download, Operation, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload
from postroad.centralserver.api.signing_keys import source_type_of
from postroad.centralserver.registry.parameters import own_instance
from postroad.centralserver.registry.sources import (
    SourceType,
    find_source,
    load_anchor,
    node_address,
    rebuild_anchors,
)
from postroad.centralserver.roles import Permission
from postroad.globalconf.anchor import fingerprint

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class ConfigurationAnchor(Payload):
    """What people compare of an anchor."""

    hash: str
    created_at: datetime


class ConfigurationAnchorContainer(Payload):
    """The anchor of a source, if there is one."""

    anchor: ConfigurationAnchor | None = None


class GlobalConfDownloadUrl(Payload):
    """Where a configuration is downloaded."""

    url: str


def get_anchor(call: Call) -> ConfigurationAnchorContainer:
    """The fingerprint of a source's anchor."""
    source_type = viewed_source(call)
    with call.reading() as session:
        return ConfigurationAnchorContainer(anchor=_anchor(call, session, source_type))


def download_anchor(call: Call) -> Download:
    """The anchor of a source."""
    source_type = source_type_of(call)
    with call.reading() as session:
        data = load_anchor(session, source_type, call.node_name)
        found = _anchor(call, session, source_type)
        made = found.created_at if found else call.node.clock.now()
        instance = own_instance(session)
    name = f"configuration_anchor_{instance}_{source_type.value}_UTC_{made:%Y-%m-%d_%H_%M_%S}.xml"
    return Download(data, name, "application/xml")


def recreate_anchor(call: Call) -> ConfigurationAnchor:
    """Make the anchor of a source anew."""
    source_type = source_type_of(call)
    call.events.append(f"Re-create {source_type.value} configuration anchor")
    with call.changing() as change:
        rebuild_anchors(change, source_type)
    with call.reading() as session:
        load_anchor(session, source_type, call.node_name)
        found = _anchor(call, session, source_type)
    if found is None:
        raise ApiRefusal(404, "configuration_not_found")
    call.audited.update(anchorFileHash=found.hash, anchorFileHashAlgorithm="SHA-224")
    return found


def download_url(call: Call) -> GlobalConfDownloadUrl:
    """Where the configuration of a source is downloaded."""
    source_type = viewed_source(call)
    with call.reading() as session:
        address = node_address(session, call.node_name)
    return GlobalConfDownloadUrl(url=f"http://{address}/{source_type.directory}")


def viewed_source(call: Call) -> SourceType:
    """The source that the path names, if the caller may look at that one."""
    source_type = source_type_of(call)
    call.require(
        Permission.VIEW_INTERNAL_CONFIGURATION_SOURCE
        if source_type is SourceType.INTERNAL
        else Permission.VIEW_EXTERNAL_CONFIGURATION_SOURCE
    )
    return source_type


def _anchor(call: Call, session: Session, source_type: SourceType) -> ConfigurationAnchor | None:
    source = find_source(session, source_type, call.node_name)
    if source is None or source.anchor is None or source.anchor_generated_at is None:
        return None
    return ConfigurationAnchor(
        hash=fingerprint(source.anchor), created_at=source.anchor_generated_at
    )


VIEW_SOURCES: Final = any_of(
    Permission.VIEW_INTERNAL_CONFIGURATION_SOURCE, Permission.VIEW_EXTERNAL_CONFIGURATION_SOURCE
)
_PATH: Final = "/configuration-sources/{configuration_type}"
OPERATIONS: Final = (
    Operation(
        method="GET",
        path=_PATH + "/anchor",
        name="getAnchor",
        handler=get_anchor,
        needs=VIEW_SOURCES,
        answer=ConfigurationAnchorContainer,
    ),
    Operation(
        method="GET",
        path=_PATH + "/anchor/download",
        name="downloadAnchor",
        handler=download_anchor,
        needs=any_of(Permission.DOWNLOAD_SOURCE_ANCHOR),
        answer=Download,
    ),
    Operation(
        method="PUT",
        path=_PATH + "/anchor/re-create",
        name="reCreateAnchor",
        handler=recreate_anchor,
        needs=any_of(Permission.GENERATE_SOURCE_ANCHOR),
        answer=ConfigurationAnchor,
        event="Re-create configuration anchor",
    ),
    Operation(
        method="GET",
        path=_PATH + "/download-url",
        name="getDownloadUrl",
        handler=download_url,
        needs=VIEW_SOURCES,
        answer=GlobalConfDownloadUrl,
    ),
)
