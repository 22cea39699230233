"""Is this document a hash chain, or a hash chain result, and what does it say?

The structure is checked as strictly as the schema of PR-SIGDOC would: names, order, attributes,
no stray text, unique step identifiers, base64. Every deviation is ``malformed_hash_chain``.

Structure (namespace ``http://cyber.ee/hashchain``, ``ds`` = XML signature)::

    HashChainResult  @URI   ds:DigestMethod? ds:DigestValue
    HashChain               DefaultDigestMethod? HashStep*
    HashStep         @id    ( HashValue | StepRef | DataRef )*
    HashValue               ds:DigestMethod? ds:Transforms? ds:DigestValue
    StepRef          @URI   ds:DigestMethod?
    DataRef          @URI   ds:DigestMethod? ds:Transforms? ds:DigestValue
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.hashchain import HASH_CHAIN_NAMESPACE
from postroad.wire.xml import XMLDSIG, XmlLimits, child_elements, parse, qualified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroad.wire.xml import Element

CHAIN_LIMITS: Final = XmlLimits(max_bytes=2 * 1024 * 1024, max_depth=8, max_elements=20_000)
"""A path through a tree of 2^32 messages has 32 steps; the rest is for many attachments."""

_RESULT: Final = qualified(HASH_CHAIN_NAMESPACE, "HashChainResult")
_CHAIN: Final = qualified(HASH_CHAIN_NAMESPACE, "HashChain")
_DEFAULT_METHOD: Final = qualified(HASH_CHAIN_NAMESPACE, "DefaultDigestMethod")
_STEP: Final = qualified(HASH_CHAIN_NAMESPACE, "HashStep")
_HASH_VALUE: Final = qualified(HASH_CHAIN_NAMESPACE, "HashValue")
_STEP_REF: Final = qualified(HASH_CHAIN_NAMESPACE, "StepRef")
_DATA_REF: Final = qualified(HASH_CHAIN_NAMESPACE, "DataRef")
_METHOD: Final = qualified(XMLDSIG, "DigestMethod")
_TRANSFORMS: Final = qualified(XMLDSIG, "Transforms")
_TRANSFORM: Final = qualified(XMLDSIG, "Transform")
_VALUE: Final = qualified(XMLDSIG, "DigestValue")

_NCNAME: Final = re.compile(r"[^\W\d][\w.\-·]*")


@dataclass(frozen=True, slots=True)
class HashValue:
    """A digest that is only given: the other side of a pair."""

    algorithm: DigestAlgorithm | None
    value: bytes


@dataclass(frozen=True, slots=True)
class StepRef:
    """A pointer to another step, ``#STEP1`` or ``/other-file.xml#STEP1``."""

    algorithm: DigestAlgorithm | None
    uri: str


@dataclass(frozen=True, slots=True)
class DataRef:
    """A pointer to a part of the message, with the digest it had and the transforms before it."""

    algorithm: DigestAlgorithm | None
    uri: str
    transforms: tuple[str, ...]
    value: bytes


StepChild: TypeAlias = HashValue | StepRef | DataRef


@dataclass(frozen=True, slots=True)
class HashChain:
    """A parsed hash chain: its steps by identifier; nothing in it is verified yet."""

    default_algorithm: DigestAlgorithm | None
    steps: Mapping[str, tuple[StepChild, ...]]


@dataclass(frozen=True, slots=True)
class HashChainResult:
    """A parsed hash chain result: where the chain starts and the digest it must lead to."""

    uri: str
    algorithm: DigestAlgorithm | None
    value: bytes


def malformed(message: str) -> MalformedInput:
    """Build the refusal of a hash chain that breaks its structure."""
    return MalformedInput(f"hash chain: {message}", code=FaultCode.MALFORMED_HASH_CHAIN)


def parse_hash_chain_result(data: bytes) -> HashChainResult:
    """Parse a hash chain result; ``MalformedInput`` (``malformed_hash_chain``) if it isn't one."""
    root = _root(data, _RESULT)
    (uri,) = _attributes(root, "URI")
    algorithm, transforms, value = _digest(root)
    if transforms or value is None:
        raise malformed("a result holds a digest method and a digest value, nothing else")
    return HashChainResult(uri, algorithm, value)


def parse_hash_chain(data: bytes) -> HashChain:
    """Parse a hash chain; ``MalformedInput`` (``malformed_hash_chain``) if it isn't one."""
    root = _root(data, _CHAIN)
    _attributes(root)
    children = _children(root)
    default = None
    if children and children[0].tag == _DEFAULT_METHOD:
        default = _method(children.pop(0))
    steps: dict[str, tuple[StepChild, ...]] = {}
    for child in children:
        if child.tag != _STEP:
            raise malformed(f"{child.tag} does not belong into HashChain")
        (identifier,) = _attributes(child, "id")
        if not _NCNAME.fullmatch(identifier):
            raise malformed(f"{identifier[:100]!r} is no step identifier")
        if identifier in steps:
            raise malformed(f"step identifier {identifier!r} is used twice")
        steps[identifier] = tuple(_step_child(part) for part in _children(child))
    return HashChain(default, steps)


def _step_child(element: Element) -> StepChild:
    if element.tag == _HASH_VALUE:
        _attributes(element)
        algorithm, _transforms, value = _digest(element)
        if value is not None:
            return HashValue(algorithm, value)
    elif element.tag == _STEP_REF:
        (uri,) = _attributes(element, "URI")
        algorithm, transforms, value = _digest(element)
        if value is None and not transforms:
            return StepRef(algorithm, uri)
    elif element.tag == _DATA_REF:
        (uri,) = _attributes(element, "URI")
        algorithm, transforms, value = _digest(element)
        if value is not None:
            return DataRef(algorithm, uri, transforms, value)
    else:
        raise malformed(f"{element.tag} does not belong into HashStep")
    raise malformed(f"{element.tag} has too many or too few children")


def _digest(
    element: Element,
) -> tuple[DigestAlgorithm | None, tuple[str, ...], bytes | None]:
    """Read ``DigestMethod? Transforms? DigestValue?`` in this order and nothing else."""
    children = _children(element)
    algorithm = transforms = value = None
    if children and children[0].tag == _METHOD:
        algorithm = _method(children.pop(0))
    if children and children[0].tag == _TRANSFORMS:
        transforms = _transforms(children.pop(0))
    if children and children[0].tag == _VALUE:
        value = _base64(children.pop(0))
    if children:
        raise malformed(f"{children[0].tag} is out of place")
    return algorithm, transforms or (), value


def _method(element: Element) -> DigestAlgorithm:
    (uri,) = _attributes(element, "Algorithm")
    _nothing_inside(element)
    try:
        return DigestAlgorithm.by_uri(uri)
    except MalformedInput as error:
        raise malformed(error.message) from error


def _transforms(element: Element) -> tuple[str, ...]:
    _attributes(element)
    algorithms: list[str] = []
    for child in _children(element):
        if child.tag != _TRANSFORM:
            raise malformed(f"{child.tag} does not belong into Transforms")
        algorithms.extend(_attributes(child, "Algorithm"))
        _nothing_inside(child)
    if not algorithms:
        raise malformed("Transforms is empty")
    return tuple(algorithms)


def _root(data: bytes, name: str) -> Element:
    try:
        root = parse(data, limits=CHAIN_LIMITS)
    except MalformedInput as error:
        raise malformed(error.message) from error
    if root.tag != name:
        raise malformed(f"the document element is {root.tag}, not {name}")
    return root


def _attributes(element: Element, *names: str) -> Sequence[str]:
    if set(element.attrib) != set(names):
        raise malformed(f"{element.tag} must have the attributes [{', '.join(names)}]")
    return [str(element.attrib[name]) for name in names]


def _children(element: Element) -> list[Element]:
    texts = [element.text, *(child.tail for child in element)]
    if any(text and text.strip(" \t\r\n") for text in texts):
        raise malformed(f"{element.tag} must not hold text")
    return child_elements(element)


def _nothing_inside(element: Element) -> None:
    if _children(element):
        raise malformed(f"{element.tag} must be empty")


def _base64(element: Element) -> bytes:
    _attributes(element)
    if len(element):
        raise malformed("a digest value holds base64 only")
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("a digest value is not base64") from error
