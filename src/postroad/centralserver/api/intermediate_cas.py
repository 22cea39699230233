"""Intermediate CAs of certification services. Source: reference ``IntermediateCasController``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.ca_responders import responder_operations
from postroad.centralserver.api.certification_services import (
    CertificateAuthority,
    authority_payload,
)
from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.registry import trust_services
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.roles import Permission

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.trust_services import CaCertificate


def get_authority(call: Call) -> CertificateAuthority:
    """One intermediate CA."""
    with call.reading() as session:
        return authority_payload(_load(call, session))


def delete_authority(call: Call) -> None:
    """Remove an intermediate CA with its OCSP responders."""
    with call.changing() as change:
        trust_services.delete_intermediate_ca(change, call.number("intermediate_ca_id"))


def delete_responder(call: Call) -> None:
    """Remove an OCSP responder of this intermediate CA, and of no other."""
    wanted = call.number("ocsp_responder_id")
    with call.changing() as change:
        if all(row.id != wanted for row in _load(call, change.session).ocsp_responders):
            raise RegistryRefusal(Problem.OCSP_RESPONDER_NOT_FOUND, f"no OCSP responder {wanted}")
        trust_services.delete_ocsp_responder(change, wanted)


def _load(call: Call, session: Session) -> CaCertificate:
    return trust_services.load_intermediate_ca(session, call.number("intermediate_ca_id"))


_PATH: Final = "/intermediate-cas/{intermediate_ca_id}"
_VIEW: Final = any_of(Permission.VIEW_APPROVED_CA_DETAILS)
_ADD: Final = any_of(Permission.ADD_APPROVED_CA)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path=_PATH,
        name="getIntermediateCa",
        handler=get_authority,
        needs=_VIEW,
        answer=CertificateAuthority,
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        name="deleteIntermediateCa",
        handler=delete_authority,
        needs=_ADD,
        status=204,
        event="Delete intermediate CA",
    ),
    *responder_operations(
        _PATH, "IntermediateCa", _load, event="Add OCSP responder of intermediate CA"
    ),
    Operation(
        method="DELETE",
        path=_PATH + "/ocsp-responders/{ocsp_responder_id}",
        name="deleteIntermediateCaOcspResponder",
        handler=delete_responder,
        needs=_ADD,
        status=204,
        event="Delete OCSP responder",
    ),
)
