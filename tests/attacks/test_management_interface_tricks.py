"""Attacks on the management interface: whoever isn't let in must not get in by another way."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroad.centralserver.registry.administrators import (
    change_password,
    delete_administrator,
    list_api_keys,
)
from postroad.centralserver.roles import Role
from postroad.centralserver.token_login import TokenLogin
from support.central_server import CLIENT, MovingClock, filled_node
from support.management_api import PASSWORD, PREFIX, Browser, ManagementApi, opened_api

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def api(tmp_path: Path, clock: MovingClock) -> Iterator[ManagementApi]:
    """The interface of a small instance; nobody has opened its token."""
    node = filled_node(tmp_path, clock)
    with opened_api(node, TokenLogin(node.settings.token_path), tmp_path) as opened:
        yield opened
    node.close()


def basic(username: str, password: str) -> dict[str, str]:
    shown = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {shown}"}


def code_of(answer: Any) -> str:
    code: str = answer.json()["error"]["code"]
    return code


# An API key never gets, or passes on, more rights than its maker has.


@pytest.mark.parametrize("wanted", [Role.REGISTRATION_OFFICER, Role.SECURITY_OFFICER])
def test_nobody_makes_a_key_with_a_role_they_lack(api: ManagementApi, wanted: Role) -> None:
    api.administrator("system", [Role.SYSTEM_ADMINISTRATOR])
    asked = [Role.SYSTEM_ADMINISTRATOR.value, wanted.value]
    answer = api.client.post(f"{PREFIX}/api-keys", json=asked, headers=basic("system", PASSWORD))
    assert (answer.status_code, code_of(answer)) == (403, "access_denied")
    with api.node.reading() as session:
        assert not list_api_keys(session)


def test_nobody_adds_a_role_they_lack_to_a_key(api: ManagementApi) -> None:
    api.administrator("system", [Role.SYSTEM_ADMINISTRATOR])
    credentials = basic("system", PASSWORD)
    made = api.client.post(
        f"{PREFIX}/api-keys", json=[Role.SYSTEM_ADMINISTRATOR.value], headers=credentials
    ).json()
    changed = api.client.request(
        "PUT",
        f"{PREFIX}/api-keys/{made['id']}",
        json=[Role.SECURITY_OFFICER.value],
        headers=credentials,
    )
    assert changed.status_code == 403
    assert api.client.get(f"{PREFIX}/api-keys/{made['id']}", headers=credentials).json()[
        "roles"
    ] == [Role.SYSTEM_ADMINISTRATOR.value]


def test_a_key_makes_no_keys(api: ManagementApi) -> None:
    for role in Role:
        answer = api.client.post(f"{PREFIX}/api-keys", json=[role.value], headers=api.key(*Role))
        assert answer.status_code == 401


def test_keys_are_managed_from_nearby_only(api: ManagementApi) -> None:
    api.administrator()
    far = Browser(api.client.application, address="192.0.2.7")
    asked = [Role.SYSTEM_ADMINISTRATOR.value]
    answer = far.post(f"{PREFIX}/api-keys", json=asked, headers=basic("admin", PASSWORD))
    assert answer.status_code == 401
    far.close()


def test_a_password_is_no_proof_anywhere_else(api: ManagementApi) -> None:
    api.administrator()
    assert api.client.get(f"{PREFIX}/user", headers=basic("admin", PASSWORD)).status_code == 401


def test_a_revoked_key_opens_nothing_from_that_moment_on(api: ManagementApi) -> None:
    api.administrator()
    program = api.key(Role.REGISTRATION_OFFICER)
    assert api.client.get(f"{PREFIX}/user", headers=program).status_code == 200
    answer = api.client.request("DELETE", f"{PREFIX}/api-keys/1", headers=basic("admin", PASSWORD))
    assert answer.status_code == 200
    assert api.client.get(f"{PREFIX}/user", headers=program).status_code == 401


def test_the_database_tells_no_key_and_no_password(api: ManagementApi, tmp_path: Path) -> None:
    api.administrator()
    shown = api.key(Role.REGISTRATION_OFFICER)["Authorization"].partition("token=")[2]
    for path in (tmp_path / "db").iterdir():
        data = path.read_bytes()
        assert shown.encode() not in data
        assert PASSWORD.encode() not in data


@pytest.mark.parametrize(
    "header",
    [
        "X-Road-ApiKey token=",
        "X-Road-ApiKey",
        "X-Road-ApiKey token=' OR 1=1 --",
        "X-Road-ApiKey token=" + "a" * 300,
        "Bearer x",
        "",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_nonsense_is_no_key(api: ManagementApi, header: str) -> None:
    for path in ("/user", "/api-keys"):
        answer = api.client.get(PREFIX + path, headers={"Authorization": header})
        assert answer.status_code == 401


def test_two_credentials_are_none(api: ManagementApi) -> None:
    good = api.key(Role.REGISTRATION_OFFICER)["Authorization"]
    both = [("Authorization", good), ("Authorization", good)]
    assert api.client.get(f"{PREFIX}/user", headers=both).status_code == 401


# Other sites can't use a session.


def test_a_session_without_the_header_does_nothing(api: ManagementApi) -> None:
    api.administrator()
    api.log_in()
    for method in ("GET", "POST"):
        answer = api.client.request(method, f"{PREFIX}/member-classes")
        assert (answer.status_code, code_of(answer)) == (403, "access_denied")
    wrong = api.client.get(f"{PREFIX}/user", headers={"X-XSRF-TOKEN": "x"})
    assert wrong.status_code == 403


def test_header_and_cookie_that_agree_are_not_enough(api: ManagementApi) -> None:
    api.administrator()
    api.log_in()
    api.client.cookies.set("XSRF-TOKEN", "planted", domain="cs.example")
    answer = api.client.get(f"{PREFIX}/user", headers={"X-XSRF-TOKEN": "planted"})
    assert answer.status_code == 403


def test_a_form_is_no_json(api: ManagementApi) -> None:
    api.administrator()
    api.log_in()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = api.client.post(
            f"{PREFIX}/member-classes",
            content=b'{"code": "A", "description": "b"}',
            headers={**api.xsrf, "Content-Type": kind},
        )
        assert answer.status_code == 415


def test_cookies_are_for_this_site_and_tls_only(api: ManagementApi) -> None:
    api.administrator()
    cookies = api.log_in().headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        flags = cookie.lower()
        assert "secure" in flags
        assert "samesite=strict" in flags
        assert ("httponly" in flags) == cookie.startswith("JSESSIONID")


def test_a_login_never_takes_over_a_session_id(api: ManagementApi) -> None:
    api.administrator()
    planted = {"Cookie": "JSESSIONID=planted; XSRF-TOKEN=planted"}
    form = {"username": "admin", "password": PASSWORD}
    first = api.client.post("/login", data=form, headers=planted).cookies
    assert "planted" not in {first["JSESSIONID"], first["XSRF-TOKEN"]}
    api.client.cookies.clear()
    victim = {**planted, "X-XSRF-TOKEN": "planted"}
    assert api.client.get(f"{PREFIX}/user", headers=victim).status_code == 401
    # A second login doesn't go on with the first one's session either.
    shown = {"Cookie": f"JSESSIONID={first['JSESSIONID']}"}
    second = api.client.post("/login", data=form, headers=shown).cookies
    assert second["JSESSIONID"] != first["JSESSIONID"]


def test_a_session_ends_with_silence_logout_password_and_person(
    api: ManagementApi, clock: MovingClock
) -> None:
    api.administrator()

    def is_in() -> bool:
        return api.client.get(f"{PREFIX}/user", headers=api.xsrf).status_code == 200

    api.log_in()
    assert is_in()
    clock.pass_time(minutes=31)
    assert not is_in()
    api.log_in()
    kept = dict(api.client.cookies)
    api.client.post("/logout", headers=api.xsrf)
    for name, value in kept.items():
        api.client.cookies.set(name, value, domain="cs.example")
    assert not is_in()
    api.client.cookies.clear()
    api.log_in()
    with api.node.changing("tester") as change:
        change_password(change, "admin", "another-password")
    assert not is_in()
    api.client.cookies.clear()
    assert api.log_in(password="another-password").status_code == 200
    with api.node.changing("tester") as change:
        delete_administrator(change, "admin")
    assert not is_in()


def test_polling_keeps_no_session_alive(api: ManagementApi, clock: MovingClock) -> None:
    api.administrator()
    api.log_in()
    for _ in range(4):
        clock.pass_time(minutes=10)
        last = api.client.get(f"{PREFIX}/notifications/session-status", headers=api.xsrf)
    assert last.status_code == 401


def test_a_logout_needs_the_header_too(api: ManagementApi) -> None:
    api.administrator()
    api.log_in()
    assert api.client.post("/logout").status_code == 403
    assert api.client.get(f"{PREFIX}/user", headers=api.xsrf).status_code == 200


# Passwords and PINs can't be tried out.


def test_an_address_tries_few_passwords(api: ManagementApi) -> None:
    api.administrator()
    statuses = [api.log_in(password=f"guess-{n}").status_code for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert api.log_in().status_code == 429
    elsewhere = Browser(api.client.application, address="192.0.2.9")
    form = {"username": "admin", "password": PASSWORD}
    assert elsewhere.post("/login", data=form).status_code == 200
    elsewhere.close()


def test_a_user_is_tried_by_few_addresses(api: ManagementApi) -> None:
    api.administrator()
    statuses = []
    for number in range(32):
        attacker = Browser(api.client.application, address=f"192.0.2.{number}")
        form = {"username": "admin", "password": "guess"}
        statuses.append(attacker.post("/login", data=form).status_code)
        attacker.close()
    assert statuses == [401] * 30 + [429] * 2


def test_many_at_once_try_no_more(api: ManagementApi) -> None:
    api.administrator()
    form = {"username": "admin", "password": "guess"}
    answers = api.client.at_once(14, "POST", "/login", data=form)
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 4


def test_an_unknown_user_is_told_the_same(api: ManagementApi) -> None:
    api.administrator()
    known, unknown = api.log_in("admin", "guess"), api.log_in("nobody", "guess")
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_an_address_asks_so_often_only(api: ManagementApi) -> None:
    slow = api.node.settings.management_api
    assert slow.requests_per_second == 1000  # the tests' own
    statuses = {api.client.get("/").status_code for _ in range(20)}
    assert statuses == {200}
    api.limit(requests=3)
    statuses_after = [api.client.get("/").status_code for _ in range(5)]
    assert statuses_after == [200] * 3 + [429] * 2


# Identifiers and bodies that are none.


@pytest.mark.parametrize(
    "path",
    [
        "/members/DEV:GOV",
        "/members/DEV:GOV:1:MANAGEMENT",
        "/members/..%2f..%2fcentral.toml",
        "/members/DEV%3AGOV%3A1%00",
        "/members/%0d%0aSet-Cookie:x",
        "/security-servers/DEV:GOV:1",
        "/security-servers/:::",
        "/management-requests/0",
        "/management-requests/-1",
        "/management-requests/1e3",
        "/management-requests/99999999999999999999",
        "/management-requests/\u0661",
        "/intermediate-cas/1;DROP",
        "/configuration-sources/internal%2f..%2f/anchor",
        "/configuration-sources/BOTH/anchor",
        "/configuration-sources/INTERNAL/configuration-parts/..%2f..%2fcentral.toml/6/download",
        "/configuration-sources/INTERNAL/configuration-parts/SHARED-PARAMETERS/..%2f..%2f6/download",
        "/configuration-sources/INTERNAL/configuration-parts/SHARED-PARAMETERS/6*/download",
        "/configuration-sources/EXTERNAL/configuration-parts/PRIVATE-PARAMETERS/6/download",
        "/trusted-anchors/..%2f..%2fetc%2fpasswd/download",
    ],
)
def test_no_path_leads_anywhere_else(api: ManagementApi, path: str) -> None:
    answer = api.client.get(PREFIX + path, headers=api.key(*Role))
    assert answer.status_code in {400, 404}
    assert "set-cookie" not in answer.headers


def test_a_responder_is_deleted_by_its_own_authority_only(api: ManagementApi) -> None:
    from support.central_server import approve_trust_services

    with api.node.changing("tester") as change:
        approve_trust_services(change)
        approve_trust_services(change)
    first, second = (
        api.ask("GET", f"/certification-services/{number}/intermediate-cas")[0]["id"]
        for number in (1, 2)
    )
    (responder,) = api.ask("GET", f"/intermediate-cas/{second}/ocsp-responders")
    path = f"/intermediate-cas/{first}/ocsp-responders/{responder['id']}"
    assert api.refusal("DELETE", path)[0] == 404
    assert api.ask("GET", f"/ocsp-responders/{responder['id']}") == responder


def test_an_oversize_body_is_not_read(api: ManagementApi) -> None:
    headers = {**api.key(*Role), "Content-Type": "application/json"}
    large = json.dumps({"code": "A", "description": "b" * 60_000}).encode()
    path = f"{PREFIX}/member-classes"
    assert api.client.post(path, content=large, headers=headers).status_code == 413

    async def endless() -> Any:
        while True:
            yield b" " * 1024

    assert api.client.post(path, content=endless(), headers=headers).status_code == 413
    form = {"certificate": ("a.pem", b"x" * (11 * 1024 * 1024))}
    answer = api.client.post(f"{PREFIX}/certification-services", files=form, headers=api.key(*Role))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"code": 1, "description": "b"}',
        b'{"code": {"$ne": ""}, "description": "b"}',
        b'{"code": ["A"], "description": "b"}',
        b'{"code": true, "description": "b"}',
        b'{"code": null, "description": "b"}',
        b'{"code": "", "description": "b"}',
        b'{"code": "   ", "description": "b"}',
        b'{"code": "A\\u0000B", "description": "b"}',
        b'{"code": "A/B", "description": "b"}',
        b'{"code": "\\ud800", "description": "b"}',
        b'{"code": "' + b"a" * 256 + b'", "description": "b"}',
        b"[" * 40_000,
        b'{"code":' * 4_000,
        b'{"code": "A", "description": "b"} trailing',
        b"\xff\xfe{}",
    ],
)
def test_json_of_another_shape_is_refused(api: ManagementApi, body: bytes) -> None:
    headers = {**api.key(*Role), "Content-Type": "application/json"}
    answer = api.client.post(f"{PREFIX}/member-classes", content=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "validation_failure")
    assert [row["code"] for row in api.ask("GET", "/member-classes")] == ["GOV"]


def test_a_person_speaks_for_no_server_and_a_server_not_for_the_centre(
    api: ManagementApi,
) -> None:
    body = {
        "type": "CLIENT_DELETION_REQUEST",
        "security_server_id": "DEV:GOV:2:SS2",
        "client_id": ":".join(CLIENT.parts),
    }
    person, program = Role.REGISTRATION_OFFICER, Role.MANAGEMENT_SERVICE
    for role, origin in ((person, "SECURITY_SERVER"), (program, "CENTER")):
        refused = api.refusal("POST", "/management-requests", role, json={**body, "origin": origin})
        assert refused == (403, "access_denied")
    # Whoever is both still speaks for servers only.
    both = api.refusal(
        "POST", "/management-requests", person, program, json={**body, "origin": "CENTER"}
    )
    assert both[0] == 403
    owner_change = {
        "type": "OWNER_CHANGE_REQUEST",
        "origin": "CENTER",
        "security_server_id": "DEV:GOV:2:SS2",
        "client_id": "DEV:GOV:1",
    }
    refused = api.refusal("POST", "/management-requests", person, json=owner_change)
    assert refused == (403, "access_denied")


def test_refusals_and_the_audit_log_hold_no_secret(api: ManagementApi) -> None:
    secret = "canary-pin-in-a-body"
    for body in (
        {"instance_identifier": 1, "software_token_pin": secret},
        {"instance_identifier": "X'", "central_server_address": "a", "software_token_pin": secret},
    ):
        answer = api.client.post(f"{PREFIX}/initialization", json=body, headers=api.key(*Role))
        assert answer.status_code >= 400
        assert secret not in answer.text
    api.log_in("admin", secret)
    assert secret not in api.node.settings.audit_log_path.read_text()


def test_a_line_of_the_audit_log_can_not_be_forged(api: ManagementApi) -> None:
    api.log_in('admin\n{"event": "forged"}', "x")
    (line,) = api.audit_lines
    assert line["event"] == "Log in user failed"


def test_an_unexpected_error_tells_nothing(
    api: ManagementApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_session: object) -> None:
        raise RuntimeError("inner-secret")

    monkeypatch.setattr("postroad.centralserver.registry.members.list_member_classes", fail)
    answer = api.client.get(f"{PREFIX}/member-classes", headers=api.key(*Role))
    assert answer.status_code == 500
    assert answer.json() == {"status": 500, "error": {"code": "internal_error"}}
