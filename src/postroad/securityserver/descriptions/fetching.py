"""How is a service description fetched when an administrator names it?

One request over HTTP or HTTPS, bounded in size and time, that follows nothing. As with the
reference any server certificate will do, since the administrator looks at what came; callers of
services and of metadata get the service's own rule. Source: UG-SS 6.1; reference: WsdlParser,
HttpUrlConnectionConfig.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client import ClientTls, HttpClient
from postroad.adapters.http_head import Url
from postroad.adapters.tls import provider_client_context
from postroad.errors import FaultCode, UnavailablePeer
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES
from postroad.securityserver.descriptions.openapi import derive_openapi
from postroad.securityserver.descriptions.openapi_validation import find_violations
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from postroad.securityserver.serverconf.models import DescriptionType
from postroad.securityserver.serverconf.services import check_url
from postroad.securityserver.service_networks import refuse_link_local

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from postroad.securityserver.descriptions.derived import Derived
    from postroad.securityserver.internal_tls import InternalIdentity

FETCH_SECONDS: Final = 30.0


async def fetch_derived(
    kind: DescriptionType,
    url: str,
    *,
    code: str,
    identity: InternalIdentity,
    validate: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
) -> Derived:
    """Fetch a WSDL or an OpenAPI document, whose service is called ``code``, and read it.

    ``validate`` gives the warnings of another judge of the WSDL at an address; what it raises is
    raised. Raises ``ConfigurationError`` for an address that is none, ``RefusedRequest`` for one
    that isn't fetched from, ``UnavailablePeer`` without an answer of status 200 in time, and
    ``MalformedInput`` for what can't be used.
    """
    document = await fetch_document(url, identity)
    if kind is DescriptionType.WSDL:
        derived = derive_wsdl(document)
        told = await validate(url) if validate is not None else ()
        return replace(derived, warnings=(*derived.warnings, *told))
    derived = derive_openapi(document, code=code, url=url)
    violations = await asyncio.to_thread(find_violations, document)
    return replace(derived, warnings=(*derived.warnings, *violations))


async def fetch_document(url: str, identity: InternalIdentity) -> bytes:
    """The bytes at an address; see ``fetch_derived``."""
    check_url(url)
    tls = None
    if Url.parse(url).scheme == "https":
        tls = ClientTls(provider_client_context(identity.key_pem, identity.chain_pem))
    client = HttpClient()
    try:
        answer = await client.fetch(
            "GET",
            url,
            headers=(("accept-encoding", "identity"),),
            timeout=FETCH_SECONDS,
            tls=tls,
            max_body=MAX_DESCRIPTION_BYTES,
            guard=refuse_link_local,
        )
    finally:
        client.close()
    if answer.status != 200:
        raise UnavailablePeer(
            f"{url} answers with HTTP status {answer.status}; redirects are not followed",
            code=FaultCode.HTTP_ERROR,
        )
    return answer.body
