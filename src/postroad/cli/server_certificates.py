"""`postroad server cert`: certificates of the signer's keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.signer_protocol import CertificateStatus
from postroad.cli.server_audit import note
from postroad.cli.server_context import home_option, local_members, read_file, show, with_signer
from postroad.cli.server_tokens import find_token
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.securityserver.possible_actions import (
    Action,
    certificate_actions,
    require_action,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from postroad.adapters.signer_client import SignerClient
    from postroad.adapters.signer_protocol import CertificateRecord, KeyRecord, TokenInfo
    from postroad.ports import KeyCertificate
    from postroad.securityserver.settings import Settings


@click.group()
def cert() -> None:
    """Certificates of the token's keys."""


@cert.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--from-token", metavar="ID", help="Import what lies on a hardware token instead.")
@click.option("--activate", "also_activate", is_flag=True, help="Activate it too.")
@home_option
def cert_import(
    home: Path,
    file: Path | None,
    from_token: str | None,
    also_activate: bool,
) -> None:
    """Import a certificate (PEM or DER) for one of the keys."""
    if (file is None) == (from_token is None):
        raise click.UsageError("give a file, or --from-token")
    data = None if file is None else read_file(file)

    async def work(signer: SignerClient, settings: Settings) -> list[str]:
        if data is not None:
            return [await _import(signer, settings, data, activate=also_activate)]
        token = find_token(await signer.tokens(), str(from_token)).token.id
        known = {entry.der for entry in await signer.certificates()}
        found = await signer.certificates_on_token(token)
        return [
            await _import(signer, settings, der, activate=also_activate)
            for der in found
            if der not in known
        ]

    imported = with_signer(home, work)
    note(certHashes=imported)
    for certificate_hash in imported:
        click.echo(certificate_hash)


async def _import(signer: SignerClient, settings: Settings, data: bytes, *, activate: bool) -> str:
    from postroad.adapters.system_clock import SystemClock
    from postroad.securityserver.certificates import import_certificate
    from postroad.securityserver.globalconf_files import load_globalconf

    record = await import_certificate(
        signer,
        data,
        globalconf=load_globalconf(settings),
        local_members=local_members(settings),
        at=SystemClock().now(),
    )
    if activate:
        await _activate(signer, settings, record.hash)
    return record.hash


@cert.command("activate")
@click.argument("certificate_hash")
@home_option
def cert_activate(home: Path, certificate_hash: str) -> None:
    """Use a certificate from now on; its OCSP response must be good."""
    with_signer(home, lambda signer, settings: _activate(signer, settings, certificate_hash))
    click.echo("the certificate is active")


@cert.command("deactivate")
@click.argument("certificate_hash")
@home_option
def cert_deactivate(home: Path, certificate_hash: str) -> None:
    """Stop using a certificate."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        from postroad.securityserver.certificates import find_certificate

        certificate = await find_certificate(signer, certificate_hash)
        await signer.set_certificate(certificate.sha256.hex(), active=False)

    with_signer(home, work)
    click.echo("the certificate is not active")


@cert.command("delete")
@click.argument("certificate_hash")
@click.confirmation_option(prompt="Delete the certificate?")
@home_option
def cert_delete(home: Path, certificate_hash: str) -> None:
    """Delete a certificate; its key stays."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        record, certificate = _find_record(await signer.tokens(), certificate_hash)
        require_action(
            certificate_actions(record, certificate),
            Action.DELETE,
            "the registry knows this certificate: unregister it first, or `cert mark-deleted` it",
        )
        await signer.delete_certificate(certificate.hash)

    with_signer(home, work)
    click.echo("the certificate is deleted")


@cert.command("mark-deleted")
@click.argument("certificate_hash")
@home_option
def cert_mark_deleted(home: Path, certificate_hash: str) -> None:
    """Give a registered authentication certificate up when no request can tell the registry.

    It is used no longer and can be deleted here; the Central Server's operator must be told.
    """

    async def work(signer: SignerClient, _settings: Settings) -> None:
        record, certificate = _find_record(await signer.tokens(), certificate_hash)
        require_action(
            certificate_actions(record, certificate),
            Action.UNREGISTER,
            "the registry doesn't know this certificate: delete it",
        )
        await signer.set_certificate(
            certificate.hash, active=False, status=CertificateStatus.DELETION_IN_PROGRESS
        )

    with_signer(home, work)
    click.echo("the certificate is given up; the registry still lists it until it is told")


@cert.command("show")
@click.argument("certificate_hash")
@home_option
def cert_show(home: Path, certificate_hash: str) -> None:
    """Show everything about a certificate, and what can be done with it."""
    from postroad.crypto.certificates import Certificate

    infos = with_signer(home, lambda signer, _settings: signer.tokens())
    record, entry = _find_record(infos, certificate_hash)
    certificate = Certificate.from_der(entry.der)
    facts = {
        "sha-256": entry.hash,
        "subject": certificate.subject_rfc2253,
        "issuer": certificate.issuer_rfc2253,
        "serial": str(certificate.serial),
        "valid": f"{certificate.not_before.isoformat()} to {certificate.not_after.isoformat()}",
        "key": f"{record.friendly_name} ({record.algorithm}, {record.usage})",
        "member": entry.member,
        "status": f"{entry.status}, {'active' if entry.active else 'not active'}",
        "renewed by": entry.renewed_by,
        "next renewal": entry.next_renewal,
        "renewal failed": entry.renewal_error,
        "activation failed": entry.activation_error,
        "possible": ", ".join(sorted(certificate_actions(record, entry))),
    }
    for name, value in facts.items():
        if value is not None:
            click.echo(f"{name + ':':<18} {value}")
    click.echo(certificate.pem.decode("ascii"), nl=False)


@cert.command("list")
@home_option
def cert_list(home: Path) -> None:
    """List the certificates with their state, and warn of those that end soon."""
    from postroad.adapters.system_clock import SystemClock
    from postroad.crypto.certificates import Certificate
    from postroad.securityserver.certificate_states import expiry_warnings

    at = SystemClock().now()

    async def work(signer: SignerClient, settings: Settings) -> list[tuple[object, ...]]:
        entries = await signer.certificates()
        warnings.extend(warning.text for warning in expiry_warnings(entries, at))
        state_of = _ocsp_states(settings, at)
        renewals = {
            record.der: _renewal(record)
            for info in await signer.tokens()
            for key in info.token.keys
            for record in key.certificates
        }
        warnings.extend(
            f"the renewal of {Certificate.from_der(der).sha256.hex().upper()[:16]} {text}"
            for der, text in renewals.items()
            if text and text.startswith("failed")
        )
        return [
            (
                certificate.sha256.hex().upper()[:16],
                entry.usage,
                entry.member,
                entry.active,
                entry.status,
                state_of(entry),
                certificate.not_after.date().isoformat(),
                (renewals.get(entry.der) or "-").partition(":")[0],
                certificate.subject_rfc2253,
            )
            for entry in entries
            for certificate in (Certificate.from_der(entry.der),)
        ]

    warnings: list[str] = []
    rows = with_signer(home, work)
    columns = ("sha-256", "usage", "member", "active", "status", "OCSP", "valid until", "renewal")
    show((*columns, "subject"), rows)
    for warning in warnings:
        click.echo(f"WARNING: {warning}", err=True)


def _renewal(record: CertificateRecord) -> str | None:
    """How far the renewal is, in a few words; a failure with its reason."""
    if record.renewal_error:
        return f"failed: {record.renewal_error}"
    if record.renewed_by:
        return f"by {record.renewed_by[:16]}"
    return record.next_renewal and record.next_renewal.partition("T")[0]


def _ocsp_states(settings: Settings, at: datetime) -> Callable[[KeyCertificate], str | None]:
    """How to tell a certificate's OCSP state; nothing is told without a global configuration."""
    from postroad.securityserver.certificate_states import ocsp_state
    from postroad.securityserver.globalconf_files import load_globalconf
    from postroad.securityserver.snapshots import OcspDirectory

    try:
        globalconf = load_globalconf(settings)
    except PostroadError:
        return lambda _entry: None
    directory = OcspDirectory(settings.ocsp_path)
    directory.refresh()
    return lambda entry: ocsp_state(entry, directory.responses, globalconf, at)


def _find_record(
    infos: Sequence[TokenInfo], certificate_hash: str
) -> tuple[KeyRecord, CertificateRecord]:
    """The certificate whose SHA-256 begins with these digits (8 at least), and its key."""
    wanted = certificate_hash.replace(":", "").upper()
    found = [
        (record, certificate)
        for info in infos
        for record in info.token.keys
        for certificate in record.certificates
        if certificate.hash.startswith(wanted)
    ]
    if len(found) != 1 or len(wanted) < 8:
        raise ConfigurationError(
            "no such certificate" if not found else "the hash is too short to name one certificate",
            code=FaultCode.CERT_NOT_FOUND,
        )
    return found[0]


async def _activate(signer: SignerClient, settings: Settings, certificate_hash: str) -> None:
    from postroad.adapters.http_client import HttpClient
    from postroad.adapters.system_clock import SystemClock
    from postroad.securityserver.certificates import activate_certificate
    from postroad.securityserver.globalconf_files import load_globalconf
    from postroad.securityserver.ocsp_fetching import OcspClient

    clock = SystemClock()
    http = HttpClient()
    try:
        await activate_certificate(
            signer,
            certificate_hash,
            globalconf=load_globalconf(settings),
            ocsp=OcspClient(settings.ocsp_path, http, clock),
            at=clock.now(),
        )
    finally:
        http.close()
