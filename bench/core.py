"""What does the message work of one exchange cost, beside the bare crypto it can't do without?

No sockets, processes or disks: two messages are built, signed, written as transport messages,
read again and verified, as the two servers of an exchange do it together. The bare crypto, two
signatures and two verifications with the same kind of key, is measured in the same run, and the
ratio of the two is the result: it doesn't depend on how fast the machine is.

    python bench/core.py                 a table
    python bench/core.py --json          the same as JSON
    python bench/core.py --profile       where the time goes
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import json
import pstats
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from floors import cpu_us, key_cost
from machine import describe

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_digest
from postroad.evidence.digests import (
    HASH_CHAIN_RESULT_PART,
    MESSAGE_PART,
    PartDigest,
    attachment_part,
)
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.verification import (
    SignatureDocument,
    VerificationCache,
    verify_message_signature,
)
from postroad.evidence.xades import prepare_signature
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.shared_parameters import (
    ApprovedCa,
    CertificationAuthority,
    OcspInfo,
    SharedParameters,
)
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import ClientId, ServiceId, SubsystemId
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import (
    BodyData,
    Direction,
    HashChain,
    HashChainResult,
    RestMessage,
    SignaturePart,
)
from postroad.messages.rest import (
    RestRequest,
    RestResponse,
    build_request,
    build_response,
    check_correlation,
    request_hash,
)
from postroad.trustlab.authority import KeyKind, TrustLab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.certificates import Certificate
    from postroad.trustlab.authority import Identity

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT = SubsystemId("TEST", "COM", "1", "app")
SERVICE = ServiceId(SubsystemId("TEST", "GOV", "2", "reg"), "persons")
SHA512 = DigestAlgorithm.SHA512
KINDS = {
    "RSA-2048": KeyKind.RSA_2048,
    "RSA-3072": KeyKind.RSA_3072,
    "EC-P256": KeyKind.EC_P256,
}
CONSUMER_HEADERS = (
    ("Host", "localhost:8080"),
    ("Accept", "application/json"),
    ("User-Agent", "bench"),
    ("X-Road-Client", CLIENT.encoded()),
    ("Content-Type", "application/json"),
    ("Content-Length", "1024"),
)
SERVICE_HEADERS = (
    ("Content-Type", "application/json"),
    ("Content-Length", "1024"),
    ("Date", "Sun, 01 Mar 2026 12:00:00 GMT"),
    ("Server", "bench"),
)
_MOMENTS = itertools.cycle(range(60_000))
BODY = b'{"name": "' + b"x" * 1012 + b'"}'


@dataclass(frozen=True, slots=True)
class Signer:
    """A member's signing key with what its signatures carry."""

    identity: Identity
    algorithm: SignatureAlgorithm
    ocsp: bytes

    @classmethod
    def of(cls, lab: TrustLab, member: ClientId) -> Signer:
        identity = lab.sign_certificate(member)
        public_key = identity.certificate.public_key
        response = lab.ocsp(identity.certificate, at=AT - timedelta(minutes=5))
        return cls(identity, SignatureAlgorithm.for_key(public_key, SHA512), response)

    def sign(self, messages: Sequence[Sequence[PartDigest]]) -> list[SignatureDocument]:
        """Sign messages: one alone and of one part as it is, else under one hash chain result."""
        if len(messages) == 1 and len(messages[0]) == 1:
            return [SignatureDocument(self._document(MESSAGE_PART, messages[0][0].value))]
        chains = build_hash_chains(messages, SHA512)
        document = self._document(HASH_CHAIN_RESULT_PART, SHA512.digest(chains.result))
        return [SignatureDocument(document, chains.result, chain) for chain in chains.chains]

    def _document(self, name: str, digest: bytes) -> bytes:
        prepared = prepare_signature(
            reference_uri=name,
            reference_digest=digest,
            certificate=self.identity.certificate,
            algorithm=self.algorithm,
            signing_time=AT + timedelta(milliseconds=next(_MOMENTS)),  # no two documents are equal
        )
        value = sign_digest(
            self.identity.private_key, self.algorithm, prepared.digest, ecdsa_raw=True
        )
        return prepared.assemble(value, [self.ocsp])


@dataclass(frozen=True, slots=True)
class Bench:
    """Two members of one instance, and what both of their servers know."""

    consumer: Signer
    provider: Signer
    globalconf: GlobalConfiguration
    cache: VerificationCache

    @classmethod
    def create(cls, kind: KeyKind) -> Bench:
        lab = TrustLab.create(at=AT - timedelta(days=30), keys=kind)
        return cls(
            Signer.of(lab, CLIENT),
            Signer.of(lab, SERVICE.client),
            _configuration(lab),
            VerificationCache(),
        )

    def exchange(self, body: bytes | None, batch: int = 1) -> None:
        """Do the message work of ``batch`` exchanges whose messages share their signatures."""
        requests = [_request(number, body) for number in range(batch)]
        signatures = self.consumer.sign([_parts(r.encode(), body) for r in requests])
        responses = []
        for request, signature in zip(requests, signatures, strict=True):
            wire = _transport(Direction.REQUEST, request.encode(), body, signature)
            parts = self._received(Direction.REQUEST, wire, CLIENT)
            asked = _request_hash(parts)
            message = RestRequest.parse(parts[MESSAGE_PART].data or b"")
            responses.append(
                build_response(200, "OK", SERVICE_HEADERS, request=message, request_hash=asked)
            )
        signatures = self.provider.sign([_parts(r.encode(), BODY) for r in responses])
        for request, sent, signature in zip(requests, responses, signatures, strict=True):
            wire = _transport(Direction.RESPONSE, sent.encode(), BODY, signature)
            parts = self._received(Direction.RESPONSE, wire, SERVICE.client)
            response = RestResponse.parse(parts[MESSAGE_PART].data or b"")
            asked = _request_hash({p.name: p for p in _parts(request.encode(), body)})
            check_correlation(request, response, asked)

    def _received(
        self, direction: Direction, wire: bytes, signer: ClientId
    ) -> dict[str, PartDigest]:
        block = signature = b""
        body: bytes | None = None
        result: bytes | None = None
        chain: bytes | None = None
        decoder = TransportDecoder("multipart/mixed; boundary=xtopbench", direction=direction)
        for event in decoder.feed(wire):
            match event:
                case RestMessage(data):
                    block = data
                case BodyData(data):
                    body = data
                case HashChainResult(data):
                    result = data
                case HashChain(data):
                    chain = data
                case SignaturePart(data):
                    signature = data
        decoder.finish()
        parts = {part.name: part for part in _parts(block, body)}
        verify_message_signature(
            SignatureDocument(signature, result, chain),
            signer=signer,
            parts=parts,
            globalconf=self.globalconf,
            at=AT,
            cache=self.cache,
        )
        return parts


def _request(number: int, body: bytes | None) -> RestRequest:
    return build_request(
        "GET" if body is None else "POST",
        "/r1/TEST/GOV/2/reg/persons/7?x=1",
        CONSUMER_HEADERS,
        request_id=f"3f0c1f9e-0000-4000-8000-{number:012}",
        generated_id=f"TEST-3f0c1f9e-0000-4000-8000-{number:012}",
    )


def _parts(block: bytes, body: bytes | None) -> list[PartDigest]:
    parts = [PartDigest.of(MESSAGE_PART, block, SHA512)]
    if body is not None:
        parts.append(PartDigest(attachment_part(1), SHA512, SHA512.digest(body)))
    return parts


def _request_hash(parts: dict[str, PartDigest]) -> bytes:
    body = parts.get(attachment_part(1))
    return request_hash(parts[MESSAGE_PART].value, None if body is None else body.value)


def _transport(
    direction: Direction, block: bytes, body: bytes | None, signature: SignatureDocument
) -> bytes:
    encoder = TransportEncoder("xtopbench", direction)
    is_request = direction is Direction.REQUEST
    pieces = [encoder.rest_request(block) if is_request else encoder.rest_response(block)]
    if body is not None:
        pieces += [encoder.body_start(), encoder.body_data(body), encoder.body_end()]
    if signature.hash_chain_result is not None and signature.hash_chain is not None:
        pieces += [encoder.hash_chain_result(signature.hash_chain_result)]
        pieces += [encoder.hash_chain(signature.hash_chain)]
    return b"".join((*pieces, encoder.signature(signature.signature), encoder.finish()))


def _configuration(lab: TrustLab) -> GlobalConfiguration:
    def service(certificate: Certificate) -> CertificationAuthority:
        infos = (OcspInfo("http://ocsp.bench", lab.ocsp_certificate.der),)
        return CertificationAuthority(certificate.der, infos)

    approved = ApprovedCa(
        name="lab",
        top=service(lab.root.certificate),
        intermediates=(service(lab.ca_certificate),),
        certificate_profile=lab.profile,
        authentication_only=False,
    )
    shared = SharedParameters(instance="TEST", approved_cas=(approved,))
    index = InstanceIndex(shared)
    return GlobalConfiguration("TEST", [InstanceConfiguration(instance="TEST", index=index)])


@dataclass(frozen=True, slots=True)
class Row:
    """CPU microseconds of both servers together, for one exchange."""

    key: str
    exchange: str
    work_us: float
    bare_us: float

    @property
    def ratio(self) -> float:
        return self.work_us / self.bare_us


ROUNDS = 8
SCENARIOS = {
    "POST 1 kB": (BODY, 1),
    "GET 1 kB": (None, 1),
    "GET 1 kB, batch of 8": (None, 8),
}


def measure(key: str) -> list[Row]:
    """Measure all scenarios with one kind of key.

    Bare crypto and message work take turns, and each is judged by its best round: what else the
    machine does can only make a round slower.
    """
    bench = Bench.create(KINDS[key])
    for body, batch in SCENARIOS.values():
        bench.exchange(body, batch)
    gc.collect()
    gc.freeze()  # as the servers do after their start
    bare = min(key_cost(key, seconds=0.1).pair_us for _ in range(ROUNDS))
    rows = []
    for name, (body, batch) in SCENARIOS.items():
        work = float("inf")
        for _ in range(ROUNDS):
            used = cpu_us(lambda body=body, batch=batch: bench.exchange(body, batch), seconds=0.2)
            work = min(work, used / batch)
            bare = min(bare, key_cost(key, seconds=0.05).pair_us)
        rows.append((name, work))
    return [Row(key, name, work, 2 * bare) for name, work in rows]


def _profile(key: str, name: str) -> None:
    bench = Bench.create(KINDS[key])
    body, batch = SCENARIOS[name]
    bench.exchange(body, batch)
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(1000):
        bench.exchange(body, batch)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--key", action="append", choices=list(KINDS))
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="POST 1 kB")
    arguments = parser.parse_args()
    keys = arguments.key or list(KINDS)
    if arguments.profile:
        _profile(keys[0], arguments.scenario)
        return
    rows = [row for key in keys for row in measure(key)]
    if arguments.json:
        found = [
            {
                "key": row.key,
                "exchange": row.exchange,
                "work_us": round(row.work_us, 1),
                "bare_us": round(row.bare_us, 1),
                "ratio": round(row.ratio, 3),
            }
            for row in rows
        ]
        print(json.dumps({"machine": describe(), "message_work": found}, indent=2))
        return
    print(f"{'key':10}{'exchange':24}{'work us':>10}{'bare us':>10}{'ratio':>8}")
    for row in rows:
        print(
            f"{row.key:10}{row.exchange:24}{row.work_us:>10.0f}{row.bare_us:>10.0f}{row.ratio:>8.2f}"
        )


if __name__ == "__main__":
    main()
