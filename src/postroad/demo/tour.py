"""The exchanges that the demo shows, and the proof of each.

Every step says what it did and found; a step that doesn't find what it must raises.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.files import read_tree, write_atomic
from postroad.demo.consumer import call, fetch_container, large_body
from postroad.demo.layout import CONSUMER, PROVIDER, Layout, Party
from postroad.demo.processes import wait_until
from postroad.errors import ConfigurationError
from postroad.evidence.asic import parse_container
from postroad.evidence.container_verification import ContainerReport, verify_container
from postroad.fault_table import explain
from postroad.globalconf.stored import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroad.demo.consumer import Answer
    from postroad.globalconf.view import GlobalConfiguration

LARGE_BODY_BYTES = 100 * 1000 * 1000
_CONFIGURATION_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """One finished step: a title and what it found."""

    title: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange that both sides must be able to prove."""

    title: str
    query_id: str


class Evidence:
    """Fetches signed containers from message logs and verifies them."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self.containers: list[Path] = []

    def prove(
        self, layout: Layout, party: Party, exchange: Exchange, *, response: bool
    ) -> ContainerReport:
        """Verify one message of an exchange by what the party's own server has logged."""
        container = self._fetch(layout, party, exchange, response=response)
        kind = "response" if response else "request"
        path = layout.evidence / f"{party.server_code}-{exchange.query_id}-{kind}.asice"
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, container)
        self.containers.append(path)
        return verify_container(parse_container(container), load_stored(layout, party))

    def _fetch(self, layout: Layout, party: Party, exchange: Exchange, *, response: bool) -> bytes:
        """Fetch a container once its record is time-stamped."""
        found: list[Answer] = []

        def is_stamped() -> bool:
            self._check()
            answer = fetch_container(
                layout.client_url(party), party.subsystem, exchange.query_id, response=response
            )
            found.append(answer)
            return answer.status == 200

        wait_until(f"the time-stamp of {exchange.title}", is_stamped)
        return found[-1].body


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
        yield from self._prove()

    def _ask(self) -> Shown:
        answer = call(self._url, "GET", "/persons/1")
        self._expect(answer, 200)
        self._exchanges.append(Exchange("GET /persons/1", answer.query_id))
        return Shown("A question: GET /persons/1", (_milliseconds(answer), answer.body.decode()))

    def _submit(self) -> Shown:
        body = json.dumps({"person": "1", "asks": "a certificate of residence"}).encode()
        answer = call(self._url, "POST", "/applications", body=body)
        self._expect(answer, 201)
        self._exchanges.append(Exchange("POST /applications", answer.query_id))
        return Shown(
            "A message with a body: POST /applications",
            (_milliseconds(answer), answer.body.decode()),
        )

    def _stream(self) -> Shown:
        body, digest = large_body(LARGE_BODY_BYTES)
        answer = call(self._url, "POST", "/documents", body=body, size=LARGE_BODY_BYTES)
        self._expect(answer, 201)
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
                for response in (False, True):
                    report = self._evidence.prove(self._layout, party, exchange, response=response)
                    findings.append(describe(exchange, report, response=response))
            yield Shown(f"Evidence in the log of {party.name}, verified", tuple(findings))

    @staticmethod
    def _expect(answer: Answer, status: int) -> None:
        if answer.status != status:
            raise ConfigurationError(
                f"expected HTTP {status}, got {answer.status}: {answer.fault_code} "
                f"{answer.fault_message}"
            )


def load_stored(layout: Layout, party: Party) -> GlobalConfiguration:
    """The global configuration as a party's Security Server has stored it."""
    return load(read_tree(layout.server_home(party) / "globalconf", _CONFIGURATION_BYTES))


def _milliseconds(answer: Answer) -> str:
    return f"HTTP {answer.status} in {answer.seconds * 1000:.0f} ms, id {answer.query_id}"


def describe(exchange: Exchange, report: ContainerReport, *, response: bool) -> str:
    """Say in a line what a container proves."""
    kind = "response" if response else "request"
    stamped = f"{report.timestamp.gen_time:%H:%M:%S}"
    return (
        f"{exchange.title} {kind}: signed by {report.signature.signer}, time-stamped {stamped} UTC"
    )
