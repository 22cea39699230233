"""What does the Central Server answer to a management request?

Bytes in, answer out: read, judge, apply to the registry, reply. Replies and faults are those of
the reference: status 200 with the request's echo, or 500 with a SOAP fault, whose code is
``internal_error`` for whatever the registry refuses. Source: PR-MSERV; reference:
registration-service, management-service.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.adapters.files import read_tree
from postroad.adapters.logs import logger
from postroad.centralserver.registry.management_requests import add_request
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.errors import ConfigurationError, FaultCode, PostroadError, RefusedRequest
from postroad.globalconf.stored import ConfigurationLoader
from postroad.management.envelope import encode_reply, parse_message
from postroad.management.lifecycle import RequestOrigin
from postroad.management.verification import verify_management_request, verify_registration
from postroad.messages.faults import encode_soap_fault, fault_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.node import CentralServerNode
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.management.envelope import ManagementMessage
    from postroad.management.verification import VerifiedRequest

    Verify = Callable[..., VerifiedRequest]

CONTENT_TYPE: Final = "text/xml;charset=UTF-8"
REPLY_HEADERS: Final = (
    ("Content-Type", CONTENT_TYPE),
    ("Cache-Control", "no-store"),
    ("Pragma", "no-cache"),
    ("Expires", "0"),
)
MAX_STORED_BYTES: Final = 256 * 1024 * 1024
_TOLD: Final = frozenset({FaultCode.GLOBAL_CONF_OUTDATED, FaultCode.MALFORMED_GLOBAL_CONF})
"""What of our own troubles a server may know."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = REPLY_HEADERS


class OwnConfiguration:
    """The node's own copy of the global configuration, parsed anew only where it changed."""

    def __init__(self, node: CentralServerNode) -> None:
        self._path = node.settings.globalconf_path
        self._loader = ConfigurationLoader()
        self._lock = threading.Lock()

    def load(self) -> GlobalConfiguration:
        """The configuration as last published; ``ConfigurationError`` if there is none."""
        with self._lock:
            try:
                return self._loader.load(read_tree(self._path, MAX_STORED_BYTES))
            except OSError as error:
                raise ConfigurationError(
                    "no global configuration was published yet",
                    code=FaultCode.GLOBAL_CONF_OUTDATED,
                ) from error


class ManagementService:
    """Answers management requests on behalf of one node."""

    def __init__(self, node: CentralServerNode) -> None:
        self._node = node
        self._configuration = OwnConfiguration(node)
        self._log = logger("management")

    def answer_registration(self, content_type: str, body: bytes, trace_id: str) -> Answer:
        """Answer the registration of an authentication certificate (port 4001)."""
        return self._answer(content_type, body, trace_id, verify_registration, plain=False)

    def answer_management(self, content_type: str, body: bytes, trace_id: str) -> Answer:
        """Answer any other request, which the management services' server delivers (4002)."""
        return self._answer(content_type, body, trace_id, verify_management_request, plain=True)

    def _answer(
        self, content_type: str, body: bytes, trace_id: str, verify: Verify, *, plain: bool
    ) -> Answer:
        message: ManagementMessage | None = None
        at = self._node.clock.now()
        try:
            globalconf = self._configuration.load()
            globalconf.ensure_valid(at)
            message = parse_message(content_type, body, plain=plain)
            verified = verify(message, globalconf, at=at)
            request_id = 0 if verified.is_dry_run else self._take_in(verified)
            reply = encode_reply(message, request_id)
        except PostroadError as error:
            self._tell(message, trace_id, fault=error.fault_code, reason=error.message)
            return fault_answer(error, trace_id)
        self._tell(message, trace_id, request_id=request_id)
        return Answer(200, reply)

    def _take_in(self, verified: VerifiedRequest) -> int:
        actor = f"server:{verified.request.server.encoded()}"
        with self._node.changing(actor) as change:
            row = add_request(
                change,
                verified.request,
                RequestOrigin.SECURITY_SERVER,
                automatic=self._node.settings.automatic_approvals,
                message_digest=verified.message_digest,
            )
            return row.id

    def _tell(self, message: ManagementMessage | None, trace_id: str, **outcome: str | int) -> None:
        if message is not None:
            outcome["service"] = message.code.value
            outcome["sender"] = message.client.encoded()
            outcome["query_id"] = message.envelope.header.query_id
        write = self._log.warning if "fault" in outcome else self._log.info
        write("management_request", trace=trace_id, **outcome)


def fault_answer(error: PostroadError, trace_id: str, *, status: int = 500) -> Answer:
    """The answer that tells a server why its request wasn't taken in."""
    fault = fault_of(_as_told(error), side_prefix=(), detail_id=trace_id)
    return Answer(status, encode_soap_fault(fault))


def _as_told(error: PostroadError) -> PostroadError:
    if isinstance(error, RegistryRefusal):
        text = f"{error.problem.value} with statusCode {error.http_status}"
        return RefusedRequest(text, code=FaultCode.INTERNAL_ERROR)
    if isinstance(error, ConfigurationError) and error.code not in _TOLD:
        return ConfigurationError("Internal error", code=FaultCode.INTERNAL_ERROR)
    return error
