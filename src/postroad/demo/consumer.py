"""The consumer's information system: plain HTTP calls to its own Security Server.

It knows nothing of signatures or certificates; this is all the code an integrator needs.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from postroad.demo.layout import CONSUMER, PROVIDER, SERVICE_CODE
from postroad.errors import UnavailablePeer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.identifiers import SubsystemId

_BLOCK: Final = b"postroad streams a body of any size at constant memory.\n" * 4681
_TIMEOUT: Final = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the Security Server."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def query_id(self) -> str:
        """The message's id, by which it is found in both logs."""
        return self.headers.get("x-road-id", "")

    @property
    def fault_code(self) -> str | None:
        """The fault's code when a Security Server refused."""
        return self.headers.get("x-road-error")

    @property
    def fault_message(self) -> str:
        """The fault's text."""
        try:
            return str(json.loads(self.body)["message"])
        except (ValueError, KeyError, TypeError):
            return self.body.decode("utf-8", "replace")


def call(
    url: str,
    method: str,
    path: str,
    *,
    body: bytes | Iterator[bytes] | None = None,
    size: int = 0,
    client: SubsystemId = CONSUMER.subsystem,
    provider: SubsystemId = PROVIDER.subsystem,
    service: str = SERVICE_CODE,
) -> Answer:
    """Call a REST service at ``path`` through the Security Server at ``url``.

    Raises ``UnavailablePeer`` when there is no HTTP answer.
    """
    target = f"/r1/{provider.encoded()}/{service}{path}"
    headers = {"X-Road-Client": client.encoded(), "X-Road-Id": str(uuid.uuid4())}
    if body is not None:
        headers["Content-Type"] = "application/octet-stream"
        headers["Content-Length"] = str(size if size or not isinstance(body, bytes) else len(body))
    return request(url, method, target, headers, body)


def request(
    url: str,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | Iterator[bytes] | None = None,
) -> Answer:
    """One HTTP request; raises ``UnavailablePeer`` when there is no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=_TIMEOUT
    )
    started = time.monotonic()
    with contextlib.closing(connection):
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            received = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailablePeer(f"no answer from {url}: {error!r}") from error
    return Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=received,
        seconds=time.monotonic() - started,
    )


def large_body(size: int) -> tuple[Iterator[bytes], str]:
    """A body of ``size`` bytes as a stream, and its SHA-512 in hex."""
    digest = hashlib.sha512()
    for block in _blocks(size):
        digest.update(block)
    return _blocks(size), digest.hexdigest()


def _blocks(size: int) -> Iterator[bytes]:
    while size > 0:
        block = _BLOCK[:size]
        size -= len(block)
        yield block


def fetch_container(url: str, client: SubsystemId, query_id: str, *, response: bool) -> Answer:
    """Fetch the signed container of one message from a Security Server's log.

    Status 200 with the container; 404 while it isn't logged, 500 while it isn't time-stamped.
    """
    query = urlencode(
        {
            "queryId": query_id,
            "xRoadInstance": client.instance,
            "memberClass": client.member_class,
            "memberCode": client.member_code,
            "subsystemCode": client.subsystem_code,
        }
    )
    kind = "responseOnly" if response else "requestOnly"
    return request(url, "GET", f"/asic?{query}&unique&{kind}", {})
