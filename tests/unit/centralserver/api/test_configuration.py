"""Tokens, signing keys, anchors and configuration parts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from postroad.centralserver.roles import Role
from postroad.globalconf import extensions
from postroad.globalconf.anchor import Anchor, fingerprint
from support.central_server import PIN, MovingClock

if TYPE_CHECKING:
    from support.management_api import ManagementApi

PART = extensions.FetchInterval(timedelta(minutes=10)).encode()


def test_the_token_shows_its_keys_and_what_can_be_done(api: ManagementApi) -> None:
    (token,) = api.ask("GET", "/tokens", Role.SYSTEM_ADMINISTRATOR)
    assert (token["id"], token["status"], token["logged_in"]) == ("0", "OK", True)
    assert token["possible_actions"] == [
        "LOGOUT",
        "GENERATE_INTERNAL_KEY",
        "GENERATE_EXTERNAL_KEY",
    ]
    sources = {key["source_type"] for key in token["configuration_signing_keys"]}
    assert sources == {"INTERNAL", "EXTERNAL"}


def test_a_token_is_closed_and_opened(api: ManagementApi) -> None:
    assert api.ask("PUT", "/tokens/0/logout")["possible_actions"] == ["LOGIN"]
    assert api.refusal("PUT", "/tokens/0/logout") == (400, "token_action_not_possible")
    key = {"key_label": "new", "token_id": "0"}
    path = "/configuration-sources/INTERNAL/signing-keys"
    assert api.refusal("POST", path, json=key) == (400, "token_action_not_possible")
    wrong = api.refusal("PUT", "/tokens/0/login", json={"password": "wrong"})
    assert wrong == (500, "token_activation_failed")
    assert api.ask("PUT", "/tokens/0/login", json={"password": PIN})["logged_in"] is True
    again = api.refusal("PUT", "/tokens/0/login", json={"password": PIN})
    assert again == (400, "token_action_not_possible")
    other = api.refusal("PUT", "/tokens/1/login", json={"password": PIN})
    assert other == (404, "token_not_found")
    assert PIN not in api.node.settings.audit_log_path.read_text()


def test_a_caller_tries_few_pins(api: ManagementApi) -> None:
    api.ask("PUT", "/tokens/0/logout")
    caller = api.key(Role.SECURITY_OFFICER)

    def attempt() -> int:
        answer = api.client.request(
            "PUT", "/api/v1/tokens/0/login", json={"password": "guess"}, headers=caller
        )
        return answer.status_code

    assert [attempt() for _ in range(12)] == [500] * 10 + [429] * 2


def test_a_key_is_made_announced_activated_and_its_predecessor_deleted(
    api: ManagementApi, clock: MovingClock
) -> None:
    path = "/configuration-sources/INTERNAL/signing-keys"
    (first,) = (
        key
        for key in api.ask("GET", "/tokens")[0]["configuration_signing_keys"]
        if key["source_type"] == "INTERNAL"
    )
    new = api.ask("POST", path, json={"key_label": "second", "token_id": 0})
    assert (new["active"], new["possible_actions"]) == (False, ["DELETE"])
    assert (new["key_algorithm"], new["label"]) == (first["key_algorithm"], {"label": "second"})
    third = api.refusal("POST", path, json={"key_label": "third", "token_id": "0"})
    assert third == (400, "token_action_not_possible")
    activate = f"/signing-keys/{new['id']}/activate"
    answer = api.client.request("PUT", f"/api/v1{activate}", headers=api.key(*Role))
    assert answer.status_code == 400
    assert [w["code"] for w in answer.json()["warnings"]] == ["signing_key_not_announced_yet"]
    assert api.audit_lines[-1]["warning"] is True
    api.node.generate(api.login.token)
    clock.pass_time(minutes=4)
    keys = api.ask("GET", "/tokens")[0]["configuration_signing_keys"]
    (ready,) = (key for key in keys if key["id"] == new["id"])
    assert ready["possible_actions"] == ["DELETE", "ACTIVATE"]
    api.ask("PUT", activate, status=204)
    refused = api.refusal("DELETE", f"/signing-keys/{new['id']}")
    assert refused == (400, "signing_key_action_not_possible")
    api.ask("DELETE", f"/signing-keys/{first['id']}", status=204)
    assert api.refusal("DELETE", f"/signing-keys/{first['id']}")[0] == 404
    events = [line["event"] for line in api.audit_lines if "failed" not in line["event"]]
    assert events == [
        "Generate internal configuration signing key",
        "Activate internal configuration signing key",
        "Delete internal configuration signing key",
    ]


def test_whoever_ignores_the_warning_activates_a_fresh_key(api: ManagementApi) -> None:
    path = "/configuration-sources/EXTERNAL/signing-keys"
    new = api.ask("POST", path, json={"key_label": "second", "token_id": "0"})
    api.ask("PUT", f"/signing-keys/{new['id']}/activate?ignore_warnings=true", status=204)
    keys = api.ask("GET", "/tokens")[0]["configuration_signing_keys"]
    assert [key["active"] for key in keys if key["id"] == new["id"]] == [True]


def test_an_anchor_is_shown_downloaded_and_made_anew(
    api: ManagementApi, clock: MovingClock
) -> None:
    path = "/configuration-sources/INTERNAL/anchor"
    data = api.ask("GET", f"{path}/download", Role.SECURITY_OFFICER)
    assert Anchor.parse(data).instance == "DEV"
    assert api.ask("GET", path)["anchor"]["hash"] == fingerprint(data)
    clock.pass_time(seconds=1)
    made = api.ask("PUT", f"{path}/re-create")
    assert made["hash"] != fingerprint(data)
    assert api.audit_lines[-1]["event"] == "Re-create internal configuration anchor"
    url = api.ask("GET", "/configuration-sources/external/download-url")["url"]
    assert url == "http://cs.example/externalconf"


def test_without_a_key_there_is_no_anchor(empty: ManagementApi) -> None:
    path = "/configuration-sources/INTERNAL/anchor"
    assert empty.ask("GET", path) == {}
    assert empty.refusal("GET", f"{path}/download") == (404, "configuration_not_found")


def test_parts_are_listed_downloaded_and_uploaded(api: ManagementApi) -> None:
    api.node.generate(api.login.token)
    path = "/configuration-sources/INTERNAL/configuration-parts"
    parts = api.ask("GET", path)
    generated = {(p["content_identifier"], p["version"]) for p in parts if not p["optional"]}
    assert ("PRIVATE-PARAMETERS", 2) in generated
    assert ("SHARED-PARAMETERS", 6) in generated
    assert all("file_updated_at" in p for p in parts if not p["optional"])
    shared = api.ask("GET", f"{path}/SHARED-PARAMETERS/6/download")
    assert b"<instanceIdentifier>DEV</instanceIdentifier>" in shared
    outside = api.ask("GET", "/configuration-sources/EXTERNAL/configuration-parts")
    assert {p["content_identifier"] for p in outside} == {"SHARED-PARAMETERS"}
    form = {"content_identifier": extensions.FETCH_INTERVAL}
    files = {"file": ("fetchinterval-params.xml", PART)}
    api.ask("POST", path, data=form, files=files, status=204)
    assert api.ask("GET", f"{path}/{extensions.FETCH_INTERVAL}/0/download") == PART
    bad = api.refusal("POST", path, data=form, files={"file": ("x.xml", b"<x/>")})
    assert bad == (400, "configuration_part_validation_failed")
    other = path.replace("INTERNAL", "EXTERNAL")
    assert api.refusal("POST", other, data=form, files=files) == (
        400,
        "unknown_configuration_part",
    )
    missing = api.refusal("GET", f"{path}/{extensions.MONITORING}/0/download")
    assert missing == (404, "configuration_part_file_not_found")


def test_alerts_follow_the_state(api: ManagementApi, clock: MovingClock) -> None:
    def codes() -> list[str]:
        return [alert["errorCode"] for alert in api.ask("GET", "/notifications/alerts")]

    assert codes() == ["status.global_conf_generation.status_not_found"]
    api.node.generate(api.login.token)
    assert codes() == []
    clock.pass_time(minutes=11)
    assert codes() == ["status.global_conf_generation.global_conf_expired"]
    api.login.logout()
    assert codes()[1:] == [
        "status.signing_key.internal.token_not_active",
        "status.signing_key.external.token_not_active",
    ]


def test_nothing_alerts_before_there_is_an_instance(empty: ManagementApi) -> None:
    assert empty.ask("GET", "/notifications/alerts") == []
    assert empty.ask("GET", "/notifications/session-status") == {"valid": False}
