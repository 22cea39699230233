"""The management interface for tests: without sockets, with somebody of every role."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from postroad.adapters.audit_log import AuditLog
from postroad.centralserver.api.application import api_application
from postroad.centralserver.api.gate import Gate
from postroad.centralserver.api.operations import Services
from postroad.centralserver.management_ports import CertificateSwitch
from postroad.centralserver.models.administrators import Administrator, AdministratorRole
from postroad.centralserver.node import CentralServerNode
from postroad.centralserver.passwords import hash_password
from postroad.centralserver.registry.administrators import add_api_key
from postroad.centralserver.roles import Role
from postroad.centralserver.token_login import TokenLogin

PASSWORD = "canary-password-0815"
PREFIX = "/api/v1"
HUMAN_ROLES = frozenset(Role) - {Role.MANAGEMENT_SERVICE}
_hash: list[str] = []


class Browser:
    """A client that keeps cookies and asks an application without any socket."""

    def __init__(self, application: Starlette, address: str = "127.0.0.1") -> None:
        self._runner = asyncio.Runner()
        self.application = application
        transport = httpx.ASGITransport(
            application, raise_app_exceptions=False, client=(address, 4711)
        )
        self._client = httpx.AsyncClient(transport=transport, base_url="https://cs.example")

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **arguments))

    def at_once(self, times: int, method: str, path: str, **arguments: Any) -> list[httpx.Response]:
        """The same request many times, none waiting for another."""

        async def ask() -> list[httpx.Response]:
            asked = [self._client.request(method, path, **arguments) for _ in range(times)]
            return list(await asyncio.gather(*asked))

        return self._runner.run(ask())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@dataclass
class ManagementApi:
    """A management interface and short ways to use it."""

    services: Services
    client: Browser

    @property
    def node(self) -> CentralServerNode:
        return self.services.node

    @property
    def login(self) -> TokenLogin:
        return self.services.login

    def key(self, *roles: Role) -> dict[str, str]:
        """The headers of a program that has these roles."""
        with self.node.changing("tester") as change:
            _row, key = add_api_key(change, frozenset(roles), maker=frozenset(Role))
        return {"Authorization": f"X-Road-ApiKey token={key}"}

    def administrator(self, username: str = "admin", roles: Iterable[Role] = HUMAN_ROLES) -> None:
        """Somebody who may log in with PASSWORD; its hash is made once."""
        if not _hash:
            _hash.append(hash_password(PASSWORD))
        with self.node.changing("tester") as change:
            change.session.add(
                Administrator(
                    username=username,
                    password_hash=_hash[0],
                    created_at=change.at,
                    roles=[AdministratorRole(role=role.value) for role in roles],
                )
            )

    def log_in(self, username: str = "admin", password: str = PASSWORD) -> httpx.Response:
        """Log in by the form; the client keeps the cookies."""
        return self.client.post("/login", data={"username": username, "password": password})

    @property
    def xsrf(self) -> dict[str, str]:
        """The header against cross-site requests."""
        return {"X-XSRF-TOKEN": self.client.cookies["XSRF-TOKEN"]}

    def ask(self, method: str, path: str, *roles: Role, status: int = 200, **arguments: Any) -> Any:
        """The JSON answer to a request of a program with these roles."""
        answer = self.client.request(
            method, PREFIX + path, headers=self.key(*(roles or Role)), **arguments
        )
        assert answer.status_code == status, (answer.status_code, answer.text)
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.json() if is_json else answer.content

    def refusal(self, method: str, path: str, *roles: Role, **arguments: Any) -> tuple[int, str]:
        """The status and code of a request that is refused."""
        answer = self.client.request(
            method, PREFIX + path, headers=self.key(*(roles or Role)), **arguments
        )
        told = answer.json()
        assert told["status"] == answer.status_code >= 400
        return answer.status_code, told["error"]["code"]

    def limit(self, requests: int) -> None:
        """Let the client ask so many times only, in a second."""
        settings = msgspec.structs.replace(
            self.node.settings.management_api, requests_per_second=requests
        )
        application = Starlette(
            middleware=[Middleware(Gate, settings=settings)], routes=self.client.application.routes
        )
        self.client.close()
        self.client = Browser(application)

    @property
    def audit_lines(self) -> list[dict[str, Any]]:
        """What the audit log says."""
        text = self.node.settings.audit_log_path.read_text()
        return [json.loads(line) for line in text.splitlines()]


@contextmanager
def opened_api(node: CentralServerNode, login: TokenLogin, home: Path) -> Iterator[ManagementApi]:
    """The interface of a node whose home directory is ``home``."""
    assert node.settings.home_path == home
    audit = AuditLog(node.settings.audit_log_path)
    audit.ensure_writable()
    services = Services(node, login, CertificateSwitch())
    opened = ManagementApi(services, Browser(api_application(services, audit)))
    try:
        yield opened
    finally:
        opened.client.close()
