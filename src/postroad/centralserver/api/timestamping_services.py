"""Time-stamping services. Source: reference ``TimestampingServicesApiController``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.ca_responders import uploaded
from postroad.centralserver.api.certificates import CertificateDetails, certificate_details
from postroad.centralserver.api.operations import Call, Operation, Upload, any_of
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.registry import trust_services
from postroad.centralserver.registry.parameters import Parameter, number_parameter
from postroad.centralserver.roles import Permission
from postroad.globalconf.shared_parameters import CostType

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.trust_services import ApprovedTsa


class TimestampingServiceForm(Payload):
    """A time-stamping service to be."""

    url: Text
    certificate: Upload
    cost_type: CostType = CostType.UNDEFINED


class TimestampingServiceEdit(Payload):
    """What may be changed of a time-stamping service; what is absent stays."""

    url: Text | None = None
    cost_type: CostType | None = None
    certificate: Upload | None = None


class TimestampingService(Payload):
    """A time-stamping service."""

    id: int
    name: str
    url: str
    cost_type: str
    timestamping_interval: int
    certificate: CertificateDetails


def list_services(call: Call) -> list[TimestampingService]:
    """All time-stamping services."""
    with call.reading() as session:
        return [_payload(session, row) for row in trust_services.list_tsas(session)]


def get_service(call: Call) -> TimestampingService:
    """One time-stamping service."""
    with call.reading() as session:
        return _payload(session, trust_services.load_tsa(session, _number(call)))


def add_service(call: Call) -> TimestampingService:
    """Approve a time-stamping service."""
    body: TimestampingServiceForm = call.body
    with call.changing() as change:
        row = trust_services.add_tsa(
            change, body.certificate.data, body.url, cost_type=body.cost_type
        )
        return _payload(change.session, row)


def edit_service(call: Call) -> TimestampingService:
    """Change a time-stamping service."""
    body: TimestampingServiceEdit = call.body
    with call.changing() as change:
        row = trust_services.load_tsa(change.session, _number(call))
        trust_services.edit_tsa(
            change,
            row.id,
            url=body.url or row.url,
            cost_type=body.cost_type or CostType(row.cost_type),
            certificate=uploaded(body.certificate),
        )
        return _payload(change.session, row)


def delete_service(call: Call) -> None:
    """No longer approve a time-stamping service."""
    with call.changing() as change:
        trust_services.delete_tsa(change, _number(call))


def _number(call: Call) -> int:
    return call.number("timestamping_service_id")


def _payload(session: Session, row: ApprovedTsa) -> TimestampingService:
    return TimestampingService(
        id=row.id,
        name=row.name,
        url=row.url,
        cost_type=row.cost_type,
        timestamping_interval=number_parameter(session, Parameter.TIMESTAMPING_INTERVAL),
        certificate=certificate_details(row.certificate),
    )


_PATH: Final = "/timestamping-services/{timestamping_service_id}"
_VIEW: Final = any_of(Permission.VIEW_APPROVED_TSAS)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/timestamping-services",
        name="getTimestampingServices",
        handler=list_services,
        needs=_VIEW,
        answer=list[TimestampingService],
    ),
    Operation(
        method="POST",
        path="/timestamping-services",
        name="addTimestampingService",
        handler=add_service,
        needs=any_of(Permission.ADD_APPROVED_TSA),
        status=201,
        form=TimestampingServiceForm,
        answer=TimestampingService,
        event="Add timestamping service",
    ),
    Operation(
        method="GET",
        path=_PATH,
        name="getTimestampingService",
        handler=get_service,
        needs=_VIEW,
        answer=TimestampingService,
    ),
    Operation(
        method="PATCH",
        path=_PATH,
        name="updateTimestampingService",
        handler=edit_service,
        needs=any_of(Permission.EDIT_APPROVED_TSA),
        form=TimestampingServiceEdit,
        answer=TimestampingService,
        event="Edit timestamping service",
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        name="deleteTimestampingService",
        handler=delete_service,
        needs=any_of(Permission.DELETE_APPROVED_TSA),
        status=204,
        event="Delete timestamping service",
    ),
)
