"""How do other processes ask the signer: `SignerPort` and the tokens' administration.

Every call goes over the signer's Unix socket; `UnavailablePeer` says that it isn't running,
`ConfigurationError` what it refused (`token_not_active`, `key_not_found`, `pin_incorrect` …).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from postroad.adapters.ipc import IpcClient
from postroad.adapters.signer_protocol import (
    SOFTWARE_ID,
    CertificateArgument,
    CertificateRecord,
    CertificateStatus,
    ChangePinArgument,
    GenerateArgument,
    ImportArgument,
    KeyAlgorithm,
    KeyItemArgument,
    KeyRecord,
    KeyUsage,
    LentKeyReply,
    MadeRequest,
    PinArgument,
    RenameArgument,
    RenewalArgument,
    RequestArgument,
    SignArgument,
    TokenInfo,
)
from postroad.ports import KeyCertificate, LentKey

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.crypto.algorithms import DigestAlgorithm

T = TypeVar("T")

SIGN_DEADLINE: Final = 10.0
"""Seconds; a queue of signatures longer than this is a fault that the caller must hear about."""
CHANGE_DEADLINE: Final = 60.0
"""Seconds; generating an RSA key of 4096 bits takes some of them."""


class SignerClient:
    """The signer behind its socket; fulfils `SignerPort`. Connects on demand, and again."""

    def __init__(self, socket: Path) -> None:
        self._ipc = IpcClient(socket, what="signer")

    def close(self) -> None:
        """Close the connection."""
        self._ipc.close()

    async def sign(self, key_id: str, digest_algorithm: DigestAlgorithm, digest: bytes) -> bytes:
        """Sign a digest: PKCS#1 v1.5 for RSA, raw `r||s` of fixed length for EC."""
        argument = SignArgument(key_id, digest_algorithm.label, digest)
        return await self._ipc.call("sign", argument, bytes, deadline=SIGN_DEADLINE)

    async def certificates(self) -> tuple[KeyCertificate, ...]:
        """List the certificates of all keys of all tokens in key order, with their state."""
        return tuple(
            KeyCertificate(
                key_id=key.id,
                usage=key.usage.value,
                der=certificate.der,
                member=certificate.member,
                active=certificate.active,
                status=certificate.status.value,
                token_active=key.id in info.available_keys,
                rsa_pss=info.rsa_pss,
                batch_signing=info.batch_signing,
            )
            for info in await self.tokens()
            for key in info.token.keys
            for certificate in key.certificates
            if key.usage is not None
        )

    async def lend_authentication_key(self) -> LentKey:
        """Return the active authentication key and its certificate."""
        reply = await self._ipc.call("lend_authentication_key", None, LentKeyReply)
        return LentKey(reply.private_key_pkcs8_pem, reply.certificate_der)

    # --- administration --------------------------------------------------------------------------

    async def info(self) -> TokenInfo:
        """The software token: its state, keys, requests and certificates."""
        return await self._ipc.call("info", None, TokenInfo)

    async def tokens(self) -> list[TokenInfo]:
        """All tokens, the software token first; those that are away are told as such."""
        return await self._ipc.call("tokens", None, list[TokenInfo])

    async def initialise(self, pin: str, *, enforce_policy: bool = False) -> None:
        """Give the new software token its PIN."""
        await self._change("initialise", PinArgument(pin=pin, enforce_policy=enforce_policy))

    async def login(self, pin: str, *, token: str = SOFTWARE_ID) -> None:
        """Log a token in; raises `pin_incorrect`, or `login_failed` while attempts must wait."""
        await self._change(f"{token}/login", PinArgument(pin=pin))

    async def logout(self, *, token: str = SOFTWARE_ID) -> None:
        """Make the signer forget a token's private keys, or its PIN."""
        await self._change(f"{token}/logout", None)

    async def change_pin(
        self, old: str, new: str, *, enforce_policy: bool = False, token: str = SOFTWARE_ID
    ) -> None:
        """Replace a token's PIN; it is logged out afterwards."""
        argument = ChangePinArgument(old=old, new=new, enforce_policy=enforce_policy)
        await self._change(f"{token}/change_pin", argument)

    async def forget_token(self, token: str) -> None:
        """Drop the record of a hardware token that is away for good."""
        await self._change(f"{token}/forget", None)

    async def certificates_on_token(self, token: str) -> tuple[bytes, ...]:
        """The certificates (DER) that lie on a hardware token, which must be logged in."""
        return await self._asked(f"{token}/certificates_on_token", None, tuple[bytes, ...])

    async def generate_key(
        self,
        label: str,
        *,
        algorithm: KeyAlgorithm = KeyAlgorithm.RSA_2048,
        usage: KeyUsage | None = None,
        token: str = SOFTWARE_ID,
    ) -> KeyRecord:
        """Generate a key pair in a token."""
        argument = GenerateArgument(label=label, algorithm=algorithm, usage=usage)
        return await self._asked(f"{token}/generate_key", argument, KeyRecord)

    async def delete_key(self, key_id: str) -> None:
        """Delete a key with its requests and certificates."""
        await self._change("delete_key", KeyItemArgument(key_id=key_id))

    async def rename(self, name: str, *, key_id: str = "", token: str = SOFTWARE_ID) -> None:
        """Give a key, or a token, a friendly name."""
        method = "rename" if key_id else f"{token}/rename"
        await self._change(method, RenameArgument(name=name, key_id=key_id))

    async def make_request(self, request: RequestArgument) -> MadeRequest:
        """Make a certificate request (PKCS#10, DER)."""
        return await self._asked("make_request", request, MadeRequest)

    async def remake_request(self, key_id: str, request_id: str) -> MadeRequest:
        """Make a remembered certificate request once more."""
        argument = KeyItemArgument(key_id=key_id, item=request_id)
        return await self._asked("remake_request", argument, MadeRequest)

    async def delete_request(self, key_id: str, request_id: str) -> None:
        """Forget a certificate request."""
        await self._change("delete_request", KeyItemArgument(key_id=key_id, item=request_id))

    async def import_certificate(
        self, der: bytes, *, member: str | None, status: CertificateStatus | None = None
    ) -> CertificateRecord:
        """Import a certificate; it starts inactive."""
        argument = ImportArgument(der=der, member=member, status=status)
        return await self._asked("import_certificate", argument, CertificateRecord)

    async def set_certificate(
        self,
        certificate_hash: str,
        *,
        active: bool | None = None,
        status: CertificateStatus | None = None,
    ) -> None:
        """Change whether a certificate is used, and where it stands."""
        argument = CertificateArgument(hash=certificate_hash, active=active, status=status)
        await self._change("set_certificate", argument)

    async def set_renewal(self, renewal: RenewalArgument) -> None:
        """Remember how far the renewal of a certificate is."""
        await self._change("set_renewal", renewal)

    async def delete_certificate(self, certificate_hash: str) -> None:
        """Delete a certificate; its key stays."""
        await self._change("delete_certificate", CertificateArgument(hash=certificate_hash))

    async def _change(self, method: str, argument: object) -> None:
        await self._ipc.call(method, argument, object, deadline=CHANGE_DEADLINE)

    async def _asked(self, method: str, argument: object, kind: type[T]) -> T:
        return await self._ipc.call(method, argument, kind, deadline=CHANGE_DEADLINE)
