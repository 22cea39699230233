"""How is an update dialogue (``globalconf.updates``) carried over HTTP?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, PostroadError, TrustError
from postroad.globalconf.parts import PRIVATE_PARAMETERS
from postroad.globalconf.source_state import SourceState
from postroad.globalconf.trusted import UpdateScope
from postroad.globalconf.updates import Fetch, Fetched, UpdateOutcome, update_instance

if TYPE_CHECKING:
    from collections.abc import Generator

    from postroad.clock import Clock
    from postroad.globalconf.anchor import Anchor
    from postroad.globalconf.trusted import AcceptedUpdate
    from postroad.ports import HttpFetcher

FETCH_TIMEOUT: Final = 40.0
"""Seconds for one file: 10 to connect and 30 to read, as the reference has it."""


async def converse(
    dialogue: Generator[Fetch, Fetched, UpdateOutcome], fetcher: HttpFetcher, clock: Clock
) -> UpdateOutcome:
    """Fetch what the dialogue asks for until it has an outcome.

    Proofs and parsing run in a thread, for a large instance takes a while.
    """
    step = await asyncio.to_thread(_advance, dialogue, None)
    while isinstance(step, Fetch):
        answer = await _fetch(step, fetcher, clock)
        step = await asyncio.to_thread(_advance, dialogue, answer)
    return step


async def check_anchor(
    anchor: Anchor, fetcher: HttpFetcher, clock: Clock, *, is_own: bool
) -> AcceptedUpdate:
    """Download and prove what an anchor leads to, storing nothing.

    ``is_own`` demands private parameters, as a security server's own anchor must lead to; an
    anchor of another instance must lead to shared parameters and to no private ones. Raises the
    ``PostroadError`` that tells why the anchor isn't usable.
    """
    scope = UpdateScope(anchor.instance, is_own=is_own)
    dialogue = update_instance(anchor, scope, stored={}, state=SourceState(""), shuffle=list)
    outcome = await converse(dialogue, fetcher, clock)
    if outcome.accepted is None:
        raise outcome.error or TrustError("the anchor leads nowhere")
    identifiers = {part.identifier for part in outcome.accepted.directory.parts}
    if not is_own and PRIVATE_PARAMETERS in identifiers:
        raise TrustError(
            f"the anchor of instance {anchor.instance} leads to its internal configuration; "
            "ask for the external anchor",
            code=FaultCode.MALFORMED_ANCHOR,
        )
    return outcome.accepted


def _advance(
    dialogue: Generator[Fetch, Fetched, UpdateOutcome], answer: Fetched | None
) -> Fetch | UpdateOutcome:
    try:
        return next(dialogue) if answer is None else dialogue.send(answer)
    except StopIteration as end:
        # A thread can't hand over StopIteration itself.
        outcome: UpdateOutcome = end.value
        return outcome


async def _fetch(step: Fetch, fetcher: HttpFetcher, clock: Clock) -> Fetched:
    try:
        response = await fetcher.fetch(
            "GET", step.url, timeout=FETCH_TIMEOUT, max_body=step.max_body
        )
    except PostroadError as error:
        return Fetched(0, str(error).encode("utf-8", "replace"), clock.now())
    if len(response.body) > step.max_body:
        return Fetched(0, b"the answer is larger than allowed", clock.now())
    return Fetched(response.status, response.body, clock.now())
