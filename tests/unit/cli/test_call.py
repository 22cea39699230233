from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result

from postroad.cli.call import command
from postroad.errors import UnavailablePeer

FAULT = {"type": "server.serverproxy.access_denied", "message": "not allowed", "detail": "a-uuid"}


class Server(BaseHTTPRequestHandler):
    """Answers as a Security Server would; /refused is a fault."""

    seen: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers, body))
        if self.path.endswith("/refused"):
            answer = json.dumps(FAULT).encode()
            self.send_response(500)
            self.send_header("X-Road-Error", FAULT["type"])
        else:
            answer = b"the answer"
            self.send_response(404 if self.path.endswith("/missing") else 200)
            self.send_header("x-road-id", "an-id")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self.do_POST()


@pytest.fixture
def url() -> Iterator[str]:
    Server.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def call(url: str, *arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, [*arguments, "--server", url], input=stdin)


def test_prints_the_body_and_says_what_came(url: str) -> None:
    result = call(url, "get", "/r1/A/B/C/D/s", "--client", "A/B/C/D", "-H", "X-Road-UserId: me")
    assert result.exit_code == 0
    assert result.stdout == "the answer"
    assert "HTTP 200" in result.stderr
    assert "x-road-id: an-id" in result.stderr
    method, path, headers, _ = Server.seen[0]
    assert (method, path) == ("GET", "/r1/A/B/C/D/s")
    assert headers["x-road-client"] == "A/B/C/D"
    assert headers["x-road-userid"] == "me"


def test_sends_a_body_from_an_argument_a_file_or_standard_input(url: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"from a file")
    call(url, "POST", "/r1/x", "-d", "as it stands")
    call(url, "POST", "/r1/x", "-d", f"@{tmp_path / 'body'}")
    assert [seen[3] for seen in Server.seen] == [b"as it stands", b"from a file"]


def test_writes_the_body_to_a_file(url: str, tmp_path: Path) -> None:
    result = call(url, "GET", "/r1/x", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert (tmp_path / "out").read_bytes() == b"the answer"


def test_explains_a_fault(url: str) -> None:
    result = call(url, "GET", "/r1/refused")
    assert result.exit_code == 1
    assert "Fault: not allowed" in result.stderr
    assert "a-uuid" in result.stderr
    assert "Next step:" in result.stderr


def test_an_error_of_the_service_is_not_success(url: str) -> None:
    assert call(url, "GET", "/r1/missing").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET", "/r1/x", "-H", "no colon"),
        ("GET", "/r1/x", "--client", "A/B"),
    ],
)
def test_refuses_wrong_arguments_before_it_calls(url: str, arguments: tuple[str, ...]) -> None:
    assert call(url, *arguments).exit_code != 0
    assert Server.seen == []


def test_says_when_nobody_answers() -> None:
    result = call("http://127.0.0.1:9", "GET", "/r1/x")
    assert isinstance(result.exception, UnavailablePeer)
    assert "Is the Security Server running there?" in result.exception.message
