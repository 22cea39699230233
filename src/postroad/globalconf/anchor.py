"""Where does trust in an instance's configuration start: the configuration anchor.

The anchor is the only file that is carried by hand: addresses of the signed directory and the
certificates that hold its signing keys. People compare its fingerprint. Source: PR-GCONF 2.2 and
annex E; reference: ``ConfigurationAnchor``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf import elements
from postroad.globalconf.elements import XmlText, malformed
from postroad.globalconf.moments import encode_milliseconds, parse_moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.wire.xml import Element

MAX_ANCHOR_BYTES = 1024 * 1024
MAX_SOURCES = 100


@dataclass(frozen=True, slots=True)
class Source:
    """One place to download the signed directory from, with the certificates of its keys.

    The certificates are kept byte for byte: directories name them by the hash of these bytes.
    """

    download_url: str
    verification_certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A configuration anchor: instance, time of generation, sources."""

    instance: str
    generated_at: datetime | None
    sources: tuple[Source, ...]

    @classmethod
    def parse(cls, data: bytes) -> Anchor:
        """Read an anchor file; ``MalformedInput`` (``malformed_anchor``) for anything else."""
        if len(data) > MAX_ANCHOR_BYTES:
            raise MalformedInput(
                f"an anchor of {len(data)} bytes is larger than any real one",
                code=FaultCode.MALFORMED_ANCHOR,
            )
        root = elements.parse_document(data, "anchor.xsd", code=FaultCode.MALFORMED_ANCHOR)
        try:
            return parse_anchor_element(root)
        except MalformedInput as error:
            raise MalformedInput(str(error), code=FaultCode.MALFORMED_ANCHOR) from error

    def encode(self) -> bytes:
        """Write the anchor file; ``ConfigurationError`` when it would break the schema."""
        out = XmlText()
        with out.root("configurationAnchor"):
            write_anchor_content(out, self)
        try:
            data = out.encode()
            Anchor.parse(data)
        except MalformedInput as error:
            raise ConfigurationError(
                f"the anchor can't be written: {error}", code=FaultCode.MALFORMED_ANCHOR
            ) from error
        return data


def parse_anchor_element(element: Element) -> Anchor:
    """Read an anchor from an element that its schema has passed (root, or trusted anchor)."""
    generated_at = elements.optional_text(element, "generatedAt")
    instance = elements.text(element, "instanceIdentifier")
    if not instance.strip():
        raise malformed("an anchor names no instance")
    sources = tuple(_parse_source(child) for child in element.iterfind("source"))
    if not 0 < len(sources) <= MAX_SOURCES:
        raise malformed(f"an anchor has {len(sources)} sources, not 1 to {MAX_SOURCES}")
    return Anchor(
        instance,
        None if generated_at is None else parse_moment(generated_at, assume_utc=True),
        sources,
    )


def _parse_source(element: Element) -> Source:
    return Source(
        elements.text(element, "downloadURL").strip(),
        tuple(elements.bytes_of(child) for child in element.iterfind("verificationCert")),
    )


def write_anchor_content(out: XmlText, anchor: Anchor) -> None:
    """Write what stands inside the anchor element."""
    if anchor.generated_at is not None:
        out.leaf("generatedAt", encode_milliseconds(anchor.generated_at))
    out.leaf("instanceIdentifier", anchor.instance)
    for source in anchor.sources:
        with out.element("source"):
            out.leaf("downloadURL", source.download_url)
            for certificate in source.verification_certificates:
                out.data("verificationCert", certificate)


def build_anchor(
    instance: str,
    nodes: Sequence[tuple[str, Sequence[bytes]]],
    *,
    directory: str,
    at: datetime,
) -> Anchor:
    """Build the anchor of a central server: one http and one https entry per node.

    ``nodes`` are (address, certificates of all signing keys, active or not); ``directory`` is
    ``internalconf`` or ``externalconf``. All http entries stand first: older clients derive the
    https twins from them and can't use an anchor without any.
    """
    sources = tuple(
        Source(f"{scheme}://{address}/{directory}", tuple(certificates))
        for scheme in ("http", "https")
        for address, certificates in nodes
    )
    return Anchor(instance, at, sources)


def fingerprint(data: bytes) -> str:
    """The fingerprint people compare: SHA-224 of the file, upper-case hex pairs joined by ``:``.

    >>> fingerprint(b"")[:11]
    'D1:4A:02:8C'
    """
    return ":".join(f"{byte:02X}" for byte in hashlib.sha224(data).digest())
