"""``postroad lab``: a test CA, OCSP responder and time-stamping authority on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import click

from postroad.adapters.system_clock import SystemClock
from postroad.crypto.profiles import CertificateProfile
from postroad.errors import ConfigurationError
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.faults import SERVICES, FaultPlan
from postroad.trustlab.home import LabHome, parse_serial
from postroad.trustlab.issuing import KeyKind
from postroad.trustlab.profiles import CertificateKind

_PROFILES = {profile.name.lower().replace("_", "-"): profile for profile in CertificateProfile}
_home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the lab.",
)


@click.group("lab")
def command() -> None:
    """Run a test CA, OCSP responder and time-stamping authority. For trials only."""


@command.command()
@_home_option
@click.option("--name", default="Postroad Lab", show_default=True, help="Organization in names.")
@click.option(
    "--keys",
    type=click.Choice([kind.value for kind in KeyKind]),
    default=KeyKind.RSA_2048.value,
    show_default=True,
    help="Kind of the lab's own keys.",
)
@click.option(
    "--profile",
    type=click.Choice(sorted(_PROFILES)),
    default="fi-vrk",
    show_default=True,
    help="Certificate profile to announce to members.",
)
@click.option("--root-only", is_flag=True, help="Let the root issue, without an intermediate CA.")
def init(home: Path, name: str, keys: str, profile: str, *, root_only: bool) -> None:
    """Make a lab: keys and certificates of its authorities."""
    lab = TrustLab.create(
        at=SystemClock().now(),
        name=name,
        keys=KeyKind(keys),
        intermediate=not root_only,
        profile=_PROFILES[profile],
    )
    LabHome(home).store(lab)
    click.echo(f"Trust lab made in {home}")
    click.echo(f"  certificate profile  {lab.profile}")
    click.echo(f"  root CA              {home / 'certs' / 'root-ca.pem'}")
    click.echo(f"  issuing CA           {home / 'certs' / 'ca.pem'}")
    click.echo(f"  OCSP responder       {home / 'certs' / 'ocsp.pem'}")
    click.echo(f"  time-stamping        {home / 'certs' / 'tsa.pem'}")


@command.command()
@_home_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=8889, show_default=True, help="All services.")
@click.option("--ocsp-port", type=int, help="OCSP alone, at /, as the reference's 8888.")
@click.option("--tsa-port", type=int, help="Time-stamps alone, at /, as the reference's 8899.")
@click.option("--access-log", is_flag=True, help="Print a line for each request.")
def run(
    home: Path,
    host: str,
    port: int,
    ocsp_port: int | None,
    tsa_port: int | None,
    *,
    access_log: bool,
) -> None:
    """Serve the lab over HTTP until interrupted."""
    import uvicorn

    from postroad.trustlab.app import build_app

    sockets = [
        _listening(host, number) for number in (port, ocsp_port, tsa_port) if number is not None
    ]
    numbers = [listener.getsockname()[1] for listener in sockets]
    rest = iter(numbers[1:])
    app = build_app(
        LabHome(home),
        SystemClock(),
        ocsp_port=None if ocsp_port is None else next(rest),
        tsa_port=None if tsa_port is None else next(rest),
    )
    config = uvicorn.Config(
        app,
        loop="asyncio",
        lifespan="off",
        ws="none",
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    click.echo(f"Trust lab on http://{host}:{numbers[0]}/  (stop with Ctrl-C)")
    uvicorn.Server(config).run(sockets=sockets)


@command.command()
@click.argument("request_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_home_option
@click.option(
    "--type",
    "usage",
    type=click.Choice(["sign", "auth", "auto"]),
    default="auto",
    show_default=True,
    help="Usage of the certificate; auto looks for 'sign' in the file's name.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the PEM to a file."
)
def sign(request_file: Path, home: Path, usage: str, out: Path | None) -> None:
    """Sign the certificate request in REQUEST_FILE (PEM or DER)."""
    lab_home, now = LabHome(home), SystemClock().now()
    signing = usage == "sign" or (usage == "auto" and "sign" in request_file.name)
    kind = CertificateKind.SIGN if signing else CertificateKind.AUTH
    certificate = lab_home.load().sign_request(request_file.read_bytes(), kind, at=now)
    lab_home.record_issued(certificate, at=now)
    if out is None:
        click.echo(certificate.pem.decode(), nl=False)
    else:
        out.write_bytes(certificate.pem)
        click.echo(f"{kind.value} certificate {certificate.serial:x} in {out}")


@command.command()
@click.argument("serial")
@_home_option
def revoke(serial: str, home: Path) -> None:
    """Revoke the certificate of the hexadecimal SERIAL."""
    lab_home, now = LabHome(home), SystemClock().now()
    number = parse_serial(serial)
    lab_home.load().revoke(number, at=now)
    lab_home.record_revoked(number, at=now)
    click.echo(f"Revoked {number:x}")


@command.command("list")
@_home_option
def list_certificates(home: Path) -> None:
    """List the certificates that the lab issued, with their state."""
    lab = LabHome(home).load()
    for serial, certificate in lab.issued.items():
        click.echo(f"{lab.status_of(serial).value:8} {serial:x}  {certificate.subject_rfc2253}")


@command.command()
@_home_option
@click.option("--service", type=click.Choice(SERVICES), help="Which service misbehaves.")
@click.option("--stop", is_flag=True, help="Answer 503.")
@click.option("--broken", is_flag=True, help="Answer nonsense.")
@click.option("--delay", type=float, default=0.0, help="Seconds before each answer.")
@click.option("--time-shift", type=int, default=0, help="Seconds to lie about the time.")
@click.option(
    "--status",
    type=click.Choice(["good", "revoked", "unknown"]),
    help="What OCSP says of every certificate.",
)
@click.option("--reset", is_flag=True, help="End all faults.")
def faults(
    home: Path,
    service: str | None,
    delay: float,
    time_shift: int,
    status: str | None,
    *,
    stop: bool,
    broken: bool,
    reset: bool,
) -> None:
    """Show the fault plan, or make one service misbehave from now on (nothing given: behave)."""
    import json

    lab_home = LabHome(home)
    if not lab_home.exists:
        raise ConfigurationError(f"there is no trust lab in {home}")
    plan = FaultPlan() if reset else lab_home.load_faults()
    if service is not None:
        wanted = {
            "stopped": stop,
            "broken": broken,
            "delay": delay,
            "time_shift": time_shift,
            "status": status,
        }
        plan = plan.updated(json.dumps({service: wanted}).encode())
    if reset or service is not None:
        lab_home.store_faults(plan)
    click.echo(plan.encode().decode())


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}") from error
    return listener
