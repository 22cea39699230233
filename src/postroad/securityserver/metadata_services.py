"""What do the metadata services of the provider's side answer?

Every registered client may ask; ``allowedMethods`` tells it what it has rights on. Descriptions are
fetched from where their services say they are, with the service's own rule for TLS, and lose the
addresses of the inner network. Source: PR-META 3 and 4, PR-MREST; reference:
MetadataServiceHandlerImpl, RestMetadataServiceHandlerImpl, ServerConfImpl.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from postroad.authorization.rights import held_rights
from postroad.errors import FaultCode, MalformedInput, RefusedRequest, UnavailablePeer
from postroad.identifiers import ServiceId
from postroad.messages.openapi_masking import is_json_document
from postroad.messages.rest_metadata import ListedService, encode_service_list
from postroad.messages.soap_metadata import (
    asked_service,
    encode_method_list,
    encode_wsdl_response,
)
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES, mask_wsdl
from postroad.securityserver.builtin_services import (
    BuiltinAnswer,
    BuiltinAttachment,
    BuiltinServices,
    BuiltinSoapAnswer,
)
from postroad.securityserver.descriptions.masking import mask_bounded
from postroad.securityserver.group_membership import group_membership
from postroad.securityserver.outgoing import open_service
from postroad.securityserver.serverconf.models import DescriptionType
from postroad.wire.headers import all_values, last_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from postroad.authorization.rights import AccessRight, Endpoint
    from postroad.identifiers import ClientId
    from postroad.messages.rest import RestRequest
    from postroad.securityserver.outgoing import ServiceCaller
    from postroad.securityserver.provider_exchange import Call
    from postroad.securityserver.serverconf.snapshot import ClientView, ServiceEntry
    from postroad.securityserver.soap_message import SoapRequest
    from postroad.wire.headers import HeaderList

FETCH_SECONDS: Final = 30.0
"""How long fetching a description may take as a whole."""
MAX_FETCHES: Final = 8
"""Descriptions that one process fetches at a time: everybody may ask, and each is in memory."""
MAX_MASKED: Final = 2
"""OpenAPI documents that one process masks at a time."""
MAX_QUERY_FIELDS: Final = 50


class MetadataServices:
    """The metadata services; ``new_id`` makes names of attachments."""

    def __init__(self, services: ServiceCaller, new_id: Callable[[], str]) -> None:
        self._services = services
        self._new_id = new_id
        self._fetching = asyncio.Semaphore(MAX_FETCHES)
        self._masking = asyncio.Semaphore(MAX_MASKED)

    @property
    def builtin(self) -> BuiltinServices:
        """The services by their codes."""
        return BuiltinServices(
            rest={
                "listMethods": self.list_rest,
                "allowedMethods": self.list_allowed_rest,
                "getOpenAPI": self.get_openapi,
            },
            soap={
                "listMethods": self.list_soap,
                "allowedMethods": self.list_allowed_soap,
                "getWsdl": self.get_wsdl,
            },
        )

    # ---- REST

    async def list_rest(self, call: Call, _message: RestRequest) -> BuiltinAnswer:
        """All REST services of the provider with their declared endpoints."""
        return _listing(
            _listed(call.provider, entry, call.provider.endpoints.get(entry.service_code, ()))
            for entry in _rest_services(call.provider)
        )

    async def list_allowed_rest(self, call: Call, message: RestRequest) -> BuiltinAnswer:
        """The services on which the caller has any right, with the endpoints that it covers."""

        def allowed() -> Iterator[ListedService]:
            for entry in _rest_services(call.provider):
                rights = _rights(call, message.client, entry)
                endpoints = call.provider.endpoints.get(entry.service_code, ())
                covered = tuple(
                    each
                    for each in endpoints
                    if any(right.endpoint.covers(each.method, each.path) for right in rights)
                )
                if rights:
                    yield _listed(call.provider, entry, covered)

        return _listing(allowed())

    async def get_openapi(self, call: Call, message: RestRequest) -> BuiltinAnswer:
        """The OpenAPI document of the service that the query names, without its hosts."""
        entry = call.provider.service(_asked_code(message.query))
        if entry is None:
            raise RefusedRequest("service not found", code=FaultCode.INTERNAL_ERROR)
        if entry.type != DescriptionType.OPENAPI3:
            raise RefusedRequest(
                f"the service has no OpenAPI document: it is {entry.type}",
                code=FaultCode.INTERNAL_ERROR,
            )
        headers, document = await self._fetch(entry, call.provider)
        is_json = is_json_document(all_values(headers, "content-type"), entry.description_url)
        masked = await self._mask(document, is_json=is_json)
        content_type = last_value(headers, "content-type") or "text/plain"
        return BuiltinAnswer(status=200, headers=(("Content-Type", content_type),), body=masked)

    # ---- SOAP

    async def list_soap(self, call: Call, message: SoapRequest) -> BuiltinSoapAnswer:
        """All SOAP services of the provider."""
        services = (_service_id(call.provider, each) for each in _soap_services(call.provider))
        return BuiltinSoapAnswer(xml=encode_method_list(message.envelope, services))

    async def list_allowed_soap(self, call: Call, message: SoapRequest) -> BuiltinSoapAnswer:
        """The SOAP services that the caller may call."""
        services = (
            _service_id(call.provider, entry)
            for entry in _soap_services(call.provider)
            if _rights(call, message.client, entry)
        )
        return BuiltinSoapAnswer(xml=encode_method_list(message.envelope, services))

    async def get_wsdl(self, call: Call, message: SoapRequest) -> BuiltinSoapAnswer:
        """The WSDL of the service that the body names, as an attachment."""
        code, version = asked_service(message.envelope)
        entry = call.provider.service(code, version)
        if entry is None:
            raise RefusedRequest(
                f"could not find wsdl URL for service {code}", code=FaultCode.UNKNOWN_SERVICE
            )
        if entry.type != DescriptionType.WSDL:
            raise RefusedRequest(
                "service is a REST service and does not have a WSDL", code=FaultCode.SERVICE_TYPE
            )
        _headers, document = await self._fetch(entry, call.provider)
        masked = await asyncio.to_thread(mask_wsdl, document)
        attachment = BuiltinAttachment(
            content_type="text/xml",
            headers=(
                ("Content-Transfer-Encoding", "binary"),
                ("Content-ID", f"<wsdl={self._new_id()}@x-road.eu>"),
            ),
            data=masked,
        )
        return BuiltinSoapAnswer(
            xml=encode_wsdl_response(message.envelope), attachments=(attachment,)
        )

    # ---- fetching

    async def _mask(self, document: bytes, *, is_json: bool) -> bytes:
        """A document without hosts; few at a time, for each keeps a processor busy."""
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._masking:
                return await asyncio.to_thread(mask_bounded, document, is_json=is_json)
        except TimeoutError as error:
            raise UnavailablePeer("the service description isn't ready in time") from error

    async def _fetch(self, entry: ServiceEntry, provider: ClientView) -> tuple[HeaderList, bytes]:
        """Headers and bytes of a description; raises as calls of services do."""
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._fetching:
                return await self._fetch_bounded(entry, provider)
        except TimeoutError as error:
            raise UnavailablePeer("the service description doesn't arrive in time") from error

    async def _fetch_bounded(
        self, entry: ServiceEntry, provider: ClientView
    ) -> tuple[HeaderList, bytes]:
        exchange = await open_service(
            self._services,
            "GET",
            entry.description_url,
            (("accept-encoding", "identity"),),
            content_length=0,
            service=entry,
            provider=provider,
        )
        try:
            await exchange.finish()
            head = await exchange.response()
            if head.status != 200:
                raise UnavailablePeer(
                    f"the service description is answered with HTTP status {head.status}",
                    code=FaultCode.INTERNAL_ERROR,
                )
            document = bytearray()
            while data := await exchange.read_some():
                document += data
                if len(document) > MAX_DESCRIPTION_BYTES:
                    raise MalformedInput(
                        f"the service description has more than {MAX_DESCRIPTION_BYTES} bytes",
                        code=FaultCode.INTERNAL_ERROR,
                    )
            return head.headers, bytes(document)
        finally:
            exchange.close()


def _rest_services(provider: ClientView) -> tuple[ServiceEntry, ...]:
    return tuple(entry for entry in provider.services if entry.is_rest)


def _soap_services(provider: ClientView) -> tuple[ServiceEntry, ...]:
    return tuple(entry for entry in provider.services if not entry.is_rest)


def _rights(call: Call, client: ClientId, entry: ServiceEntry) -> tuple[AccessRight, ...]:
    return held_rights(
        client,
        call.provider.rights(entry.service_code),
        group_membership(call.snapshot.globalconf, call.provider),
    )


def _service_id(provider: ClientView, entry: ServiceEntry) -> ServiceId:
    return ServiceId(provider.identifier, entry.service_code, entry.service_version)


def _listed(
    provider: ClientView, entry: ServiceEntry, endpoints: Iterable[Endpoint]
) -> ListedService:
    return ListedService.of(
        _service_id(provider, entry),
        ((endpoint.method, endpoint.path) for endpoint in endpoints),
        is_openapi=entry.type == DescriptionType.OPENAPI3,
    )


def _listing(services: Iterable[ListedService]) -> BuiltinAnswer:
    return BuiltinAnswer(
        status=200,
        headers=(("Content-Type", "application/json"),),
        body=encode_service_list(services),
    )


def _asked_code(query: str | None) -> str:
    """The service code in the query of ``getOpenAPI``: named in any case; the last one counts."""
    try:
        pairs = parse_qsl(query or "", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise MalformedInput("too many parameters", code=FaultCode.INVALID_REQUEST) from error
    codes = [value for name, value in pairs if name.lower() == "servicecode"]
    if not codes:
        raise MalformedInput("missing serviceCode in the query", code=FaultCode.INVALID_REQUEST)
    return codes[-1]
