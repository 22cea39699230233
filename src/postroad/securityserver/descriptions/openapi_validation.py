"""Does an OpenAPI document keep the OpenAPI specification?

A library says so, and a document can make it work for ever: schemas that refer to each other in
pairs double the work at every step. So it runs as a program of its own, with limits on time and
memory, and what it can't judge in them is told as that. The reference judges with another library;
both only warn.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import msgspec

from postroad.errors import PostroadError
from postroad.securityserver.descriptions.derived import Warnings
from postroad.securityserver.descriptions.limited_program import limit_this_process, run_limited
from postroad.securityserver.descriptions.openapi import read_openapi

LIMIT_SECONDS: Final = 20
_MAX_ANSWER: Final = 64 * 1024


def find_violations(document: bytes) -> tuple[str, ...]:
    """What breaks the specification, judged by a program that is stopped when it takes too long."""
    try:
        told = run_limited(__name__, document, seconds=LIMIT_SECONDS)
        return msgspec.json.decode(told[:_MAX_ANSWER], type=tuple[str, ...])
    except (subprocess.SubprocessError, OSError, msgspec.DecodeError):
        return ("the document is too large or too intertwined to be validated",)


def violations(document: bytes) -> tuple[str, ...]:
    """The same, judged here and now; raises as ``read_openapi``."""
    from openapi_spec_validator import (  # noqa: PLC0415 - slow, and only the program needs it
        OpenAPIV30SpecValidator,
        OpenAPIV31SpecValidator,
    )

    read = read_openapi(document)
    library = OpenAPIV31SpecValidator if read.is_31 else OpenAPIV30SpecValidator
    # No handler of any scheme: nothing can be fetched, whatever a reference resolves to.
    validator = type("WithoutNetwork", (library,), {"resolver_handlers": {}})(read.local)
    found = Warnings()
    try:
        for error in validator.iter_errors():
            if _is_unquoted_number(error.validator_value, error.instance):
                continue
            place = "/".join(str(part) for part in error.absolute_path)
            found.add(f"{place}: {error.message}" if place else error.message)
            if found.are_enough:
                break
    except Exception as error:  # noqa: BLE001 - the library fails in many ways on what breaks the rules
        found.add(f"the document can't be validated: {type(error).__name__}: {error}")
    return found.texts


def _is_unquoted_number(wanted: object, found: object) -> bool:
    """A version such as 1.0 that stands without quotes in YAML: everybody reads it as a text."""
    return wanted == "string" and isinstance(found, int | float)


def main() -> None:
    """Judge the document on standard input, and write what breaks the rules as a JSON list."""
    limit_this_process(LIMIT_SECONDS)
    try:
        found = violations(sys.stdin.buffer.read())
    except PostroadError as error:
        found = (error.message,)
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
