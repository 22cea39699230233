"""How does the management interface say no: which status and which code for which refusal?

Source: reference ``ErrorMessage`` (codes), ``ExceptionTranslator`` and ``ValidationErrorHelper``
(the body). Where its controllers and its OpenAPI document differ, the controllers count.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.errors import FaultCode, PostroadError

if TYPE_CHECKING:
    from collections.abc import Iterator


class CodeWithDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was wrong: a code for programs and what belongs to it."""

    code: str
    metadata: tuple[str, ...] | None = None
    validation_errors: dict[str, tuple[str, ...]] | None = None


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every refusal."""

    status: int
    error: CodeWithDetails | None = None
    warnings: tuple[CodeWithDetails, ...] | None = None


@dataclass
class ApiRefusal(Exception):
    """An answer that says no."""

    status: int
    code: str
    metadata: tuple[str, ...] = ()
    validation_errors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """Codes of warnings that the caller may ask to ignore."""

    @property
    def info(self) -> ErrorInfo:
        """The body."""
        error = CodeWithDetails(self.code, self.metadata or None, self.validation_errors or None)
        warnings = tuple(CodeWithDetails(code, self.metadata or None) for code in self.warnings)
        return ErrorInfo(self.status, error, warnings or None)

    def __str__(self) -> str:
        return ": ".join((self.code, *self.metadata))


def validation_failure(where: str, message: str) -> ApiRefusal:
    """The refusal of a request that breaks the form of its operation."""
    return ApiRefusal(400, "validation_failure", validation_errors={where: (message,)})


UNAUTHENTICATED: Final = ApiRefusal(401, "unauthorized")
FORBIDDEN: Final = ApiRefusal(403, "access_denied")

_PROBLEMS: Final[dict[Problem, tuple[int, str]]] = {
    Problem.ALREADY_INITIALIZED: (409, "init_already_initialized"),
    Problem.NOT_INITIALIZED: (400, "instance_identifier_not_set"),
    Problem.INVALID_CERTIFICATE: (400, "invalid_certificate"),
    Problem.CERTIFICATE_OF_OTHER_KEY: (400, "key_not_found"),
    Problem.CERTIFICATE_IN_USE: (400, "certificate_already_exists"),
    Problem.CERTIFICATE_NOT_FOUND: (404, "ss_auth_certificate_not_found"),
    Problem.TIMESTAMPING_SERVICE_NOT_FOUND: (404, "timestamping_authority_not_found"),
    Problem.UNKNOWN_PROFILE: (400, "certificate_profile_info_class_not_found"),
    Problem.OWNERS_GROUP: (400, "owners_global_group_cannot_be_deleted"),
    Problem.TOO_MANY_SIGNING_KEYS: (400, "token_action_not_possible"),
    Problem.SIGNING_KEY_ACTIVE: (400, "signing_key_action_not_possible"),
    Problem.ANCHOR_NOT_FOUND: (404, "configuration_not_found"),
    Problem.UNKNOWN_CONFIGURATION_PART: (400, "configuration_part_validation_failed"),
    Problem.UNKNOWN_ROLE: (400, "invalid_role"),
    Problem.MISSING_ROLE: (403, "access_denied"),
}
_FORM_PROBLEMS: Final = frozenset(
    {Problem.INVALID_IDENTIFIER, Problem.INVALID_VALUE, Problem.FOREIGN_INSTANCE}
)
_FAULTS: Final[dict[FaultCode, tuple[int, str]]] = {
    FaultCode.PIN_INCORRECT: (500, "token_activation_failed"),
    FaultCode.TOKEN_NOT_INITIALIZED: (400, "token_action_not_possible"),
    FaultCode.TOKEN_NOT_ACTIVE: (400, "token_action_not_possible"),
    FaultCode.INCORRECT_CERTIFICATE: (400, "invalid_certificate"),
    FaultCode.MALFORMED_ANCHOR: (400, "malformed_anchor"),
    FaultCode.KEY_NOT_FOUND: (400, "key_not_found"),
}


def refusal_of(error: PostroadError) -> ApiRefusal:
    """The answer to an operation that an error has ended; what people are told is the metadata."""
    if isinstance(error, RegistryRefusal):
        problem = error.problem
        if problem in _FORM_PROBLEMS:
            return validation_failure(problem.value, error.message)
        status, code = _PROBLEMS.get(problem, (error.http_status, problem.value))
        return ApiRefusal(status, code, (error.message,))
    status, code = _FAULTS.get(error.code, (500, "internal_error"))
    if status == 500 and code == "internal_error":
        return ApiRefusal(status, code)  # what is wrong inside is for our own log
    return ApiRefusal(status, code, (error.fault_code,))


@contextmanager
def meaning(problem: Problem, status: int, code: str) -> Iterator[None]:
    """Answer one problem in other words than usual, where an operation has words of its own."""
    try:
        yield
    except RegistryRefusal as refusal:
        if refusal.problem is not problem:
            raise
        raise ApiRefusal(status, code, (refusal.message,)) from refusal
