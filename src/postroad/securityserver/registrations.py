"""What does the registry say of our clients and certificates, and what follows from it?

The status job of the reference (GlobalConfChecker): clients and authentication certificates that
the global configuration lists for this server become registered, those it lists no longer are
marked, and requests whose outcome it shows are closed. When the server itself is listed under
another owner, it takes that identity.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from postroad.adapters.signer_protocol import CertificateStatus
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.outcomes import identity_after_owner_change, is_entry_fulfilled
from postroad.securityserver.serverconf.status import ClientStatus, following_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from postroad.adapters.signer_client import SignerClient
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import SecurityServerId
    from postroad.ports import KeyCertificate
    from postroad.securityserver.globalconf_files import CurrentConfiguration
    from postroad.securityserver.serverconf.snapshot import ServerConfView, SnapshotFile
    from postroad.securityserver.settings import Settings

LOOK_INTERVAL: Final = 1.0


class RegistrationJob:
    """Follows what the registry says of our clients and of our authentication certificates."""

    def __init__(
        self,
        *,
        signer: SignerClient,
        configuration: CurrentConfiguration,
        snapshot: SnapshotFile,
        update_clients: Callable[[], Awaitable[None]],
    ) -> None:
        self._signer = signer
        self._configuration = configuration
        self._snapshot = snapshot
        self._update_clients = update_clients

    async def run(self) -> Outcome:
        """Look once; change what differs."""
        globalconf = await self._configuration.get()
        self._snapshot.refresh()
        view = self._snapshot.view
        if view is None:
            return Outcome(LOOK_INTERVAL, silent=True)
        changed: list[object] = []
        keys = await self._signer.certificates()
        renamed = identity_after_owner_change(
            view.server_id,
            [client.identifier for client in view.clients],
            auth_certificates(keys),
            globalconf,
        )
        if renamed is not None:
            # Whatever else is to follow is judged under the new name, at the next look.
            await self._update_clients()
            facts: dict[str, object] = {"server": renamed.encoded()}
            return Outcome(LOOK_INTERVAL, {"changed": [facts]})
        for key in keys:
            status = following_certificate_status(key, globalconf, view.server_id)
            if status is not None:
                digest = Certificate.from_der(key.der).sha256.hex()
                await self._signer.set_certificate(digest, status=status)
                changed.append({"certificate": digest, "status": status.value})
        clients = changing_clients(view, globalconf)
        fulfilled = [
            entry
            for entry in view.submitted
            if is_entry_fulfilled(entry, view.server_id, globalconf)
        ]
        if clients or fulfilled:
            await self._update_clients()
            changed += [{"client": name, "status": status} for name, status in clients]
            changed += [{"fulfilled": code, "client": name} for code, name, _value in fulfilled]
        return Outcome(LOOK_INTERVAL, {"changed": changed}, silent=not changed)


def changing_clients(
    view: ServerConfView, globalconf: GlobalConfiguration
) -> list[tuple[str, str]]:
    """Clients whose status is not what the global configuration makes of it, and what that is."""
    found: list[tuple[str, str]] = []
    for client in view.clients:
        status = ClientStatus(client.status)
        listed = globalconf.is_registered(client.identifier, view.server_id)
        following = following_status(status, is_listed=listed)
        if following is not status:
            found.append((client.identifier.encoded(), following.value))
    return found


def following_certificate_status(
    key: KeyCertificate, globalconf: GlobalConfiguration, server_id: SecurityServerId
) -> CertificateStatus | None:
    """What an authentication certificate becomes; None when it stays what it is."""
    if key.usage != "AUTHENTICATION":
        return None
    registered_for = globalconf.server_by_auth_certificate(Certificate.from_der(key.der))
    status = CertificateStatus(key.status)
    if registered_for == server_id:
        if status in {
            CertificateStatus.SAVED,
            CertificateStatus.REGISTRATION_IN_PROGRESS,
            CertificateStatus.GLOBAL_ERROR,
        }:
            return CertificateStatus.REGISTERED
    elif status is CertificateStatus.REGISTERED:
        return CertificateStatus.GLOBAL_ERROR
    return None


def auth_certificates(keys: Iterable[KeyCertificate]) -> list[bytes]:
    """The authentication certificates (DER) among a signer's."""
    return [key.der for key in keys if key.usage == "AUTHENTICATION"]


async def follow_in_another_process(settings: Settings) -> None:
    """Bring the clients' statuses up to date by `postroad server follow-registrations`.

    The database library would cost this process 25 MiB for good, for a change once in a while.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "postroad",
        "server",
        "follow-registrations",
        "--home",
        settings.home,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        code = -1
    if code != 0:
        raise ConfigurationError(f"the clients' statuses could not be changed (exit code {code})")
