"""Is the server that we connected to one that hosts the provider, with a good certificate?

The OCSP responses that this takes come from our own store, or from the server itself: plain HTTP on
its OCSP port, for nobody could check a TLS connection before having them. Source: PR-MESSTRANSP
2.2 and 3.2 (7); reference: AuthTrustVerifier, CertHashBasedOcspResponderClient.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from postroad.crypto.ocsp import OcspResponse
from postroad.errors import FaultCode, MalformedInput, PostroadError, TrustError, UnavailablePeer
from postroad.securityserver.peer_certificates import certificates_of, peer_path
from postroad.wire.mime import MediaType, MimeLimits, MultipartReader, PartBegin, PartData

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from postroad.clock import Clock
    from postroad.crypto.certificates import Certificate
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.identifiers import ClientId
    from postroad.ports import HttpFetcher
    from postroad.securityserver.peer_certificates import PeerVerdicts, VerifiedPeer
    from postroad.securityserver.snapshots import OcspDirectory, Snapshot

FETCH_TIMEOUT: Final = 30.0
"""Seconds for a peer to give its OCSP responses."""
MAX_ANSWER: Final = 1024 * 1024
MAX_JUDGED: Final = 1024
"""Verdicts that are remembered."""
_OCSP_TYPE: Final = "application/ocsp-response"


async def fetch_ocsp_responses(
    http: HttpFetcher, host: str, port: int, certificates: Sequence[Certificate]
) -> list[bytes]:
    """Ask a server for the OCSP responses of its own certificates, in the order given.

    Nothing in the answer is verified. Raises ``UnavailablePeer``, ``MalformedInput``.
    """
    # Releases up to 7.8 read only the SHA-1 names; both are sent, as those releases do.
    names = [f"cert={certificate.sha1.hex()}" for certificate in certificates]
    names += [f"cert_hash={certificate.sha256.hex()}" for certificate in certificates]
    authority = f"[{host}]" if ":" in host else host
    response = await http.fetch(
        "GET",
        f"http://{authority}:{port}/?{'&'.join(names)}",
        headers=(("Accept", "multipart/related"),),
        timeout=FETCH_TIMEOUT,
        max_body=MAX_ANSWER,
    )
    if not 200 <= response.status < 300:
        raise UnavailablePeer(f"the OCSP port of {host} answered with status {response.status}")
    found = parse_ocsp_answer(response.header("content-type") or "", response.body)
    if len(found) != len(certificates):
        raise MalformedInput(
            f"{len(found)} OCSP responses came for {len(certificates)} certificates",
            code=FaultCode.INCORRECT_VALIDATION_INFO,
        )
    return found


def parse_ocsp_answer(content_type: str, body: bytes) -> list[bytes]:
    r"""Read the OCSP responses (DER, unverified) of a ``multipart/related`` answer.

    >>> part = b"--b\r\ncontent-type: application/ocsp-response\r\n\r\nDER\r\n"
    >>> parse_ocsp_answer("multipart/related; boundary=b", part + b"--b--\r\n")
    [b'DER']
    """
    media_type = MediaType.parse(content_type)
    if media_type.base != "multipart/related":
        raise MalformedInput(
            f"OCSP responses came as {media_type.base}", code=FaultCode.INVALID_CONTENT_TYPE
        )
    reader = MultipartReader(media_type.boundary(), MimeLimits(parts=16))
    found: list[list[bytes]] = []
    for event in reader.feed(body):
        if isinstance(event, PartBegin):
            if MediaType.parse(event.content_type or "").base != _OCSP_TYPE:
                raise MalformedInput(
                    f"a part of the OCSP answer is {event.content_type!r}",
                    code=FaultCode.INVALID_CONTENT_TYPE,
                )
            found.append([])
        elif isinstance(event, PartData):
            found[-1].append(event.data)
    reader.finish()
    return [b"".join(pieces) for pieces in found]


def _age(der: bytes) -> datetime:
    try:
        return OcspResponse.parse(der).this_update
    except PostroadError:
        return datetime.min.replace(tzinfo=UTC)


class ProviderJudge:
    """Judges providers' servers; see the module's question."""

    def __init__(
        self,
        http: HttpFetcher,
        store: OcspDirectory,
        verdicts: PeerVerdicts,
        clock: Clock,
        *,
        ocsp_port: Callable[[str], int],
    ) -> None:
        self._http = http
        self._store = store
        self._verdicts = verdicts
        self._clock = clock
        self._ocsp_port = ocsp_port
        self._ports: OrderedDict[Certificate, _OcspPort] = OrderedDict()
        self._judged: OrderedDict[tuple[ClientId, tuple[bytes, ...]], _Judged] = OrderedDict()

    async def judge(
        self, snapshot: Snapshot, provider: ClientId, host: str, ders: tuple[bytes, ...]
    ) -> str:
        """Return the name of the server, or raise ``TrustError`` (``ssl_authentication_failed``).

        ``host`` is where the connection goes, ``ders`` what was shown in its handshake.
        """
        at = self._clock.now()
        judged = self._judged.get((provider, ders))
        if judged is not None and judged.holds(snapshot.globalconf, self._store.responses, at):
            return judged.name
        responses = self._store.responses
        peer = await self._judge(snapshot, provider, host, ders, at)
        name = str(peer.server_id or "")
        if self._store.responses is responses:  # otherwise the next message is judged anew
            self._judged[provider, ders] = _Judged(
                snapshot.globalconf, responses, peer.verified_at, peer.valid_until, name
            )
            if len(self._judged) > MAX_JUDGED:
                self._judged.popitem(last=False)
        return name

    async def _judge(
        self,
        snapshot: Snapshot,
        provider: ClientId,
        host: str,
        ders: tuple[bytes, ...],
        at: datetime,
    ) -> VerifiedPeer:
        chain = certificates_of(ders)
        needed = peer_path(chain, provider, snapshot.globalconf, at)[:-1]
        known = [self._store.responses.get(certificate.sha1) for certificate in needed]
        try:
            return self._verify(snapshot, chain, known, provider, at)
        except TrustError:
            return await self._verify_anew(snapshot, chain, needed, known, provider, host)

    async def _verify_anew(  # noqa: PLR0917 - the evidence, and where more of it is
        self,
        snapshot: Snapshot,
        chain: Sequence[Certificate],
        needed: Sequence[Certificate],
        judged: Sequence[bytes | None],
        provider: ClientId,
        host: str,
    ) -> VerifiedPeer:
        """Fetch OCSP responses from the server and judge again; one fetch at a time per server."""
        port = self._port(chain[0])
        failures = port.failures
        async with port.lock:
            known = [self._store.responses.get(certificate.sha1) for certificate in needed]
            if known != list(judged):  # another exchange has fetched them meanwhile
                try:
                    return self._verify(snapshot, chain, known, provider, self._clock.now())
                except TrustError:
                    pass
            if port.failures != failures:  # it failed while we waited; nobody waits twice
                raise _no_responses(port.failure)
            try:
                fetched = await fetch_ocsp_responses(
                    self._http, host, self._ocsp_port(host), needed
                )
            except PostroadError as error:
                port.failures, port.failure = port.failures + 1, str(error)
                raise _no_responses(port.failure) from error
            # What we know may be newer: nobody may take back a revocation with an older answer.
            newest = [
                max((der for der in pair if der is not None), key=_age)
                for pair in zip(fetched, known, strict=True)
            ]
            peer = self._verify(snapshot, chain, newest, provider, self._clock.now())
            for certificate, der in zip(needed, newest, strict=True):
                await asyncio.to_thread(self._store.store, certificate, der)
            return peer

    def _verify(
        self,
        snapshot: Snapshot,
        chain: Sequence[Certificate],
        responses: Sequence[bytes | None],
        provider: ClientId,
        at: datetime,
    ) -> VerifiedPeer:
        return self._verdicts.verify(
            chain,
            [der for der in responses if der is not None],
            client=provider,
            globalconf=snapshot.globalconf,
            at=at,
        )

    def _port(self, certificate: Certificate) -> _OcspPort:
        port = self._ports.setdefault(certificate, _OcspPort())
        self._ports.move_to_end(certificate)
        if len(self._ports) > 1024:
            self._ports.popitem(last=False)
        return port


class _Judged(NamedTuple):
    """A good verdict, with the state of the world that it was made in."""

    globalconf: GlobalConfiguration
    responses: Mapping[bytes, bytes]
    since: datetime
    until: datetime
    name: str

    def holds(
        self, globalconf: GlobalConfiguration, responses: Mapping[bytes, bytes], at: datetime
    ) -> bool:
        """Whether the same question would be answered from the same evidence.

        Both sources are replaced as a whole when anything in them changes.
        """
        return (
            self.globalconf is globalconf
            and self.responses is responses
            and self.since <= at <= self.until
        )


@dataclass(slots=True)
class _OcspPort:
    """The OCSP port of one server: who asks it now, and how often it failed."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failures: int = 0
    failure: str = ""


def _no_responses(why: str) -> TrustError:
    return TrustError(
        f"no OCSP responses from the provider's security server: {why}",
        code=FaultCode.SSL_AUTHENTICATION_FAILED,
    )
