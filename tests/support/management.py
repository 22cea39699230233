"""Management requests for tests: honest ones, with a place to bend every piece."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from postroad.centralserver.node import CentralServerNode, NewInstance, initialize_node
from postroad.centralserver.registry import provider
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.identifiers import ClientId, MemberId, SecurityServerId
from postroad.management.envelope import (
    AttachedPart,
    encode_message,
    encode_multipart,
    signature_part,
)
from postroad.management.requests import AuthCertRegistration, ManagementRequest, member_concerned
from postroad.trustlab.authority import Identity, TrustLab
from support.central_server import (
    MANAGEMENT,
    PIN,
    MovingClock,
    approve_trust_services,
    fill,
    plain_node,
)
from support.central_server import lab as central_lab

BOUNDARY = "postroadTest"
_numbers = itertools.count(1)

Edit = Callable[[bytes], bytes]


def signature(identity: Identity, data: bytes) -> AttachedPart:
    """A signature as the signer would make it, in the form that is sent."""
    algorithm = SignatureAlgorithm.for_key(identity.certificate.public_key, DigestAlgorithm.SHA512)
    return signature_part(algorithm, identity.sign(data))


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A request on its way: the SOAP message and what is beside it."""

    soap: bytes
    parts: tuple[AttachedPart, ...] = ()

    @property
    def sent(self) -> tuple[str, bytes]:
        """Content type and body."""
        return encode_multipart(self.soap, self.parts, BOUNDARY)

    def with_soap(self, edit: Edit) -> Letter:
        """The same proofs around another message."""
        changed = edit(self.soap)
        assert changed != self.soap
        return replace(self, soap=changed)

    def with_part(self, at: int, part: AttachedPart | bytes) -> Letter:
        """Another part in the place of one."""
        parts = list(self.parts)
        parts[at] = part if isinstance(part, AttachedPart) else replace(parts[at], data=part)
        return replace(self, parts=tuple(parts))


@dataclass
class Asker:
    """A security server that makes management requests, its keys certified by a lab."""

    lab: TrustLab
    server: SecurityServerId
    provider: ClientId
    auth: Identity = field(init=False)
    owner: Identity = field(init=False)

    def __post_init__(self) -> None:
        self.auth = self.lab.auth_certificate(self.server, dns_name="new.example")
        self.owner = self.lab.sign_certificate(self.server.owner)

    def soap(
        self,
        request: ManagementRequest,
        *,
        sender: MemberId | None = None,
        provider: ClientId | None = None,
    ) -> bytes:
        """The message of a request; a query id never repeats."""
        return encode_message(
            request,
            sender=sender or self.server.owner,
            provider=provider or self.provider,
            query_id=f"query-{next(_numbers)}",
        )

    def registration(
        self,
        *,
        address: str | None = "new.example",
        server: SecurityServerId | None = None,
        auth: Identity | None = None,
        owner: Identity | None = None,
        ocsp: bytes | None = None,
        inside: bytes | None = None,
        dry_run: bool = False,
        edit: Edit | None = None,
        sender: MemberId | None = None,
        provider: ClientId | None = None,
    ) -> Letter:
        """The registration of the authentication certificate; ``edit`` works before signing."""
        auth, owner = auth or self.auth, owner or self.owner
        request = AuthCertRegistration(
            server or self.server,
            auth.certificate.der if inside is None else inside,
            address,
            dry_run,
        )
        soap = self.soap(request, sender=sender, provider=provider)
        if edit is not None:
            soap = edit(soap)
        parts = (
            signature(auth, soap),
            signature(owner, soap),
            AttachedPart(auth.certificate.der),
            AttachedPart(owner.certificate.der),
            AttachedPart(self.lab.ocsp(owner.certificate) if ocsp is None else ocsp),
        )
        return Letter(soap=soap, parts=parts)

    def signed(
        self,
        request: ManagementRequest,
        *,
        signer: Identity | None = None,
        ocsp: bytes | None = None,
        sender: MemberId | None = None,
        provider: ClientId | None = None,
    ) -> Letter:
        """A request signed by whom it concerns, or by somebody else."""
        soap = self.soap(request, sender=sender, provider=provider)
        signer = signer or self.lab.sign_certificate(member_concerned(request))
        parts: Sequence[AttachedPart] = (
            signature(signer, soap),
            AttachedPart(signer.certificate.der),
            AttachedPart(self.lab.ocsp(signer.certificate) if ocsp is None else ocsp),
        )
        return Letter(soap=soap, parts=tuple(parts))


def found_node(home: Path, clock: MovingClock | None = None) -> CentralServerNode:
    """A Central Server of the instance DEV that has published its configuration."""
    node = plain_node(home, clock or MovingClock())
    new = NewInstance(instance="DEV", address="127.0.0.1", pin=PIN, algorithm=KeyAlgorithm.EC)
    token = initialize_node(node, new, "tester")
    with node.changing("tester") as change:
        fill(change)
        approve_trust_services(change)
        certificate = Certificate.from_pem_or_der(
            node.settings.management_certificate_path.read_bytes()
        )
        provider.set_management_certificate(change, certificate.der)
    node.generate(token)
    return node


def asker_of(server: SecurityServerId) -> Asker:
    """A server that the Central Server of :func:`found_node` can hear."""
    return Asker(central_lab(), server, MANAGEMENT)


def with_settings(node: CentralServerNode, section: str, **values: object) -> CentralServerNode:
    """The same node with other settings in one section."""
    changed = msgspec.structs.replace(getattr(node.settings, section), **values)
    return replace(node, settings=msgspec.structs.replace(node.settings, **{section: changed}))
