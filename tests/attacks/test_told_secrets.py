"""Whoever reads the logs of a management interface must not get in by what is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroad.centralserver.roles import Role
from postroad.centralserver.token_login import TokenLogin
from support.central_server import MovingClock, filled_node
from support.management_api import PASSWORD, PREFIX, opened_api


def test_no_password_session_key_or_pin_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node = filled_node(tmp_path, MovingClock())
    pin = "canary-pin-1931"
    with opened_api(node, TokenLogin(node.settings.token_path), tmp_path) as api:
        api.administrator()
        assert api.log_in().status_code == 200
        api.log_in("admin", "canary-wrong-password")
        secrets = [PASSWORD, pin, "canary-wrong-password", *api.client.cookies.values()]
        assert len(secrets) == 5
        made = api.client.post(
            f"{PREFIX}/api-keys", json=[Role.SYSTEM_ADMINISTRATOR.value], headers=api.xsrf
        )
        assert made.status_code == 200
        secrets.append(made.json()["key"])
        key = {"Authorization": f"X-Road-ApiKey token={made.json()['key']}"}
        answers = [
            api.client.request("PUT", f"{PREFIX}/tokens/0/login", json={"password": pin}),
            api.client.request(
                "PUT", f"{PREFIX}/tokens/0/login", json={"password": pin}, headers=key
            ),
            api.client.get(f"{PREFIX}/api-keys", headers=key),
            api.client.post(f"{PREFIX}/members", json={"member_name": pin}, headers=key),
            api.client.get(f"{PREFIX}/none", headers=key),
        ]
        audit = node.settings.audit_log_path.read_text()
    assert '"Log in user failed"' in audit
    assert '"API key create"' in audit
    assert '"Log in to token failed"' in audit
    output = capfd.readouterr()
    for secret in secrets:
        assert secret not in audit
        assert secret not in output.out + output.err
        assert not [answer.text for answer in answers if secret in answer.text]
    node.close()
