"""A signing bench for tests: a member, its certificate, an instance that trusts it, containers."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from postroad.crypto.algorithms import (
    DigestAlgorithm,
    SignatureAlgorithm,
    ecdsa_der_to_raw,
    sign_data,
    sign_digest,
)
from postroad.evidence.asic import AsicContainer, Attachment
from postroad.evidence.digests import (
    HASH_CHAIN_RESULT_PART,
    MESSAGE_PART,
    SIGNATURES_PART,
    TIMESTAMP_CHAIN_PART,
    PartDigest,
    attachment_part,
)
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.verification import SignatureDocument
from postroad.evidence.xades import INCLUSIVE_C14N, add_signature_timestamp, prepare_signature
from postroad.evidence.xades_parsing import parse_signature
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.shared_parameters import (
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    OcspInfo,
    SharedParameters,
)
from postroad.globalconf.stored import load
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import SubsystemId
from postroad.trustlab.authority import Identity, KeyKind, TrustLab
from postroad.wire.xml import canonicalize, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = Path(__file__).parent.parent / "data" / "reference"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CLIENT = SubsystemId("TEST", "COM", "1234", "app")
REST_REQUEST = (
    b"POST\r\n/r1/TEST/GOV/99/registry/persons/7?x=1\r\n"
    b"X-Road-Client:TEST/COM/1234/app\r\nx-road-request-id:5b1c\r\nx-road-id:q-1\r\n"
)
SHA512 = DigestAlgorithm.SHA512


def reference_configuration(name: str) -> GlobalConfiguration:
    root = REFERENCE / "globalconf" / "stored" / name
    return load(
        {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
    )


@dataclass(frozen=True)
class Bench:
    """A lab, a member's signing identity, and the configuration that trusts the lab."""

    lab: TrustLab
    identity: Identity
    globalconf: GlobalConfiguration
    at: datetime = NOW

    @classmethod
    def create(cls, keys: KeyKind = KeyKind.EC_P256, *, intermediate: bool = True) -> Bench:
        lab = TrustLab.create(at=NOW - timedelta(days=30), keys=keys, intermediate=intermediate)
        return cls(lab, lab.sign_certificate(CLIENT), configuration(lab))

    def sign(
        self,
        parts: Sequence[PartDigest],
        *others: Sequence[PartDigest],
        digest: DigestAlgorithm = SHA512,
        algorithm: SignatureAlgorithm | None = None,
        ocsp: Sequence[bytes] | None = None,
        mine: int = 0,
    ) -> SignatureDocument:
        """Sign a message's parts, in one batch with the others if there are any."""
        algorithm = algorithm or SignatureAlgorithm.for_key(
            self.identity.certificate.public_key, digest
        )
        if not others and len(parts) == 1:
            assert parts[0].data is not None
            return self.sign_document(MESSAGE_PART, parts[0].data, algorithm, ocsp)
        messages = list(others)
        messages.insert(mine, parts)
        built = build_hash_chains(messages, digest)
        document = self.sign_document(HASH_CHAIN_RESULT_PART, built.result, algorithm, ocsp)
        return replace(document, hash_chain_result=built.result, hash_chain=built.chains[mine])

    def sign_document(
        self,
        name: str,
        data: bytes,
        algorithm: SignatureAlgorithm | None = None,
        ocsp: Sequence[bytes] | None = None,
    ) -> SignatureDocument:
        """Sign one document."""
        algorithm = algorithm or self.identity.algorithm
        prepared = prepare_signature(
            reference_uri=name,
            reference_digest=algorithm.digest.digest(data),
            certificate=self.identity.certificate,
            algorithm=algorithm,
            signing_time=self.at,
        )
        value = sign_digest(self.identity.private_key, algorithm, prepared.digest, ecdsa_raw=True)
        responses = [self.ocsp()] if ocsp is None else ocsp
        return SignatureDocument(prepared.assemble(value, responses))

    def ocsp(self) -> bytes:
        return self.lab.ocsp(self.identity.certificate, at=self.at - timedelta(minutes=10))

    def container(
        self,
        message: bytes = REST_REQUEST,
        attachments: Sequence[bytes] = (),
        *,
        batch: bool = False,
        batch_timestamp: bool = False,
    ) -> AsicContainer:
        """Make a valid container."""
        parts = message_parts(message, attachments)
        others = [message_parts(b"another message")] if batch else []
        document = self.sign(parts, *others)
        container = AsicContainer(
            message=message,
            signatures=document.signature,
            hash_chain_result=document.hash_chain_result,
            hash_chain=document.hash_chain,
            attachments=tuple(
                Attachment(f"attachment{number}", data)
                for number, data in enumerate(attachments, 1)
            ),
        )
        return self.stamped(container, batch=batch_timestamp)

    def stamped(self, container: AsicContainer, *, batch: bool = False) -> AsicContainer:
        """Put a time-stamp into a container."""
        at = self.at + timedelta(seconds=50)
        if not batch:
            value = parse_signature(container.signatures).value
            token = self.lab.timestamp(value, at=at)
            return replace(
                container, signatures=add_signature_timestamp(container.signatures, token)
            )
        records = [[PartDigest.of(SIGNATURES_PART, container.signatures, SHA512)]]
        records.append([PartDigest.of(SIGNATURES_PART, b"another signature", SHA512)])
        built = build_hash_chains(records, SHA512, chain_file=TIMESTAMP_CHAIN_PART)
        return replace(
            container,
            timestamp=self.lab.timestamp(built.result, at=at),
            timestamp_chain_result=built.result,
            timestamp_chain=built.chains[0],
        )


def transformed_chain(name: str, data: bytes, chain_file: str) -> tuple[bytes, bytes]:
    """Make a chain result and chain that refer to the canonical form of an XML part."""
    form = canonicalize(parse(data))
    built = build_hash_chains(
        [[PartDigest.of(name, form, SHA512)], [PartDigest.of(name, b"other", SHA512)]],
        SHA512,
        chain_file=chain_file,
    )
    transforms = f'<Transforms><Transform Algorithm="{INCLUSIVE_C14N}"/></Transforms><DigestValue>'
    head, reference, tail = built.chains[0].partition(b"<ns2:DataRef ")
    return built.result, head + reference + tail.replace(b"<DigestValue>", transforms.encode(), 1)


def sign_weakly(bench: Bench, message: bytes, digest: DigestAlgorithm) -> SignatureDocument:
    """Sign as our own signer would refuse to, with an EC key."""
    certificate, key = bench.identity.certificate, bench.identity.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    prepared = prepare_signature(
        reference_uri=MESSAGE_PART,
        reference_digest=digest.digest(message),
        certificate=certificate,
        algorithm=SignatureAlgorithm.for_key(certificate.public_key, digest),
        signing_time=bench.at,
    )
    value = key.sign(prepared.signed_info, ec.ECDSA(digest.primitive))
    return SignatureDocument(prepared.assemble(ecdsa_der_to_raw(value, 32), [bench.ocsp()]))


def resigned(bench: Bench, document: bytes) -> bytes:
    """Make the value right again after SignedInfo was changed."""
    parsed = parse_signature(document)
    form = parsed.canonical_form
    octets = canonicalize(
        parsed.signed_info,
        exclusive=form.exclusive,
        with_comments=form.with_comments,
        inclusive_prefixes=form.inclusive_prefixes,
    )
    value = sign_data(bench.identity.private_key, parsed.algorithm, octets, ecdsa_raw=True)
    return document.replace(b64encode(parsed.value), b64encode(value))


def message_parts(message: bytes, attachments: Sequence[bytes] = ()) -> list[PartDigest]:
    named = [(MESSAGE_PART, message)]
    named += [(attachment_part(number), data) for number, data in enumerate(attachments, 1)]
    return [PartDigest.of(name, data, SHA512) for name, data in named]


def configuration(
    lab: TrustLab,
    instance: str = "TEST",
    *,
    authentication_only: bool = False,
    configured_responder: bool = True,
) -> GlobalConfiguration:
    """Make the configuration of an instance that approves the lab's services."""
    responder = lab.ocsp_certificate.der if configured_responder else None
    infos = (OcspInfo("http://ocsp.test", responder),)
    issuing = CertificationAuthority(lab.ca_certificate.der, infos)
    top = CertificationAuthority(lab.root.certificate.der, infos)
    shared = SharedParameters(
        instance=instance,
        approved_cas=(
            ApprovedCa(
                name="lab",
                top=top,
                intermediates=(issuing,) if lab.issuing is not lab.root else (),
                certificate_profile=lab.profile,
                authentication_only=authentication_only,
            ),
        ),
        approved_tsas=(ApprovedTsa("tsa", "http://tsa.test", lab.tsa_certificate.der),),
    )
    index = InstanceIndex(shared)
    return GlobalConfiguration(instance, [InstanceConfiguration(instance=instance, index=index)])
