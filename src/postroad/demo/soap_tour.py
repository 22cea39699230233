"""The SOAP exchanges that the demo shows: plain, with attachments, with MTOM, and a fault."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from postroad.demo.consumer import large_body
from postroad.demo.descriptions import CERTIFY, FIND_PERSON, REGISTER, SOAP_VERSION
from postroad.demo.evidence import Exchange
from postroad.demo.soap_consumer import SoapAnswer, call_soap
from postroad.demo.soap_package import Attachment
from postroad.demo.soap_provider import included
from postroad.demo.steps import Shown, expect
from postroad.errors import ConfigurationError
from postroad.messages.soap import SoapEnvelope, SoapFault

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTACHED_BYTES: Final = 3 * 1000 * 1000


def show_soap(url: str, exchanges: list[Exchange]) -> Iterator[Shown]:
    """Call the provider's SOAP services through the Security Server at ``url``.

    What both sides must be able to prove is added to ``exchanges``.
    """
    yield _ask(url, exchanges)
    yield _attach(url, exchanges, is_mtom=False)
    yield _attach(url, exchanges, is_mtom=True)
    yield _get_fault(url, exchanges)


def find_person(number: str) -> str:
    """The body of a question for a person."""
    return f'<r:{FIND_PERSON} xmlns:r="{REGISTER}"><r:number>{number}</r:number></r:{FIND_PERSON}>'


def soap_took(answer: SoapAnswer) -> str:
    """How long an exchange took, and the id it is found by."""
    return f"{answer.seconds * 1000:.0f} ms, id {answer.query_id}"


def message_of(answer: SoapAnswer) -> SoapEnvelope:
    """The message that came; raises ``ConfigurationError`` for a fault."""
    if isinstance(answer.document, SoapFault):
        fault = answer.document.fault
        raise ConfigurationError(f"a SOAP fault: {fault.code} {fault.string}")
    return answer.document


def _ask(url: str, exchanges: list[Exchange]) -> Shown:
    answer = call_soap(url, FIND_PERSON, find_person("2"), version=SOAP_VERSION)
    message = message_of(answer)
    if "Aino Virtanen" not in answer.text:
        raise ConfigurationError("the SOAP service answered something else")
    exchanges.append(Exchange(f"SOAP {FIND_PERSON}", answer.query_id))
    return Shown(
        f"A SOAP message: {FIND_PERSON}", (soap_took(answer), f"{message.body_name}: Aino Virtanen")
    )


def _attach(url: str, exchanges: list[Exchange], *, is_mtom: bool) -> Shown:
    blocks, _ = large_body(ATTACHED_BYTES)
    document = Attachment("document", "application/pdf", b"".join(blocks))
    content = included(document.name) if is_mtom else ""
    answer = call_soap(
        url,
        CERTIFY,
        f'<r:{CERTIFY} xmlns:r="{REGISTER}">{content}</r:{CERTIFY}>',
        version=SOAP_VERSION,
        attachments=(document,),
        is_mtom=is_mtom,
    )
    message_of(answer)
    digest = hashlib.sha512(document.data).hexdigest()
    expect("the form of the answer", answer.is_mtom, is_mtom)
    expect("attachments of the answer", len(answer.attachments), 2)
    returned, certificate = answer.attachments
    if returned != document or digest not in answer.text or digest.encode() not in certificate.data:
        raise ConfigurationError("the attachments came back changed")
    kind = "MTOM" if is_mtom else "an attachment"
    exchanges.append(Exchange(f"SOAP {CERTIFY}, {kind}", answer.query_id))
    return Shown(
        f"A SOAP message with {kind} of {ATTACHED_BYTES / 1e6:.0f} MB: {CERTIFY}",
        (
            soap_took(answer),
            f"two attachments came back: the same document, and {certificate.name!r} for it",
        ),
    )


def _get_fault(url: str, exchanges: list[Exchange]) -> Shown:
    answer = call_soap(url, FIND_PERSON, find_person("99"), version=SOAP_VERSION)
    if not isinstance(answer.document, SoapFault):
        raise ConfigurationError("the service's fault did not come through")
    fault = answer.document.fault
    expect("the service's fault", fault.string, "nobody has the number 99")
    title = f"SOAP {FIND_PERSON} of nobody"
    exchanges.append(Exchange(title, answer.query_id, has_response=False))
    return Shown(
        "A SOAP fault of the service, passed on as it is", (f"{fault.code}: {fault.string}",)
    )
