"""How members, subsystems, services, servers and groups are named, and how names are written.

Source: PR-REST 4.1-4.3; reference: ``RestMessage``, ``UriUtils``, ``XRoadId``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from postroad.errors import FaultCode, MalformedInput

_UNRESERVED = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,;&=@:+"
)
_SEGMENT_BYTES = _UNRESERVED
_HEX = frozenset(b"0123456789abcdefABCDEF")
MAX_PART_LENGTH = 255
"""Longest identifier part that the registry of the ecosystem can hold (a varchar(255))."""


def percent_encode_segment(text: str) -> str:
    """Escape one identifier part for a path or header.

    The unescaped set is that of a URL path segment; escapes are UTF-8 with upper-case digits.

    >>> percent_encode_segment("Ameti/üksus 1")
    'Ameti%2F%C3%BCksus%201'
    """
    data = text.encode("utf-8")
    if all(byte in _UNRESERVED for byte in data):
        return text
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in data)


def percent_decode_segment(segment: str) -> str:
    """Decode one path segment; the result may hold any character, ``/`` among them.

    >>> percent_decode_segment("a%2Fb+c")
    'a/b+c'

    Raises ``MalformedInput`` for a character that a segment can't hold, a broken escape or
    escapes that aren't UTF-8.
    """
    try:
        raw = segment.encode("ascii")
    except UnicodeEncodeError:
        raise MalformedInput(
            f"identifier part {segment[:80]!r} holds an unescaped non-ASCII character",
            code=FaultCode.INTERNAL_ERROR,
        ) from None
    out = bytearray()
    position = 0
    while position < len(raw):
        byte = raw[position]
        if byte == 0x25:  # '%'
            digits = raw[position + 1 : position + 3]
            if len(digits) != 2 or not all(digit in _HEX for digit in digits):
                raise MalformedInput(
                    f"identifier part {segment[:80]!r} holds a broken percent escape",
                    code=FaultCode.INTERNAL_ERROR,
                )
            out.append(int(digits, 16))
            position += 3
            continue
        if byte not in _SEGMENT_BYTES:
            raise MalformedInput(
                f"identifier part {segment[:80]!r} holds the character {chr(byte)!r}, "
                "which must be percent-escaped",
                code=FaultCode.INTERNAL_ERROR,
            )
        out.append(byte)
        position += 1
    try:
        return out.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedInput(
            f"identifier part {segment[:80]!r} is not UTF-8 after decoding",
            code=FaultCode.INTERNAL_ERROR,
        ) from None


# The same few identifiers are written for every message. Their parts are short (``_check_part``).
@lru_cache(maxsize=4096)
def _encode_parts(parts: tuple[str, ...]) -> str:
    return "/".join([percent_encode_segment(part) for part in parts])


def _decode_parts(text: str, counts: tuple[int, ...]) -> list[str]:
    segments = text.split("/", max(counts) + 1)
    if len(segments) not in counts:
        wanted = " or ".join(str(count) for count in counts)
        raise MalformedInput(
            f"expected {wanted} parts, got {len(segments)}: {text[:200]!r}",
            code=FaultCode.INTERNAL_ERROR,
        )
    return [percent_decode_segment(segment) for segment in segments]


def _check_part(name: str, value: str) -> None:
    if not value.strip():
        raise MalformedInput(f"{name} is empty", code=FaultCode.INTERNAL_ERROR)
    if len(value) > MAX_PART_LENGTH:
        raise MalformedInput(
            f"{name} is {len(value)} characters long; at most {MAX_PART_LENGTH} are allowed",
            code=FaultCode.INTERNAL_ERROR,
        )


@dataclass(frozen=True, slots=True, order=True)
class MemberId:
    """A member of an ecosystem: the organisation that owns subsystems and servers.

    >>> str(MemberId.parse("EE/GOV/70000562"))
    'EE/GOV/70000562'
    """

    instance: str
    member_class: str
    member_code: str

    def __post_init__(self) -> None:
        _check_part("instance", self.instance)
        _check_part("member class", self.member_class)
        _check_part("member code", self.member_code)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the percent-escaped form ``INSTANCE/CLASS/CODE``."""
        return cls(*_decode_parts(text, (3,)))

    @property
    def member(self) -> MemberId:
        """The member itself, so that every client answers the same question."""
        return self

    @property
    def subsystem_code(self) -> None:
        """A member has no subsystem code."""
        return None

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in order."""
        return (self.instance, self.member_class, self.member_code)

    def encoded(self) -> str:
        """The percent-escaped form of headers and paths."""
        return _encode_parts(self.parts)

    def __str__(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True, slots=True, order=True)
class SubsystemId:
    """A subsystem of a member, the party that normally sends and receives messages.

    >>> client = SubsystemId.parse("EE/GOV/70000562/registry")
    >>> client.member_code
    '70000562'
    >>> str(client)
    'EE/GOV/70000562/registry'
    """

    instance: str
    member_class: str
    member_code: str
    subsystem_code: str

    def __post_init__(self) -> None:
        _check_part("instance", self.instance)
        _check_part("member class", self.member_class)
        _check_part("member code", self.member_code)
        _check_part("subsystem code", self.subsystem_code)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the percent-escaped form ``INSTANCE/CLASS/CODE/SUBSYSTEM``."""
        return cls(*_decode_parts(text, (4,)))

    @property
    def member(self) -> MemberId:
        """The member that owns this subsystem."""
        return _member_id(self.instance, self.member_class, self.member_code)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in order."""
        return (self.instance, self.member_class, self.member_code, self.subsystem_code)

    def encoded(self) -> str:
        """The percent-escaped form of headers and paths."""
        return _encode_parts(self.parts)

    def __str__(self) -> str:
        return "/".join(self.parts)


_member_id = lru_cache(maxsize=4096)(MemberId)

ClientId = MemberId | SubsystemId
"""Whoever may send or provide: a member or one of its subsystems."""


def parse_client_id(text: str) -> ClientId:
    """Read ``INSTANCE/CLASS/CODE[/SUBSYSTEM]``, each part percent-escaped (PR-REST 4.3).

    >>> parse_client_id("EE/GOV/1")
    MemberId(instance='EE', member_class='GOV', member_code='1')
    """
    parts = _decode_parts(text, (3, 4))
    return client_id(*parts)


def client_id(
    instance: str, member_class: str, member_code: str, subsystem_code: str | None = None
) -> ClientId:
    """Build a member or subsystem identifier, depending on whether a subsystem is named."""
    if subsystem_code is None:
        return MemberId(instance, member_class, member_code)
    return SubsystemId(instance, member_class, member_code, subsystem_code)


@dataclass(frozen=True, slots=True)
class ServiceId:
    """A service of a client; ``service_version`` exists for SOAP services only.

    >>> ServiceId.parse("EE/GOV/1/registry/persons").service_code
    'persons'
    """

    client: ClientId
    service_code: str
    service_version: str | None = None

    def __post_init__(self) -> None:
        _check_part("service code", self.service_code)
        if self.service_version is not None:
            _check_part("service version", self.service_version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``INSTANCE/CLASS/CODE[/SUBSYSTEM]/SERVICE`` (4 or 5 escaped parts)."""
        *owner, code = _decode_parts(text, (4, 5))
        return cls(client_id(*owner), code)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in order, absent ones left out."""
        version = () if self.service_version is None else (self.service_version,)
        return (*self.client.parts, self.service_code, *version)

    def encoded(self) -> str:
        """The percent-escaped form of headers and paths."""
        return _encode_parts(self.parts)

    def __str__(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True, slots=True, order=True)
class SecurityServerId:
    """A security server, named after its owner and a code.

    >>> str(SecurityServerId.parse("EE/GOV/1/SS1").owner)
    'EE/GOV/1'
    """

    instance: str
    member_class: str
    member_code: str
    server_code: str

    def __post_init__(self) -> None:
        _check_part("instance", self.instance)
        _check_part("member class", self.member_class)
        _check_part("member code", self.member_code)
        _check_part("server code", self.server_code)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the percent-escaped form ``INSTANCE/CLASS/CODE/SERVER``."""
        return cls(*_decode_parts(text, (4,)))

    @property
    def owner(self) -> MemberId:
        """The member that owns the server."""
        return _member_id(self.instance, self.member_class, self.member_code)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in order."""
        return (self.instance, self.member_class, self.member_code, self.server_code)

    def encoded(self) -> str:
        """The percent-escaped form of headers and paths."""
        return _encode_parts(self.parts)

    def __str__(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True, slots=True, order=True)
class GlobalGroupId:
    """An access right group that the central server keeps."""

    instance: str
    group_code: str

    def __post_init__(self) -> None:
        _check_part("instance", self.instance)
        _check_part("group code", self.group_code)

    def __str__(self) -> str:
        return f"{self.instance}/{self.group_code}"


@dataclass(frozen=True, slots=True, order=True)
class LocalGroupId:
    """An access right group that one service provider keeps for itself."""

    group_code: str

    def __post_init__(self) -> None:
        _check_part("group code", self.group_code)

    def __str__(self) -> str:
        return self.group_code
