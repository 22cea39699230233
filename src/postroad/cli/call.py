"""``postroad call METHOD /r1/…``: a small curl that says what the servers said about it."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import click

from postroad.cli.explain import describe
from postroad.errors import UnavailablePeer
from postroad.fault_table import explain
from postroad.identifiers import parse_client_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK = 256 * 1024
_MAX_FAULT = 64 * 1024
_SHOWN_HEADERS = ("x-road-id", "x-road-request-id", "x-road-service", "content-type")


@click.command("call")
@click.argument("method")
@click.argument("target")
@click.option(
    "--server",
    envvar="POSTROAD_SERVER",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="The client's Security Server.",
)
@click.option("--client", envvar="POSTROAD_CLIENT", help="INSTANCE/CLASS/MEMBER/SUBSYSTEM.")
@click.option("-H", "--header", "headers", multiple=True, help="A header, 'Name: value'.")
@click.option("-d", "--data", help="The body, or @FILE, or @- for standard input.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the body here.")
@click.option("--cert", type=click.Path(exists=True), help="Client certificate (PEM).")
@click.option("--key", type=click.Path(exists=True), help="Its private key (PEM).")
@click.option("--cacert", type=click.Path(exists=True), help="Trust this server certificate.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds without a byte.")
def command(
    *,
    method: str,
    target: str,
    server: str,
    client: str | None,
    headers: tuple[str, ...],
    data: str | None,
    output: Path | None,
    cert: str | None,
    key: str | None,
    cacert: str | None,
    timeout: float,
) -> None:
    """Call a service with an HTTP METHOD; TARGET is /r1/INST/CLASS/MEMBER/SUBSYSTEM/SERVICE[/PATH].

    Exit code 0 for an answer of the service below 400, 1 for a fault or an HTTP error, 2 when
    there was no answer.
    """
    sent = _headers(client, headers)
    connection = _connect(server, cert=cert, key=key, cacert=cacert, timeout=timeout)
    started = time.monotonic()
    try:
        with _body(data) as (body, size):
            if size is not None:
                sent.setdefault("Content-Length", str(size))
            connection.request(method.upper(), target, body=body, headers=sent)
            response = connection.getresponse()
            failed = _show(response, output=output, started=started)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailablePeer(
            f"no answer from {server}: {error}. Is the Security Server running there?"
        ) from error
    finally:
        connection.close()
    sys.exit(1 if failed else 0)


def _headers(client: str | None, lines: Iterable[str]) -> dict[str, str]:
    sent: dict[str, str] = {}
    if client is not None:
        parse_client_id(client)
        sent["X-Road-Client"] = client
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise click.UsageError(f"a header is 'Name: value', not {line!r}")
        sent[name.strip()] = value.strip()
    return sent


def _connect(
    server: str, *, cert: str | None, key: str | None, cacert: str | None, timeout: float
) -> http.client.HTTPConnection:
    url = urlsplit(server)
    if url.scheme == "http" and url.hostname:
        return http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout)
    if url.scheme != "https" or not url.hostname:
        raise click.UsageError(f"--server is http://HOST[:PORT] or https://…, not {server!r}")
    context = ssl.create_default_context(cafile=cacert)
    if cacert is not None:
        # A Security Server's certificate is trusted because it is this one, whatever its name.
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if cert is not None:
        context.load_cert_chain(cert, key)
    return http.client.HTTPSConnection(
        url.hostname, url.port or 443, timeout=timeout, context=context
    )


@contextlib.contextmanager
def _body(data: str | None) -> Iterator[tuple[bytes | IO[bytes] | None, int | None]]:
    """Yield the request's body, nothing, text, a file or standard input, and its size if known."""
    if data is None:
        yield None, None
    elif data == "@-":
        yield sys.stdin.buffer, None
    elif data.startswith("@"):
        path = Path(data[1:])
        with path.open("rb") as file:
            yield file, path.stat().st_size
    else:
        yield data.encode(), None


@contextlib.contextmanager
def _sink(output: Path | None) -> Iterator[IO[bytes]]:
    """Yield where the answer's body goes: a file or standard output, which stays open."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
    else:
        with output.open("wb") as file:
            yield file


def _show(response: http.client.HTTPResponse, *, output: Path | None, started: float) -> bool:
    """Print the answer; return whether it was a failure."""
    first_byte = time.monotonic() - started
    click.echo(f"HTTP {response.status} {response.reason}  ({first_byte * 1000:.0f} ms)", err=True)
    for name in _SHOWN_HEADERS:
        value = response.getheader(name)
        if value is not None:
            click.echo(f"  {name}: {value}", err=True)
    fault_code = response.getheader("X-Road-Error")
    if fault_code is not None:
        _show_fault(fault_code, response.read(_MAX_FAULT))
        return True
    size = 0
    with _sink(output) as sink:
        while chunk := response.read(_CHUNK):
            size += len(chunk)
            sink.write(chunk)
    if output is not None:
        click.echo(f"  {size} bytes written to {output}", err=True)
    elif size and sys.stdout.isatty():
        click.echo()
    return response.status >= 400


def _show_fault(code: str, body: bytes) -> None:
    message = body.decode("utf-8", "replace")
    detail = ""
    try:
        parsed = json.loads(message)
        message, detail = str(parsed.get("message", "")), str(parsed.get("detail", ""))
    except (ValueError, AttributeError):
        pass
    click.echo(f"\nFault: {message}", err=True)
    if detail:
        click.echo(f"  detail (look for it in the server's log): {detail}", err=True)
    click.echo(describe(explain(code)), err=True)
