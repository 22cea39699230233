"""``postroad central``: certification and time-stamping services from a shell."""

from __future__ import annotations

from pathlib import Path

import click

from postroad.centralserver.registry import trust_services
from postroad.cli.central_context import (
    changing,
    home_option,
    json_option,
    read_file,
    reading,
    show,
)
from postroad.globalconf.shared_parameters import CostType, CsrFormat

_COST = click.option(
    "--cost",
    type=click.Choice([cost.value for cost in CostType]),
    default=CostType.UNDEFINED.value,
    show_default=True,
    help="Whether calls cost money.",
)
_FILE = click.Path(path_type=Path)


@click.group("ca")
def ca() -> None:
    """Approved certification services."""


@ca.command("add")
@click.argument("certificate", type=_FILE)
@click.option("--profile", required=True, help="Certificate profile, for example FiVRK or Basic.")
@click.option("--authentication-only", is_flag=True, help="Its certificates never sign messages.")
@click.option("--csr-format", type=click.Choice([form.value for form in CsrFormat]))
@click.option("--acme-directory", help="Address of its ACME directory.")
@home_option
def add_ca(
    certificate: Path,
    profile: str,
    csr_format: str | None,
    acme_directory: str | None,
    home: Path,
    *,
    authentication_only: bool,
) -> None:
    """Approve the certification service with that top CA certificate (PEM or DER)."""
    settings = trust_services.CaSettings(
        certificate_profile_info=profile,
        authentication_only=authentication_only,
        default_csr_format=CsrFormat(csr_format) if csr_format else None,
        acme=trust_services.AcmeSettings(directory_url=acme_directory) if acme_directory else None,
    )
    with changing(home) as change:
        trust_services.add_approved_ca(change, read_file(certificate), settings)


@ca.command("add-intermediate")
@click.argument("ca_id", type=int)
@click.argument("certificate", type=_FILE)
@home_option
def add_intermediate(ca_id: int, certificate: Path, home: Path) -> None:
    """Add an intermediate CA to a certification service."""
    with changing(home) as change:
        trust_services.add_intermediate_ca(change, ca_id, read_file(certificate))


@ca.command("remove-intermediate")
@click.argument("intermediate_id", type=int)
@home_option
def remove_intermediate(intermediate_id: int, home: Path) -> None:
    """Remove an intermediate CA with its OCSP responders."""
    with changing(home) as change:
        trust_services.delete_intermediate_ca(change, intermediate_id)


@ca.command("remove")
@click.argument("ca_id", type=int)
@click.confirmation_option(prompt="Stop trusting every certificate of this service?")
@home_option
def remove_ca(ca_id: int, home: Path) -> None:
    """No longer approve a certification service."""
    with changing(home) as change:
        trust_services.delete_approved_ca(change, ca_id)


@ca.command("list")
@home_option
@json_option
def list_cas(home: Path, *, as_json: bool) -> None:
    """List the certification services with their CAs and OCSP responders."""
    with reading(home) as session:
        rows = [
            (
                row.id,
                row.name,
                row.certificate_profile_info.rpartition(".")[2],
                row.authentication_only,
                certificate.id,
                "top" if certificate.is_top else "intermediate",
                certificate.subject,
                " ".join(f"{r.id}:{r.url}" for r in certificate.ocsp_responders),
            )
            for row in trust_services.list_approved_cas(session)
            for certificate in row.certificates
        ]
    columns = (
        "id",
        "name",
        "profile",
        "authentication_only",
        "ca_id",
        "kind",
        "subject",
        "ocsp_responders",
    )
    show("Certification services", columns, rows, as_json=as_json)


@click.group("ocsp")
def ocsp() -> None:
    """OCSP responders of approved certification services."""


@ocsp.command("add")
@click.argument("ca_id", type=int)
@click.argument("url")
@click.option("--cert", "certificate", type=_FILE, help="The certificate that signs its answers.")
@click.option("--intermediate", type=int, help="Of this intermediate CA instead of the top CA.")
@_COST
@home_option
def add_ocsp(
    ca_id: int,
    url: str,
    certificate: Path | None,
    intermediate: int | None,
    cost: str,
    home: Path,
) -> None:
    """Add an OCSP responder to a certification service."""
    with changing(home) as change:
        if intermediate is None:
            approved = trust_services.load_approved_ca(change.session, ca_id)
            issuer = trust_services.top_certificate(approved)
        else:
            issuer = trust_services.load_intermediate_ca(change.session, intermediate)
        trust_services.add_ocsp_responder(
            change,
            issuer,
            url,
            certificate=None if certificate is None else read_file(certificate),
            cost_type=CostType(cost),
        )


@ocsp.command("remove")
@click.argument("responder_id", type=int)
@home_option
def remove_ocsp(responder_id: int, home: Path) -> None:
    """Remove an OCSP responder."""
    with changing(home) as change:
        trust_services.delete_ocsp_responder(change, responder_id)


@click.group("tsa")
def tsa() -> None:
    """Approved time-stamping services."""


@tsa.command("add")
@click.argument("certificate", type=_FILE)
@click.argument("url")
@_COST
@home_option
def add_tsa(certificate: Path, url: str, cost: str, home: Path) -> None:
    """Approve the time-stamping service with that certificate (PEM or DER)."""
    with changing(home) as change:
        trust_services.add_tsa(change, read_file(certificate), url, cost_type=CostType(cost))


@tsa.command("remove")
@click.argument("tsa_id", type=int)
@home_option
def remove_tsa(tsa_id: int, home: Path) -> None:
    """No longer approve a time-stamping service."""
    with changing(home) as change:
        trust_services.delete_tsa(change, tsa_id)


@tsa.command("list")
@home_option
@json_option
def list_tsas(home: Path, *, as_json: bool) -> None:
    """List the time-stamping services."""
    with reading(home) as session:
        rows = [
            (row.id, row.name, row.url, row.cost_type, row.valid_to.date().isoformat())
            for row in trust_services.list_tsas(session)
        ]
    columns = ("id", "name", "url", "cost", "valid_to")
    show("Time-stamping services", columns, rows, as_json=as_json)


COMMANDS = (ca, ocsp, tsa)
"""What this module adds to ``postroad central``."""
