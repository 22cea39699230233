"""Is this hash chain, or hash chain result, laid out octet by octet as everybody writes them?

Both our writer (``hashchain``) and the reference indent these documents in one way. Read that way
they cost a fraction of what a parser does; ``hashchain_parsing`` remains the truth about every
document and is asked about all others. The tests hold the two against each other.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from functools import lru_cache
from typing import Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import MalformedInput
from postroad.evidence.hashchain import CHAIN_DECLARATION, CHAIN_NAMESPACES
from postroad.evidence.hashchain_parsing import (
    DataRef,
    HashChain,
    HashChainResult,
    HashValue,
    StepChild,
    StepRef,
    parse_hash_chain,
    parse_hash_chain_result,
)

MAX_EXACT_BYTES: Final = 64 * 1024

# No value holds "<", "&", a quote or white space. Possessive, so that nothing is tried twice.
_URI: Final = r'Algorithm="([A-Za-z0-9:/.#-]{1,100}+)"'
_NAME: Final = r"[A-Za-z0-9/._-]{1,100}+"
_STEP_NAME: Final = "STEP[0-9]{1,6}+"
_VALUE: Final = "<DigestValue>([A-Za-z0-9+/]++={0,2})</DigestValue>"
_DIGEST: Final = f"(?: {{12}}<DigestMethod {_URI}/>\n)?+ {{12}}{_VALUE}\n"
_CHILD_FORM: Final = (
    f" {{8}}(?:<ns2:HashValue>\n{_DIGEST} {{8}}</ns2:HashValue>"
    f'|<ns2:DataRef URI="({_NAME})">\n{_DIGEST} {{8}}</ns2:DataRef>'
    f'|<ns2:StepRef URI="(#{_STEP_NAME})"/>)\n'
)
_STEP_FORM: Final = (
    f' {{4}}<ns2:HashStep id="({_STEP_NAME})">\n((?:{_CHILD_FORM})*+) {{4}}</ns2:HashStep>\n'
)
_START: Final = re.escape(CHAIN_DECLARATION)
_XMLNS: Final = re.escape(CHAIN_NAMESPACES)
_RESULT: Final = re.compile(
    f'{_START}<ns2:HashChainResult URI="({_NAME}#{_STEP_NAME})" {_XMLNS}>\n'
    f" {{4}}<DigestMethod {_URI}/>\n {{4}}{_VALUE}\n</ns2:HashChainResult>\n".encode()
)
_CHAIN: Final = re.compile(
    f"{_START}<ns2:HashChain {_XMLNS}>\n {{4}}<ns2:DefaultDigestMethod {_URI}/>\n"
    f"((?:{_STEP_FORM})*+)</ns2:HashChain>\n".encode()
)
# The steps and their children in one go, once the whole is known to be a chain.
_ITEM: Final = re.compile(f'<ns2:HashStep id="({_STEP_NAME})">|{_CHILD_FORM}'.encode())


def read_hash_chain_result(data: bytes) -> HashChainResult:
    """Read a hash chain result; raises as ``parse_hash_chain_result``."""
    return read_exact_hash_chain_result(data) or parse_hash_chain_result(data)


def read_hash_chain(data: bytes) -> HashChain:
    """Read a hash chain; raises as ``parse_hash_chain``."""
    return read_exact_hash_chain(data) or parse_hash_chain(data)


def read_exact_hash_chain_result(data: bytes) -> HashChainResult | None:
    """Read a result that is laid out exactly as usual; None for every other document."""
    found = None if len(data) > MAX_EXACT_BYTES else _RESULT.fullmatch(data)
    if found is None:
        return None
    uri, algorithm, value = found.groups()
    try:
        return HashChainResult(uri.decode(), _algorithm(algorithm), _decoded(value))
    except (MalformedInput, ValueError):
        return None  # so that the parser says what is wrong


def read_exact_hash_chain(data: bytes) -> HashChain | None:
    """Read a hash chain that is laid out exactly as usual; None for every other document."""
    found = None if len(data) > MAX_EXACT_BYTES else _CHAIN.fullmatch(data)
    if found is None:
        return None
    steps: dict[str, list[StepChild]] = {}
    children: list[StepChild] = []
    try:
        for step, given, given_value, name, part, part_value, below in _ITEM.findall(found[2]):
            if step:
                children = []
                if steps.setdefault(step.decode(), children) is not children:
                    return None  # the same name twice
            elif given_value:
                children.append(HashValue(_own(given), _decoded(given_value)))
            elif name:
                children.append(DataRef(_own(part), name.decode(), (), _decoded(part_value)))
            else:
                children.append(StepRef(None, below.decode()))
        return HashChain(
            _algorithm(found[1]), {name: tuple(found) for name, found in steps.items()}
        )
    except (MalformedInput, ValueError):
        return None


def _own(uri: bytes) -> DigestAlgorithm | None:
    return _algorithm(uri) if uri else None


@lru_cache(maxsize=64)
def _algorithm(uri: bytes) -> DigestAlgorithm:
    return DigestAlgorithm.by_uri(uri.decode())


def _decoded(text: bytes) -> bytes:
    return a2b_base64(text, strict_mode=True)
