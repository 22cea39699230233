"""How is an OpenAPI document masked without messages waiting for it?

A large one keeps a processor busy for seconds, and whoever may exchange messages may ask for it: so
it is masked by a program of its own, with limits.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.openapi_masking import mask_openapi
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES
from postroad.securityserver.descriptions.limited_program import limit_this_process, run_limited

LIMIT_SECONDS: Final = 15
SMALL_BYTES: Final = 64 * 1024
"""What is masked at once: less work than to start a program."""
_JSON: Final = "json"
_DONE: Final = b"+"
_REFUSED: Final = b"-"


def mask_bounded(document: bytes, *, is_json: bool) -> bytes:
    """The document without the hosts of its servers; blocking. Raises as ``mask_openapi``."""
    if not SMALL_BYTES < len(document) <= MAX_DESCRIPTION_BYTES:
        return mask_openapi(document, is_json=is_json)
    kind = (_JSON,) if is_json else ()
    try:
        told = run_limited(__name__, document, seconds=LIMIT_SECONDS, arguments=kind)
    except (subprocess.SubprocessError, OSError) as error:
        raise _refused("the OpenAPI document is too large or too intertwined") from error
    if not told.startswith(_DONE):
        raise _refused(told.removeprefix(_REFUSED).decode())
    return told.removeprefix(_DONE)


def main() -> None:
    """Mask the document on standard input; what is written begins with how it went."""
    limit_this_process(LIMIT_SECONDS)
    try:
        told = _DONE + mask_openapi(sys.stdin.buffer.read(), is_json=_JSON in sys.argv)
    except MalformedInput as error:
        told = _REFUSED + error.message.encode()
    sys.stdout.buffer.write(told)


def _refused(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INTERNAL_ERROR)


if __name__ == "__main__":
    main()
