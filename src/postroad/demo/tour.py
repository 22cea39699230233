"""The exchanges that the demo shows, and the proof of each.

Every step says what it did and found; a step that doesn't find what it must raises.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from postroad.demo.consumer import call, large_body
from postroad.demo.evidence import Evidence, Exchange
from postroad.demo.layout import CONSUMER, PROVIDER, Layout
from postroad.demo.metadata_tour import show_metadata
from postroad.demo.monitoring_tour import show_monitoring
from postroad.demo.soap_tour import show_soap
from postroad.demo.steps import Shown, expect_status, took
from postroad.errors import ConfigurationError
from postroad.fault_table import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LARGE_BODY_BYTES = 100 * 1000 * 1000


class Tour:
    """Runs the exchanges one after the other."""

    def __init__(self, layout: Layout, check: Callable[[], None]) -> None:
        self._layout = layout
        self._url = layout.client_url(CONSUMER)
        self._check = check
        self._exchanges: list[Exchange] = []
        self._evidence = Evidence(check)

    @property
    def containers(self) -> list[Path]:
        """The containers that were fetched."""
        return self._evidence.containers

    def run(self) -> Iterator[Shown]:
        """Run all steps; raises ``ConfigurationError`` for one that goes wrong."""
        yield self._ask()
        yield self._submit()
        yield self._stream()
        yield self._be_refused()
        yield from show_soap(self._url, self._exchanges)
        yield from show_metadata(self._url, self._layout.cast.parties, self._exchanges)
        yield from show_monitoring(self._url, self._exchanges)
        yield from self._prove()

    def _ask(self) -> Shown:
        answer = call(self._url, "GET", "/persons/1")
        expect_status(answer, 200)
        self._exchanges.append(Exchange("GET /persons/1", answer.query_id))
        return Shown("A question: GET /persons/1", (took(answer), answer.body.decode()))

    def _submit(self) -> Shown:
        body = json.dumps({"person": "1", "asks": "a certificate of residence"}).encode()
        answer = call(self._url, "POST", "/applications", body=body)
        expect_status(answer, 201)
        self._exchanges.append(Exchange("POST /applications", answer.query_id))
        return Shown(
            "A message with a body: POST /applications",
            (took(answer), answer.body.decode()),
        )

    def _stream(self) -> Shown:
        body, digest = large_body(LARGE_BODY_BYTES)
        answer = call(self._url, "POST", "/documents", body=body, size=LARGE_BODY_BYTES)
        expect_status(answer, 201)
        received = json.loads(answer.body)
        if received != {"bytes": LARGE_BODY_BYTES, "sha512": digest}:
            raise ConfigurationError(f"the provider received something else: {received}")
        self._exchanges.append(Exchange("POST /documents, 100 MB", answer.query_id))
        rate = LARGE_BODY_BYTES / 1e6 / answer.seconds
        return Shown(
            "A streamed body of 100 MB: POST /documents",
            (f"{answer.seconds:.1f} s, {rate:.0f} MB/s", "the provider received the same SHA-512"),
        )

    def _be_refused(self) -> Shown:
        answer = call(self._url, "GET", "/persons")
        if answer.fault_code is None:
            raise ConfigurationError("a call without an access right was not refused")
        fault = explain(answer.fault_code)
        row = fault.explanation
        findings = [f"HTTP {answer.status}  {answer.fault_code}", answer.fault_message]
        if row is not None:
            findings += [f"who must act: {row.side.value}", f"next step: {row.next_step}"]
        return Shown("A refused call: GET /persons (no access right)", tuple(findings))

    def _prove(self) -> Iterator[Shown]:
        for party in (CONSUMER, PROVIDER):
            findings = []
            for exchange in self._exchanges:
                if party == PROVIDER and exchange.is_of_owner:
                    continue
                proven = []
                for response in (False, True)[: 1 + exchange.has_response]:
                    report = self._evidence.prove(self._layout, party, exchange, response=response)
                    stamped = f"{report.timestamp.gen_time:%H:%M:%S}"
                    proven.append(f"{report.signature.signer} {stamped}")
                findings.append(f"{exchange.title}: {', '.join(proven)}")
            title = (
                f"Evidence in the log of {party.name}, verified: signed by, time-stamped at (UTC)"
            )
            yield Shown(title, tuple(findings))
