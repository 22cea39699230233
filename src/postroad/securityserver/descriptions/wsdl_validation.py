"""What does the operator's own validator say of a WSDL?

A program that is given the document's address as its last argument: what it writes is a warning,
line by line, which an administrator may overrule; another exit code than 0 refuses the document.
Source: UG-SYSPAR, ``wsdl-validator-command``; reference: WsdlValidator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.adapters.programs import run_program
from postroad.errors import ConfigurationError
from postroad.securityserver.descriptions.derived import Warnings, malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEPT_BYTES: Final = 16 * 1024
_SHOWN: Final = 500
_KEY: Final = "[services] wsdl_validator_command"


async def validate_wsdl(command: Sequence[str], url: str, *, seconds: float) -> tuple[str, ...]:
    """The warnings about the WSDL at an address; none without a command.

    Raises ``MalformedInput`` for a document that the program refuses, and ``ConfigurationError``
    when the program can't be started or doesn't end in time.
    """
    if not command:
        return ()
    try:
        code, said = await run_program((*command, url), seconds=seconds, kept_bytes=_KEPT_BYTES)
    except TimeoutError:
        raise ConfigurationError(
            f"{_KEY}: {command[0]} took longer than {seconds:g} s, nothing was judged"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{_KEY}: {command[0]} can't be started: {error}") from error
    if code != 0:
        raise malformed(f"the WSDL validator refuses it with exit code {code}: {said[-_SHOWN:]}")
    warnings = Warnings()
    for line in filter(None, map(str.strip, said.splitlines())):
        warnings.add(line)
    return warnings.texts
