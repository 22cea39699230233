"""Where can an instance's signed directory be downloaded, in which order, trusted by which keys?

Addresses in the stored shared parameters come first, for they follow the central server's moves
and key changes; the anchor's own are the fall-back. https is tried before http, which is no less
safe, for the directory is signed. Source: PR-GCONF 2.6; reference:
``SharedParametersConfigurationLocations``, ``ConfigurationDownloadUtils``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.shared_parameters import NEWEST_VERSION, OLDEST_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from postroad.globalconf.anchor import Anchor
    from postroad.globalconf.shared_parameters import ConfigurationSource, SharedParameters

INTERNAL_DIRECTORY = "internalconf"
EXTERNAL_DIRECTORY = "externalconf"
MAX_LOCATIONS = 200
MAX_URL_LENGTH = 2000

PROBED_VERSIONS = tuple(range(NEWEST_VERSION, OLDEST_VERSION, -1))
"""Versions that are asked for one by one; a source that has none of them has the oldest."""

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[?[0-9A-Fa-f:.]{2,45}\]?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Location:
    """One address of a signed directory and the certificates that may have signed it."""

    url: str
    certificates: tuple[bytes, ...]


def locations_of(
    anchor: Anchor,
    shared: SharedParameters | None,
    *,
    shuffle: Callable[[Sequence[Location]], Sequence[Location]],
    first: Iterable[str] = (),
) -> tuple[Location, ...]:
    """List the locations of an instance in the order in which they are tried.

    ``shared`` are its stored shared parameters, if any; ``shuffle`` spreads the load between
    nodes; addresses in ``first`` (where a download worked before) are put in front.
    """
    listed = [] if shared is None else _from_sources(anchor, shared.sources)
    own = [
        Location(source.download_url, source.verification_certificates) for source in anchor.sources
    ]
    ordered = [*_https_first(listed, shuffle), *_https_first(own, shuffle)]
    unique = list(dict.fromkeys(entry for entry in ordered if _is_usable(entry.url)))
    proven = list(first)
    unique.sort(key=lambda entry: entry.url not in proven)
    return tuple(unique[:MAX_LOCATIONS])


def _from_sources(anchor: Anchor, sources: Sequence[ConfigurationSource]) -> list[Location]:
    urls = [source.download_url for source in anchor.sources]
    chosen = next((url for url in urls if url.startswith("http://")), urls[0] if urls else "")
    path = chosen.partition("://")[2].partition("/")[2]
    if not path:
        return []
    return [
        Location(f"http://{_bracketed(source.address)}/{path}", _certificates_for(path, source))
        for source in sources
        if _HOST.fullmatch(source.address)
    ]


def _certificates_for(path: str, source: ConfigurationSource) -> tuple[bytes, ...]:
    name = path.partition("?")[0]
    internal = source.internal_verification_certificates
    external = source.external_verification_certificates
    if name == INTERNAL_DIRECTORY:
        return internal
    if name == EXTERNAL_DIRECTORY:
        return external
    # A configuration proxy lists its keys under both.
    return tuple(dict.fromkeys((*internal, *external)))


def _bracketed(address: str) -> str:
    bare = address.count(":") > 1 and not address.startswith("[")
    return f"[{address}]" if bare else address


def _https_first(
    entries: Sequence[Location], shuffle: Callable[[Sequence[Location]], Sequence[Location]]
) -> list[Location]:
    plain = [entry for entry in entries if not entry.url.lower().startswith("https:")]
    twins = [Location("https" + entry.url[4:], entry.certificates) for entry in plain]
    # The reference drops https entries that have no http twin; they are as good as any.
    given = [entry for entry in entries if entry.url.lower().startswith("https:")]
    secure = list(dict.fromkeys((*twins, *given)))
    return [*shuffle(secure), *shuffle(plain)]


def _is_usable(url: str) -> bool:
    try:
        check_url(url)
    except MalformedInput:
        return False
    return True


def check_url(url: str) -> str:
    """Return ``url`` if it is a plain http or https address; ``MalformedInput`` otherwise."""
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
            and len(url) <= MAX_URL_LENGTH
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        usable = False
    if not usable:
        raise MalformedInput(
            f"not an address that configuration can be downloaded from: {url[:100]!r}",
            code=FaultCode.GLOBAL_CONF_DOWNLOAD_URL_CONNECTION_FAILURE,
        )
    return url


def has_version(url: str) -> bool:
    """Whether the address asks for a certain version by itself."""
    return "version" in parse_qs(urlsplit(url).query, keep_blank_values=True)


def with_version(url: str, version: int) -> str:
    """Ask for a version.

    >>> with_version("http://cs/internalconf", 6)
    'http://cs/internalconf?version=6'
    """
    return f"{url}{'&' if '?' in url else '?'}version={version}"


def with_only_version(url: str, version: int) -> str:
    """Ask for a version, whatever version the address asks for by itself.

    >>> with_only_version("http://cs/internalconf?version=2&a=1", 6)
    'http://cs/internalconf?a=1&version=6'
    """
    parts = urlsplit(url)
    others = [
        pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "version"
    ]
    return with_version(urlunsplit(parts._replace(query=urlencode(others))), version)


def part_url(directory_url: str, location: str, *, may_be_elsewhere: bool = True) -> str:
    """The address of a part: its location, relative to the directory's address (RFC 3986).

    ``may_be_elsewhere`` lets it be at another server than the directory, as the protocol does.
    """
    try:
        url = check_url(urljoin(directory_url, location))
    except ValueError:
        url = ""
    if not url or not (may_be_elsewhere or urlsplit(url)[:2] == urlsplit(directory_url)[:2]):
        raise MalformedInput(
            f"a part has the impossible location {location[:100]!r}",
            code=FaultCode.GLOBAL_CONF_PART_DOWNLOAD_FAILURE,
        )
    return url
