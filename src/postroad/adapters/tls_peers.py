"""Which certificates did the peer of a TLS connection show, and which session may it resume.

Python's ``ssl`` shows the peer's own certificate, from 3.13 on its chain as well; before that the
chain is behind the private ``_sslobj``, which is used where it exists. On a resumed session a
server gets no chain at all (RFC 5246 7.3), so chains are remembered by end-entity certificate.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_DER: Final = 2
"""The encoding number of ``_ssl.Certificate.public_bytes``."""
_MAX_CHAIN: Final = 10
_SESSION_KEPT_S: Final = 300.0
"""How long a session is offered even where it isn't resumed: another process of a server may."""


def _unverified_chain(ssl_object: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return the chain as sent, end-entity first; empty when this Python can't tell."""
    public = getattr(ssl_object, "get_unverified_chain", None)
    if public is not None:
        return tuple(public())[:_MAX_CHAIN]
    private = getattr(getattr(ssl_object, "_sslobj", None), "get_unverified_chain", None)
    certificates: Sequence[object] = (private() if private is not None else None) or ()
    return tuple(
        certificate.public_bytes(_DER)  # type: ignore[attr-defined]
        for certificate in certificates[:_MAX_CHAIN]
    )


class PeerChains:
    """The certificate chains of peers, remembered for resumed sessions (the newest ``size``)."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._known: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()

    def of(self, ssl_object: ssl.SSLObject) -> tuple[bytes, ...]:
        """Return what the peer showed, end-entity first (DER); empty if it showed nothing."""
        leaf = ssl_object.getpeercert(binary_form=True)
        if not leaf:
            return ()
        if ssl_object.session_reused and leaf in self._known:
            self._known.move_to_end(leaf)
            return self._known[leaf]
        chain = _unverified_chain(ssl_object)
        if not chain or chain[0] != leaf:
            chain = (leaf, *chain)
        if len(chain) > 1:
            self._known[leaf] = chain
            self._known.move_to_end(leaf)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        return chain


class _StandIn(ssl.SSLContext):
    """A context that asks another one for each connection's TLS object."""

    current: ssl.SSLContext
    session: ssl.SSLSession | None = None
    """What a connection may resume (of a client)."""

    @classmethod
    def around(cls, context: ssl.SSLContext) -> Self:
        """Build a stand-in for a context."""
        stand_in = cls(context.protocol)
        stand_in.current = context
        return stand_in

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of ssl.SSLContext
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a TLS connection with the current context."""
        return self.current.wrap_bio(
            incoming, outgoing, server_side, server_hostname, session or self.session
        )


class SwitchableContext(_StandIn):
    """A stand-in that makes each connection with the context that is current at that moment.

    The event loop takes one context per listener and asks it for a TLS object per connection; here
    that question is passed on, so that keys and anchors change without closing the port.
    """

    def switch(self, context: ssl.SSLContext) -> None:
        """Use ``context`` from the next connection on."""
        self.current = context


class ResumingContext(_StandIn):
    """A stand-in for calls to one destination: offers the last TLS session for resumption.

    A resumed handshake costs an eighth of a full one, and peers that close after each answer make
    it the common case. The certificate remembered in the session is judged again each time.

    A session serves until its server won't resume it any more, and is replaced at leisure: before
    3.12.8 Python never frees a session it was asked for (gh-116810), some 7 kB each time.
    """

    _replaceable_at: float = 0.0

    def keep(self, ssl_object: ssl.SSLObject, now: float) -> None:
        """Remember the session of a connection whose peer was accepted, if a new one is wanted.

        ``now`` is a moment of the monotonic clock, in seconds.
        """
        if ssl_object.session_reused or (self.session is not None and now < self._replaceable_at):
            return
        self.session = ssl_object.session
        self._replaceable_at = now + _SESSION_KEPT_S

    def forget(self) -> None:
        """Offer no session any more: the peer was not accepted."""
        self.session = None
