"""How does a Security Server of the demo get its keys, certificates and services?

By the doors that its operator uses: the signer's socket, the CA's form, a declaration file.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from postroad.adapters.files import write_atomic
from postroad.adapters.signer_protocol import (
    SOFTWARE_ID,
    KeyAlgorithm,
    KeyUsage,
    RequestArgument,
)
from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.registry.groups import OWNERS_GROUP
from postroad.crypto.certificates import Certificate
from postroad.crypto.profiles import auth_subject, sign_subject
from postroad.demo.descriptions import (
    CERTIFY,
    FIND_PERSON,
    OPENAPI_PATH,
    SOAP_VERSION,
    WSDL_PATH,
)
from postroad.demo.layout import HEALTH_CHECK_PORT, SERVICE_CODE, Layout, Party
from postroad.errors import ConfigurationError
from postroad.management.requests import ServiceCode
from postroad.securityserver.descriptions.fetching import fetch_document
from postroad.securityserver.descriptions.openapi import derive_openapi
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from postroad.securityserver.internal_tls import ensure_internal_identity
from postroad.securityserver.serverconf.models import DescriptionType

if TYPE_CHECKING:
    from postroad.adapters.signer_client import SignerClient
    from postroad.demo.softhsm import SoftHsm
    from postroad.securityserver.descriptions.derived import Derived
    from postroad.securityserver.settings import Settings

UPDATE_INTERVAL = 1
"""Seconds between downloads of the global configuration; an ecosystem normally takes 60."""
TIMESTAMP_INTERVAL = 2
"""Seconds between time-stamps; an ecosystem normally takes 60."""
MONITORING_INTERVAL = 1
"""Seconds until operational data is stored, and may be asked for; normally 5 and 60."""


@dataclass(frozen=True, slots=True)
class ServerParts:
    """What a Security Server of the demo is made of, beside itself."""

    workers: int = 1
    server_conf: str = ""
    """The address of the server configuration's database; "" for SQLite."""
    message_log: str = ""
    """The address of the message log's database; "" for SQLite."""
    monitoring: str = ""
    """The address of the operational monitoring's database; "" for SQLite."""
    hsm: SoftHsm | None = None
    """Where its signing keys are, if not in the software token."""


def write_server_files(
    layout: Layout, party: Party, anchor: bytes, parts: ServerParts | None = None
) -> None:
    """Write ``server.toml``, the configuration anchor and the declaration of services."""
    parts = parts or ServerParts()
    home = layout.server_home(party)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = layout.address(party.number)
    text = f"""\
[server]
identifier = "{party.server_id.encoded()}"
workers = {parts.workers}

[client_proxy]
host = "{address}"

[server_proxy]
host = "{address}"
ocsp_host = "{address}"

[configuration_client]
update_interval = {UPDATE_INTERVAL}
allowed_federations = "{layout.cast.federations}"

[monitoring]
database = "{parts.monitoring}"
sending_interval = {MONITORING_INTERVAL}
records_available_timestamp_offset = {MONITORING_INTERVAL}
health_check_host = "{address}"
health_check_port = {HEALTH_CHECK_PORT}
metrics = true

[server_conf]
database = "{parts.server_conf}"

[message_log]
database = "{parts.message_log}"
timestamp_interval = {TIMESTAMP_INTERVAL}

[tokens]
pin_file = "{layout.pin_file if parts.hsm is None else parts.hsm.pin_file}"
"""
    if parts.hsm is not None:
        text += parts.hsm.settings
    write_atomic(home / "server.toml", text.encode())
    write_atomic(home / "configuration-anchor.xml", anchor)
    write_atomic(home / "services.toml", _declaration(layout, party).encode())


def write_management_client_certificate(layout: Layout) -> None:
    """Hand the Central Server the certificate of the only server whose requests it takes."""
    home = layout.server_home(layout.cast.governor)
    address = layout.address(layout.cast.governor.number)
    identity = ensure_internal_identity(home, SystemClock().now(), (address,))
    write_atomic(layout.management_client_certificate, identity.certificate.pem)


def read_description(settings: Settings, kind: DescriptionType, url: str, code: str) -> Derived:
    """What `postroad server apply` reads, without a program that judges the document."""
    identity = ensure_internal_identity(
        settings.home_path, SystemClock().now(), (settings.client_proxy.host,)
    )
    document = asyncio.run(fetch_document(url, identity))
    if kind is DescriptionType.WSDL:
        return derive_wsdl(document)
    return derive_openapi(document, code=code, url=url)


def _declaration(layout: Layout, party: Party) -> str:
    """What `postroad server apply` is given: time-stamping, the client and its services."""
    text = f'[[timestamping]]\nname = "Demo TSA"\nurl = "{layout.lab_url}/tsa"\n\n'
    text += f'[[client]]\nid = "{party.subsystem.encoded()}"\nconnection = "HTTP"\n'
    if party == layout.cast.governor:
        text += _management_services(layout)
    if party.callers:
        text += _described_services(layout, party)
    return text


def _described_services(layout: Layout, party: Party) -> str:
    """REST and SOAP services, as their descriptions say; rights on single REST endpoints."""
    callers = ", ".join(f'"{caller.encoded()}"' for caller in party.callers)
    text = (
        f'\n[[client.description]]\ntype = "OPENAPI3"\ncode = "{SERVICE_CODE}"\n'
        f'url = "{layout.service_url}{OPENAPI_PATH}"\n'
        f'\n[[client.description.service]]\ncode = "{SERVICE_CODE}"\n'
    )
    text += "".join(
        "\n[[client.description.service.endpoint]]\n"
        f'method = "{method}"\npath = "{path}"\nallow = [{callers}]\n'
        for method, path in (
            ("GET", "/persons/*"),
            ("POST", "/applications"),
            ("POST", "/documents"),
        )
    )
    text += f'\n[[client.description]]\ntype = "WSDL"\nurl = "{layout.service_url}{WSDL_PATH}"\n'
    return text + "".join(
        f'\n[[client.description.service]]\ncode = "{code}"\nversion = "{SOAP_VERSION}"\n'
        f"allow = [{callers}]\n"
        for code in (FIND_PERSON, CERTIFY)
    )


def _management_services(layout: Layout) -> str:
    """All that a Security Server may ask, for whoever owns one; the Central Server is pinned."""
    certificate = layout.central_home / "tls" / "management-service.crt"
    owners = f"global:{layout.cast.instance}/{OWNERS_GROUP}"
    services = "".join(
        f'\n[[client.service]]\ncode = "{code.value}"\ntype = "WSDL"\n'
        f'description = "http://{layout.central_address}/managementservices.wsdl"\n'
        f'url = "{layout.management_url}"\nverify_tls = true\nallow = ["{owners}"]\n'
        for code in ServiceCode
        if code is not ServiceCode.AUTH_CERT_REGISTRATION
    )
    return f'certificates = ["{certificate}"]\n{services}'


@dataclass(frozen=True, slots=True)
class KeyMaker:
    """Makes the keys of one party's server through its signer."""

    layout: Layout
    party: Party
    signer: SignerClient
    algorithm: KeyAlgorithm
    profile: str
    signing_token: str = SOFTWARE_ID
    """The token that signing keys are made in."""

    async def make_keys(self, pin: str) -> None:
        """Initialise the token, make both keys, have them certified, activate the certificates."""
        await self.signer.initialise(pin)
        await self.signer.login(pin)
        if self.signing_token != SOFTWARE_ID:
            await self.signer.login(pin, token=self.signing_token)
        await self.make_key(KeyUsage.SIGNING)
        await self.make_key(KeyUsage.AUTHENTICATION)

    async def make_key(self, usage: KeyUsage) -> str:
        """Make a key, have the lab certify it, activate the certificate; returns its hash."""
        is_signing = usage is KeyUsage.SIGNING
        member = self.party.owner.encoded() if is_signing else None
        key = await self.signer.generate_key(
            f"{self.party.server_code} {usage.value.lower()}",
            algorithm=self.algorithm,
            usage=usage,
            token=self.signing_token if is_signing else SOFTWARE_ID,
        )
        made = await self.signer.make_request(
            RequestArgument(
                key_id=key.id,
                usage=usage,
                subject=tuple(self._subject(usage)),
                member=member,
                profile=self.profile,
            )
        )
        kind = "sign" if is_signing else "auth"
        certificate = _certify(self.layout.lab_url, made.der, kind)
        record = await self.signer.import_certificate(certificate.der, member=member)
        await self.signer.set_certificate(record.hash, active=True)
        return record.hash

    def _subject(self, usage: KeyUsage) -> list[tuple[str, str]]:
        party = self.party
        if usage is KeyUsage.SIGNING:
            return sign_subject(
                self.profile,
                member=party.owner,
                server=party.server_id,
                member_name=party.name,
                values={"O": party.name},
            )
        return auth_subject(
            self.profile,
            server=party.server_id,
            member_name=party.name,
            values={"O": party.name, "CN": self.layout.address(party.number)},
        )


def _certify(lab_url: str, request: bytes, kind: str) -> Certificate:
    """Send a certificate request to the CA's form, as its operator would."""
    pem = (
        "-----BEGIN CERTIFICATE REQUEST-----\n"
        f"{base64.encodebytes(request).decode()}-----END CERTIFICATE REQUEST-----\n"
    )
    parts = urlsplit(lab_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=30)
    try:
        connection.request(
            "POST",
            "/testca/sign",
            body=urlencode({"type": kind, "certreq": pem}),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ConfigurationError(f"the test CA refused: {answer.decode('utf-8', 'replace')}")
    return Certificate.from_pem_or_der(answer)
