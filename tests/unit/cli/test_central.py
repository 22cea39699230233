"""The Central Server from a shell: every command, its output and its refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.node import NewInstance, initialize_node
from postroad.centralserver.registry import servers
from postroad.centralserver.settings import load_settings
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.cli import central_context
from postroad.cli.central import command
from postroad.errors import ConfigurationError, PostroadError
from postroad.globalconf.anchor import Anchor, fingerprint
from support.central_server import (
    CLIENT,
    PIN,
    SERVER,
    MovingClock,
    auth_certificate,
    copied_token,
    lab,
    plain_node,
)
from support.globalconf import Instance, Network

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.signing_keys import SigningToken


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SigningToken]:
    """An initialised home directory, made once: stretching PINs takes time."""
    home = tmp_path_factory.mktemp("central")
    node = plain_node(home, MovingClock())
    new = NewInstance(instance="DEV", address="cs.example", pin=PIN, algorithm=KeyAlgorithm.EC)
    token = initialize_node(node, new, "tester")
    node.close()
    return home, token


@pytest.fixture
def home(
    tmp_path: Path, template: tuple[Path, SigningToken], monkeypatch: pytest.MonkeyPatch
) -> Path:
    import shutil

    source, unlocked = template
    target = tmp_path / "central"
    shutil.copytree(source, target)
    monkeypatch.setenv("POSTROAD_CENTRAL_HOME", str(target))
    monkeypatch.setenv("POSTROAD_CENTRAL_PIN", PIN)

    def unlock(node: CentralServerNode, pin: str) -> SigningToken:
        assert pin == PIN
        return copied_token(unlocked, node.settings.token_path)

    monkeypatch.setattr("postroad.centralserver.node.CentralServerNode.unlock", unlock)
    return target


def run(*arguments: str, text: str | None = None) -> str:
    result = CliRunner().invoke(command, arguments, input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    with pytest.raises(PostroadError) as error:
        run(*arguments)
    return error.value.message


def listed(*arguments: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(run(*arguments, "--json"))
    return rows


@pytest.fixture
def members(home: Path) -> None:
    assert home
    run("member-class", "add", "GOV", "Government")
    for code in ("1", "2"):
        run("member", "add", f"DEV/GOV/{code}", f"Member {code}")
    run("subsystem", "add", "DEV/GOV/1/MANAGEMENT", "--name", "Management")
    run("provider", "DEV/GOV/1/MANAGEMENT")


def register_server(home: Path) -> None:
    """As the approval of the server's signed request does it: no command can."""
    with central_context.opened(home) as node, node.changing("tester") as change:
        servers.register_server(
            change, SERVER, auth_certificate=auth_certificate(SERVER), address="ss1.example"
        )


@pytest.fixture
def server(members: None, home: Path) -> None:
    register_server(home)


def test_what_was_done_is_printed(home: Path) -> None:
    assert home
    assert run("member-class", "add", "GOV", "Government") == (
        "Add member class: code=GOV description=Government\n"
    )


def test_members_are_listed_for_people_and_programs(members: None) -> None:
    assert "DEV/GOV/1" in run("member", "list")
    assert listed("member", "list")[0] == {
        "member": "DEV/GOV/1",
        "name": "Member 1",
        "subsystems": 1,
        "servers": 0,
    }
    assert listed("member-class", "list") == [{"code": "GOV", "description": "Government"}]
    assert listed("subsystem", "list")[0]["name"] == "Management"


def test_members_are_renamed_and_removed(members: None) -> None:
    run("member", "rename", "DEV/GOV/2", "Another")
    assert run("member", "rename", "DEV/GOV/2", "Another") == "nothing to change\n"
    run("member", "remove", "DEV/GOV/2", "--yes")
    run("subsystem", "rename", "DEV/GOV/1/MANAGEMENT", "New")
    run("subsystem", "remove", "DEV/GOV/1/MANAGEMENT")
    run("member", "remove", "DEV/GOV/1", text="y\n")
    run("member-class", "remove", "GOV")
    assert listed("member-class", "list") == []


def test_a_refusal_says_why(members: None) -> None:
    assert "exists already" in refused("member", "add", "DEV/GOV/1", "x")
    assert "expected 3 parts" in refused("member", "add", "DEV/GOV", "x")
    assert "has 2 members" in refused("member-class", "remove", "GOV")


def test_nothing_is_registered_without_a_signed_request(home: Path) -> None:
    assert home
    for name in ("register-server", "register-client", "register-certificate"):
        result = CliRunner().invoke(command, (name, str(SERVER)))
        assert "No such command" in result.output


def test_registered_servers_and_clients_are_listed_and_disabled(server: None, home: Path) -> None:
    name = str(SERVER)
    with central_context.opened(home) as node, node.changing("tester") as change:
        servers.register_client(change, SERVER, CLIENT, subsystem_name="A client")
    assert listed("server", "list") == [
        {
            "server": name,
            "address": "ss1.example",
            "auth_certificates": 1,
            "clients": 1,
            "in_maintenance": False,
        }
    ]
    run("client", name, "DEV/GOV/2/client", "disable")
    assert listed("server", "clients", name) == [{"client": "DEV/GOV/2/client", "enabled": False}]
    run("client", name, "DEV/GOV/2/client", "enable")
    run("unregister-client", name, "DEV/GOV/2/client")
    assert "is not a client" in refused("unregister-client", name, "DEV/GOV/2/client")


def test_servers_are_changed_and_removed(server: None) -> None:
    name = str(SERVER)
    run("server", "address", name, "192.0.2.1")
    run("server", "maintenance", name, "on", "--message", "soon")
    assert listed("server", "list")[0]["in_maintenance"] is True
    run("server", "maintenance", name, "off")
    fingerprint = json.loads(json.dumps(listed("log", "list", "--limit", "20")))
    digest = next(
        str(entry["details"]).partition("certHash=")[2].split()[0]
        for entry in fingerprint
        if str(entry["event"]).startswith("Register authentication")
    )
    run("server", "remove-certificate", name, digest)
    run("server", "remove", name, "--yes")
    assert listed("server", "list") == []


def test_groups_are_kept(members: None) -> None:
    run("group", "add", "group", "A group")
    assert run("group", "add-member", "group", "DEV/GOV/1", "DEV/GOV/2") == (
        "Add members to global group: code=group members=DEV/GOV/1,DEV/GOV/2\n"
    )
    run("group", "remove-member", "group", "DEV/GOV/1")
    assert listed("group", "list")[1]["members"] == "DEV/GOV/2"
    run("group", "remove", "group")
    assert "by hand" in refused("group", "remove", "security-server-owners")


def test_trust_services_are_approved(home: Path, tmp_path: Path) -> None:
    assert home
    for name, certificate in (
        ("root", lab().root.certificate),
        ("issuing", lab().ca_certificate),
        ("ocsp", lab().ocsp_certificate),
        ("tsa", lab().tsa_certificate),
    ):
        (tmp_path / name).write_bytes(certificate.pem)
    run(
        "ca",
        "add",
        str(tmp_path / "root"),
        "--profile",
        "FiVRK",
        "--csr-format",
        "DER",
        "--acme-directory",
        "https://acme.example/",
    )
    run("ca", "add-intermediate", "1", str(tmp_path / "issuing"))
    run("ocsp", "add", "1", "http://a.example", "--cost", "FREE")
    run(
        "ocsp",
        "add",
        "1",
        "http://b.example",
        "--intermediate",
        "2",
        "--cert",
        str(tmp_path / "ocsp"),
    )
    run("tsa", "add", str(tmp_path / "tsa"), "http://tsa.example", "--cost", "PAID")
    rows = listed("ca", "list")
    assert [(row["kind"], row["ocsp_responders"]) for row in rows] == [
        ("top", "1:http://a.example"),
        ("intermediate", "2:http://b.example"),
    ]
    assert listed("tsa", "list")[0]["cost"] == "PAID"
    run("ocsp", "remove", "1")
    run("ca", "remove-intermediate", "2")
    run("ca", "remove", "1", "--yes")
    run("tsa", "remove", "1")
    assert listed("ca", "list") == []
    assert "can't be read" in refused("tsa", "add", str(tmp_path / "nothing"), "http://x")


def test_keys_are_made_activated_and_deleted(home: Path) -> None:
    assert home
    (internal,) = (row for row in listed("key", "list") if row["source"] == "internal")
    made = run("key", "generate", "internal", "--algorithm", "EC")
    new = made.splitlines()[0].partition("keyId=")[2]
    assert "was published yet" in refused("key", "activate", new)
    run("key", "activate", new, "--force")
    run("key", "delete", str(internal["key"]))
    assert next(row["key"] for row in listed("key", "list")) == new


def test_anchors_are_shown_and_exported(home: Path, tmp_path: Path) -> None:
    assert home
    shown = run("anchor", "show")
    target = tmp_path / "anchor.xml"
    said = run("anchor", "export", "--output", str(target))
    digest = fingerprint(target.read_bytes())
    assert digest in shown
    assert digest in said
    assert Anchor.parse(target.read_bytes()).instance == "DEV"
    assert run("anchor", "export", "external").encode() != target.read_bytes()
    run("anchor", "re-create", "internal")
    assert "can't be written" in refused("anchor", "export", "--output", str(tmp_path / "a" / "b"))


def test_parameters_are_shown_and_set(home: Path) -> None:
    assert home
    assert run("parameter", "get", "ocspFreshnessSeconds") == "3600\n"
    run("parameter", "set", "ocspFreshnessSeconds", "600")
    assert run("parameter", "get", "ocspFreshnessSeconds") == "600\n"
    rows = {row["key"]: row for row in listed("parameter", "get")}
    assert rows["ocspFreshnessSeconds"]["is_default"] is False
    assert run("parameter", "get", "managementServiceProviderCode") == "\n"
    assert "no system parameter" in refused("parameter", "get", "nothing")


def test_the_provider_is_shown(home: Path) -> None:
    assert home
    assert run("provider") == "nobody yet\n"
    run("member-class", "add", "GOV", "Government")
    run("member", "add", "DEV/GOV/1", "Member")
    run("provider", "DEV/GOV/1")
    assert run("provider") == "DEV/GOV/1\n"


def test_the_configuration_is_generated_on_demand(members: None) -> None:
    status = json.loads(run("status", "--json"))
    assert (status["instance"], status["generation"]) == ("DEV", "never")
    assert "10 parts, 10 directories" in run("generate-now")
    assert "succeeded" in run("status")


def test_a_failure_is_seen_in_the_status(home: Path) -> None:
    assert home
    assert "nobody provides" in refused("generate-now")
    assert "failing: nobody provides" in run("status")


def test_a_file_is_applied_once(home: Path, tmp_path: Path) -> None:
    assert home
    file = tmp_path / "registry.toml"
    file.write_text('[[member_class]]\ncode = "GOV"\ndescription = "Government"\n')
    assert run("apply", str(file)) == "Add member class: code=GOV description=Government\n"
    assert run("apply", str(file)) == "nothing to change\n"


def test_the_change_log_is_verified_and_listed(members: None) -> None:
    assert "entries hold" in run("log", "verify")
    newest = listed("log", "list", "--limit", "1")[0]
    assert newest["event"] == "Edit provider of management services"
    assert str(newest["who"]).startswith("cli:")


def test_settings_are_shown(home: Path) -> None:
    (home / "central.toml").write_text('[central]\nnode_name = "node_1"\n')
    assert "node_name = 'node_1'" in run("check-config")


def test_init_writes_settings_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROAD_CENTRAL_PIN", PIN)
    home = tmp_path / "new"
    arguments = ("init", "DEV", "cs.example", "--algorithm", "EC", "--home", str(home))
    assert "is ready" in run(*arguments, "--http-port", "8081", "--https-port", "0")
    run(*arguments, "--http-port", "9999")
    settings = load_settings(home)
    assert (settings.distribution.http_port, settings.distribution.https) == (8081, False)


def test_the_pin_comes_from_a_file_first(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "pin"
    (home / "central.toml").write_text(f'[token]\npin_file = "{path}"\n')
    assert "can't be read" in refused("generate-now")
    path.write_text(f"{PIN}\n")
    assert central_context.read_pin(load_settings(home)) == PIN


def test_without_a_pin_the_three_ways_are_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home
    monkeypatch.delenv("POSTROAD_CENTRAL_PIN")
    message = refused("generate-now")
    assert "POSTROAD_CENTRAL_PIN" in message
    assert "pin_file" in message


def test_an_oversized_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (central_context.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        central_context.read_file(path)


@pytest.fixture
def partner_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    partner = Instance(name="PARTNER", address="partner.example")
    partner.publish(SystemClock().now())
    network = Network(partner)

    class Http:
        fetch = network.fetch

        def close(self) -> None:
            pass

    monkeypatch.setattr("postroad.adapters.http_client.HttpClient", Http)
    path = tmp_path / "partner.xml"
    path.write_bytes(partner.anchor(external=True).encode())
    return path


def test_a_trusted_anchor_is_previewed_added_listed_exported_and_removed(
    home: Path, partner_anchor: Path, tmp_path: Path
) -> None:
    assert home
    data = partner_anchor.read_bytes()
    shown = json.loads(run("trusted-anchor", "preview", str(partner_anchor), "--json"))
    assert (shown["instance"], shown["fingerprint"]) == ("PARTNER", fingerprint(data))
    added = run("trusted-anchor", "add", str(partner_anchor), "--fingerprint", fingerprint(data))
    assert f"instanceIdentifier=PARTNER anchorFileHash={fingerprint(data)}" in added
    (row,) = listed("trusted-anchor", "list")
    assert (row["instance"], row["fingerprint"]) == ("PARTNER", fingerprint(data))
    run("trusted-anchor", "export", fingerprint(data), "--output", str(tmp_path / "out.xml"))
    assert (tmp_path / "out.xml").read_bytes() == data
    assert "Delete trusted anchor" in run("trusted-anchor", "remove", fingerprint(data), "--yes")
    assert listed("trusted-anchor", "list") == []


def test_an_anchor_is_not_trusted_before_its_fingerprint_was_compared(
    home: Path, partner_anchor: Path
) -> None:
    assert home
    wrong = "00:" * 27 + "00"
    assert "not the one that was given" in refused(
        "trusted-anchor", "add", str(partner_anchor), "--fingerprint", wrong
    )
    assert "--fingerprint" in refused("trusted-anchor", "add", str(partner_anchor))
    assert listed("trusted-anchor", "list") == []


def test_no_fingerprint_becomes_a_picture(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text between colons is an emoji for the library that prints tables."""
    assert home
    central_context.show("T", ("fingerprint",), [("74:CD:2C:AB:ID",)], as_json=False)
    assert "74:CD:2C:AB:ID" in capsys.readouterr().out


def test_the_provider_gets_its_first_server(home: Path) -> None:
    assert home
    for arguments in (
        ("member-class", "add", "GOV", "Government"),
        ("member", "add", "DEV/GOV/1", "Ministry"),
        ("subsystem", "add", "DEV/GOV/1/MANAGEMENT"),
    ):
        run(*arguments)
    server = SERVER.encoded()
    with pytest.raises(PostroadError, match="nobody is named"):
        run("register-provider", server)
    run("provider", "DEV/GOV/1/MANAGEMENT")
    with pytest.raises(PostroadError, match="no security server"):
        run("register-provider", server)
    register_server(home)
    told = run("register-provider", server)
    assert "Approve management request" in told
    assert f"client=DEV/GOV/1/MANAGEMENT server={server}" in told
    with pytest.raises(PostroadError, match="already"):
        run("register-provider", server)
