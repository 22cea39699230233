"""`postroad server service-description`, with a server that serves the documents."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from postroad.cli.server import command
from postroad.errors import ConfigurationError
from postroad.securityserver.serverconf.snapshot import ServerConfView, load_snapshot
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.securityserver.serverconf.snapshot import ClientView

DATA = Path(__file__).parents[2] / "data" / "reference"
ANCHOR = DATA / "anchors" / "configuration-anchor1.xml"
CLIENT = "EE/GOV/1/registry"
DECLARATION = f"""
[[client]]
id = "{CLIENT}"
"""


class Documents:
    """What is served, by path."""

    def __init__(self) -> None:
        self.by_path: dict[str, bytes] = {}
        documents = self.by_path

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                document = documents.get(self.path)
                self.send_response(404 if document is None else 200)
                self.end_headers()
                self.wfile.write(document or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, path: str, name: str) -> str:
        """Serve a sample there; returns its address."""
        self.by_path[path] = (DATA / "descriptions" / name).read_bytes()
        return self.base + path


@pytest.fixture
def documents() -> Iterator[Documents]:
    documents = Documents()
    thread = threading.Thread(target=documents.server.serve_forever, args=(0.01,))
    thread.start()
    yield documents
    documents.server.shutdown()
    documents.server.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "server"
    result = run(home, "init", "--owner", "EE/GOV/1", "--code", "SS1", "--anchor", str(ANCHOR))
    assert result.exit_code == 0, result.output
    path = tmp_path / "clients.toml"
    path.write_text(DECLARATION)
    assert run(home, "apply", str(path)).exit_code == 0
    return home


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--home", str(home)])


def describe(home: Path, *arguments: str) -> Result:
    return run(home, "service-description", *arguments)


def provider(home: Path) -> ClientView:
    view = ServerConfView(load_snapshot(load_settings(home).snapshot_path))
    return next(each for each in view.clients if str(each.identifier) == CLIENT)


def test_a_wsdl_is_added_refreshed_and_deleted(home: Path, documents: Documents) -> None:
    url = documents.put("/service?wsdl", "valid.wsdl")
    added = describe(home, "add", CLIENT, url, "--type", "wsdl")
    assert added.exit_code == 0, added.output
    assert "+ service xroadGetRandom.v1 at http://iks2-testhost:8080/" in added.output
    assert [(each.service_code, each.disabled) for each in provider(home).services] == [
        ("xroadGetRandom", True),
        ("xroadSmallAttachment", True),
        ("xroadBigAttachment", True),
    ]
    assert "Out of order" in describe(home, "list").output

    documents.put("/service?wsdl", "valid-getrandom.wsdl")
    refused = describe(home, "refresh", CLIENT, url)
    assert refused.exit_code == 1
    assert "- service xroadBigAttachment.v1\n" in refused.output
    assert "nothing was changed" in refused.output
    assert len(provider(home).services) == 3
    refreshed = describe(home, "refresh", CLIENT, url, "--ignore-warnings")
    assert refreshed.exit_code == 0
    assert [each.service_code for each in provider(home).services] == ["xroadGetRandom"]
    assert describe(home, "refresh", CLIENT, url).output == "refreshed\n"

    assert describe(home, "delete", CLIENT, url).exit_code == 0
    assert provider(home).services == ()


def test_an_openapi_document_brings_its_endpoints(home: Path, documents: Documents) -> None:
    url = documents.put("/api.yaml", "valid.yaml")
    arguments = ("add", CLIENT, url, "--type", "openapi3", "--code", "pets")
    assert "+ endpoint GET /test\n" in describe(home, *arguments).output
    assert [each.path for each in provider(home).endpoints["pets"]] == ["/test", "/test"]
    documents.put("/moved.yaml", "valid_modified.yaml")
    moved = f"{documents.base}/moved.yaml"
    result = describe(home, "refresh", CLIENT, url, "--new-url", moved, "--ignore-warnings")
    assert "+ endpoint GET /foo\n" in result.output
    assert "- endpoint POST /test\n" in result.output
    assert provider(home).services[0].description_url == moved


def test_something_odd_is_shown_before_it_is_added(home: Path, documents: Documents) -> None:
    url = documents.put("/odd.yml", "warnings.yml")
    arguments = ["add", CLIENT, url, "--type", "openapi3", "--code", "odd"]
    refused = describe(home, *arguments)
    assert (refused.exit_code, "warning: " in refused.output) == (1, True)
    nowhere = describe(home, *arguments, "--ignore-warnings")
    assert isinstance(nowhere.exception, ConfigurationError)
    arguments += ["--ignore-warnings", "--service-url", "https://here/r1"]
    assert describe(home, *arguments).exit_code == 0
    assert provider(home).services[0].url == "https://here/r1"


def test_rest_needs_no_document(home: Path, documents: Documents) -> None:
    url = f"{documents.base}/nothing"
    assert describe(home, "add", CLIENT, url, "--type", "rest", "--code", "pets").exit_code == 0
    result = describe(home, "refresh", CLIENT, url, "--new-url", "https://h/v2")
    assert result.output == "refreshed\n"
    assert provider(home).services[0].url == "https://h/v2"


def test_a_notice_tells_why_services_are_disabled(home: Path, documents: Documents) -> None:
    url = f"{documents.base}/nothing"
    describe(home, "add", CLIENT, url, "--type", "rest", "--code", "pets")
    assert describe(home, "enable", CLIENT, url).exit_code == 0
    assert not provider(home).services[0].disabled
    assert describe(home, "disable", CLIENT, url, "--notice", "until Monday").exit_code == 0
    service = provider(home).services[0]
    assert (service.disabled, service.disabled_notice) == (True, "until Monday")
    assert isinstance(
        describe(home, "disable", CLIENT, url, "--notice", "x" * 256).exception, ConfigurationError
    )


def test_rights_that_go_with_a_description_are_shown(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "rights.toml"
    path.write_text(
        f'{DECLARATION}\n[[client.service]]\ncode = "pets"\nurl = "https://h"\n'
        'allow = ["EE/COM/2/app"]\n'
    )
    assert run(home, "apply", str(path)).exit_code == 0
    result = describe(home, "delete", CLIENT, "https://h")
    assert result.output == "- right: EE/COM/2/app on pets\ndeleted\n"


def test_a_declared_description_is_read_when_it_is_applied(
    home: Path, documents: Documents, tmp_path: Path
) -> None:
    url = documents.put("/service?wsdl", "valid-getrandom.wsdl")
    path = tmp_path / "services.toml"
    path.write_text(
        f'{DECLARATION}\n[[client.description]]\ntype = "WSDL"\nurl = "{url}"\n'
        '[[client.description.service]]\ncode = "xroadGetRandom"\nversion = "v1"\n'
        'allow = ["EE/COM/2/app"]\n'
    )
    assert run(home, "diff", str(path)).exit_code == 1
    assert run(home, "apply", str(path)).exit_code == 0
    (service,) = provider(home).services
    assert (service.service_code, service.disabled) == ("xroadGetRandom", False)
    assert run(home, "diff", str(path)).output == "no differences\n"
    documents.put("/service?wsdl", "valid-smallattachment.wsdl")
    assert isinstance(run(home, "apply", str(path)).exception, ConfigurationError)
    assert len(provider(home).rights("xroadGetRandom")) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", CLIENT, "http://h", "--type", "rest"),
        ("add", CLIENT, "http://h", "--type", "wsdl", "--code", "x"),
        ("add", CLIENT, "http://h", "--type", "rest", "--code", "x", "--service-url", "http://h"),
        ("add", CLIENT, "file:///etc/passwd", "--type", "wsdl"),
        ("add", "EE/GOV/9", "http://h", "--type", "rest", "--code", "x"),
        ("refresh", CLIENT, "http://unknown"),
        ("enable", CLIENT, "http://unknown"),
        ("delete", "EE/GOV/9", "http://unknown"),
    ],
)
def test_refuses_what_can_not_be_done(home: Path, arguments: tuple[str, ...]) -> None:
    assert describe(home, *arguments).exit_code != 0
    assert provider(home).services == ()
