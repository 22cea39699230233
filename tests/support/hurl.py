"""Run a Hurl scenario: ``python -m support.hurl PATH --variable name=value``.

For files of others that describe what a server should answer; see ``hurl_format`` for what is
understood. TLS certificates are not judged: the servers under test have their own.
"""

from __future__ import annotations

import argparse
import mimetypes
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support.hurl_format import Entry, parse
from support.hurl_queries import MISSING, HurlFailure, check, evaluate, words_of

_TEMPLATE = re.compile(r"\{\{\s*([\w-]+)\s*\}\}")
_FILE = re.compile(r"file,\s*([^;]+);\s*(\S*)")
_SECONDS = re.compile(r"(\d+)(ms|s|m)?")


@dataclass
class Step:
    """How one entry went."""

    entry: Entry
    url: str
    status: int | None
    failure: str | None = None


@dataclass
class Scenario:
    """A scenario while it runs: its variables, its cookies."""

    client: httpx.Client
    variables: dict[str, str] = field(default_factory=dict)
    files: Path = Path()

    def run(self, entry: Entry) -> Step:
        """Send one entry, again if it asks for that, and judge the answer."""
        options = dict(entry.options)
        attempts = 1 + int(options.get("retry", "0"))
        pause = _duration(options.get("retry-interval", "1s"))
        while True:
            step = self._attempt(entry)
            attempts -= 1
            if step.failure is None or attempts <= 0:
                return step
            time.sleep(pause)

    def _attempt(self, entry: Entry) -> Step:
        step = Step(entry, entry.url, None)
        try:
            step.url = self.filled(entry.url)
            answer = self.client.send(self._request(entry))
            step.status = answer.status_code
            self._judge(entry, answer)
        except (HurlFailure, httpx.HTTPError, OSError) as error:
            step.failure = str(error) or type(error).__name__
        return step

    def filled(self, text: str) -> str:
        """A text with the values of its variables."""

        def value(found: re.Match[str]) -> str:
            if found[1] not in self.variables:
                raise HurlFailure(f"the variable {found[1]} has no value")
            return self.variables[found[1]]

        return _TEMPLATE.sub(value, text)

    def _request(self, entry: Entry) -> httpx.Request:
        headers = [(name, self.filled(value)) for name, value in entry.headers]
        names = {name.lower() for name, _value in headers}
        content: bytes | None = None
        if entry.body is not None:
            content = self._content(entry.body)
            if entry.is_json and "content-type" not in names:
                headers.append(("Content-Type", "application/json"))
        for name, value in entry.cookies:
            self.client.cookies.set(name, self.filled(value))
        request = self.client.build_request(
            entry.method,
            self.filled(entry.url),
            headers=headers,
            params=[(n, self.filled(v)) for n, v in entry.query] or None,
            content=content,
            data=self._pairs(entry.form) or None,
            files=[self._part(name, value) for name, value in entry.multipart] or None,
        )
        for name, value in entry.basic_auth:
            auth = httpx.BasicAuth(self.filled(name), self.filled(value))
            request = next(auth.auth_flow(request))
        return request

    def _content(self, body: str) -> bytes:
        named = _FILE.fullmatch(body)
        if named is None:
            return self.filled(body).encode()
        return (self.files / self.filled(named[1])).read_bytes()

    def _part(
        self, name: str, value: str
    ) -> tuple[str, tuple[str | None, bytes] | tuple[str, bytes, str]]:
        named = _FILE.fullmatch(value)
        if named is None:
            return name, (None, self.filled(value).encode())
        path = self.files / self.filled(named[1])
        kind = named[2] or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return name, (path.name, path.read_bytes(), kind)

    def _pairs(self, pairs: list[tuple[str, str]]) -> dict[str, str]:
        return {name: self.filled(value) for name, value in pairs}

    def _judge(self, entry: Entry, answer: httpx.Response) -> None:
        if entry.status not in {"*", str(answer.status_code)}:
            raise HurlFailure(
                f"{answer.status_code} where {entry.status} was expected: {answer.text[:300]}"
            )
        for name, value in entry.expected_headers:
            if answer.headers.get(name) != self.filled(value):
                raise HurlFailure(f"the header {name} is {answer.headers.get(name)!r}")
        for name, query in entry.captures:
            found, _rest = evaluate(words_of(query), answer)
            if found is MISSING:
                raise HurlFailure(f"nothing to capture: {query}")
            self.variables[name] = found if isinstance(found, str) else str(found)
        for line in entry.asserts:
            check(self.filled(line), answer)


def run_file(
    path: Path, variables: Mapping[str, str], *, files: Path | None = None, last: int | None = None
) -> list[Step]:
    """Run a scenario to its end, its first failure, or the entry with that number."""
    steps: list[Step] = []
    with httpx.Client(verify=False, timeout=60) as client:
        scenario = Scenario(client, dict(variables), files or path.parent)
        for entry in parse(path.read_text(encoding="utf-8"))[:last]:
            steps.append(scenario.run(entry))
            if steps[-1].failure is not None:
                break
    return steps


def _duration(text: str) -> float:
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise HurlFailure(f"no duration: {text}")
    return int(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2] or "ms"]


def main() -> int:
    """Run one file and tell how each entry went; 1 when one has failed."""
    parser = argparse.ArgumentParser(prog="python -m support.hurl")
    parser.add_argument("path", type=Path)
    parser.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--file-root", type=Path)
    parser.add_argument("--to-entry", type=int)
    given = parser.parse_args()
    variables = dict(pair.split("=", 1) for pair in given.variable)
    steps = run_file(given.path, variables, files=given.file_root, last=given.to_entry)
    for number, step in enumerate(steps, 1):
        verdict = "passed" if step.failure is None else f"FAILED: {step.failure}"
        sys.stdout.write(f"{number:3} {step.status} {step.entry.method} {step.url}: {verdict}\n")
    return int(any(step.failure for step in steps))


if __name__ == "__main__":
    sys.exit(main())
