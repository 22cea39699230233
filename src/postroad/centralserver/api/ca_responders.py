"""The OCSP responders of a CA, be it a top CA or an intermediate one.

Source: reference ``CertificationServicesController`` and ``IntermediateCasController``, which show
and add them alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.api.operations import Call, Operation, Upload, any_of
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.registry import trust_services
from postroad.centralserver.roles import Permission
from postroad.globalconf.shared_parameters import CostType

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from postroad.centralserver.models.trust_services import CaCertificate
    from postroad.centralserver.models.trust_services import OcspResponder as OcspRow


class OcspResponderForm(Payload):
    """An OCSP responder to be."""

    url: Text
    cost_type: CostType = CostType.UNDEFINED
    certificate: Upload | None = None


class OcspResponder(Payload):
    """An OCSP responder."""

    id: int
    url: str
    cost_type: str
    has_certificate: bool


def responder_payload(row: OcspRow) -> OcspResponder:
    """An OCSP responder."""
    return OcspResponder(
        id=row.id,
        url=row.url,
        cost_type=row.cost_type,
        has_certificate=row.certificate is not None,
    )


def uploaded(file: Upload | None) -> bytes | None:
    """The content of a file that may be left out; an empty one counts as such."""
    return file.data if file is not None and file.data else None


def responder_operations(
    path: str, owner: str, load: Callable[[Call, Session], CaCertificate], *, event: str
) -> tuple[Operation, Operation]:
    """Listing and adding the responders of the CA that ``load`` finds for a call.

    ``path`` is that of the CA; ``owner`` is its kind, as the operations' names have it.
    """

    def list_responders(call: Call) -> list[OcspResponder]:
        with call.reading() as session:
            return [responder_payload(row) for row in load(call, session).ocsp_responders]

    def add_responder(call: Call) -> OcspResponder:
        body: OcspResponderForm = call.body
        with call.changing() as change:
            row = trust_services.add_ocsp_responder(
                change,
                load(call, change.session),
                body.url,
                certificate=uploaded(body.certificate),
                cost_type=body.cost_type,
            )
            return responder_payload(row)

    return (
        Operation(
            method="GET",
            path=path + "/ocsp-responders",
            name=f"get{owner}OcspResponders",
            handler=list_responders,
            needs=any_of(Permission.VIEW_APPROVED_CA_DETAILS),
            answer=list[OcspResponder],
        ),
        Operation(
            method="POST",
            path=path + "/ocsp-responders",
            name=f"add{owner}OcspResponder",
            handler=add_responder,
            needs=any_of(Permission.ADD_APPROVED_CA),
            status=201,
            form=OcspResponderForm,
            answer=OcspResponder,
            event=event,
        ),
    )
