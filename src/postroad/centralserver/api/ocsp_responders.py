"""OCSP responders, whatever CA they are of. Source: reference ``OcspRespondersController``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.ca_responders import (
    OcspResponder,
    responder_payload,
    uploaded,
)
from postroad.centralserver.api.certificates import CertificateDetails, certificate_details
from postroad.centralserver.api.operations import Call, Operation, Upload, any_of
from postroad.centralserver.api.refusals import ApiRefusal
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.registry import trust_services
from postroad.centralserver.roles import Permission
from postroad.globalconf.shared_parameters import CostType

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.trust_services import OcspResponder as OcspRow


class OcspResponderEdit(Payload):
    """What may be changed of an OCSP responder; what is absent stays."""

    url: Text | None = None
    cost_type: CostType | None = None
    certificate: Upload | None = None


def get_responder(call: Call) -> OcspResponder:
    """One OCSP responder."""
    with call.reading() as session:
        return responder_payload(_load(call, session))


def edit_responder(call: Call) -> OcspResponder:
    """Change an OCSP responder."""
    body: OcspResponderEdit = call.body
    with call.changing() as change:
        row = _load(call, change.session)
        trust_services.edit_ocsp_responder(
            change,
            row.id,
            url=body.url or row.url,
            certificate=uploaded(body.certificate) or row.certificate,
            cost_type=body.cost_type or CostType(row.cost_type),
        )
        return responder_payload(row)


def delete_responder(call: Call) -> None:
    """Remove an OCSP responder."""
    with call.changing() as change:
        trust_services.delete_ocsp_responder(change, _number(call))


def get_certificate(call: Call) -> CertificateDetails:
    """The certificate that an OCSP responder signs with."""
    with call.reading() as session:
        certificate = _load(call, session).certificate
    if certificate is None:
        raise ApiRefusal(404, "ocsp_responder_certificate_not_found")
    return certificate_details(certificate)


def _number(call: Call) -> int:
    return call.number("ocsp_responder_id")


def _load(call: Call, session: Session) -> OcspRow:
    return trust_services.load_ocsp_responder(session, _number(call))


_PATH: Final = "/ocsp-responders/{ocsp_responder_id}"
_VIEW: Final = any_of(Permission.VIEW_APPROVED_CA_DETAILS)
_EDIT: Final = any_of(Permission.EDIT_APPROVED_CA)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path=_PATH,
        name="getOcspResponder",
        handler=get_responder,
        needs=_VIEW,
        answer=OcspResponder,
    ),
    Operation(
        method="PATCH",
        path=_PATH,
        name="updateOcspResponder",
        handler=edit_responder,
        needs=_EDIT,
        form=OcspResponderEdit,
        answer=OcspResponder,
        event="Edit OCSP responder",
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        name="deleteOcspResponder",
        handler=delete_responder,
        needs=_EDIT,
        status=204,
        event="Delete OCSP responder",
    ),
    Operation(
        method="GET",
        path=_PATH + "/certificate",
        name="getOcspRespondersCertificate",
        handler=get_certificate,
        needs=_VIEW,
        answer=CertificateDetails,
    ),
)
