"""PINs, private keys and bodies are told to nobody, by whatever a server writes or shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from chaos.secrecy import private_keys
from postroad.cli.server_context import PIN_VARIABLE
from postroad.demo.consumer import call
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.layout import CONSUMER, HEALTH_CHECK_PORT, PARTIES
from support.operating import operate, postroad

pytestmark = pytest.mark.xdist_group("ecosystem")

BODY = b"canary-body-5d02"
MESSAGES = {"db", "spool", "archive"}
"""Folders of a server where bodies belong."""


def told(ecosystem: Ecosystem) -> Iterator[tuple[str, bytes]]:
    """Everything that servers have written, but for messages, and what the process list shows."""
    layout = ecosystem.layout
    homes = [layout.server_home(party) for party in PARTIES]
    for folder in (layout.log, layout.central_home, *homes):
        for path in folder.rglob("*"):
            if path.is_file() and not MESSAGES & set(path.relative_to(folder).parts):
                yield str(path), path.read_bytes()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield str(process), process.read_bytes()
        except OSError:
            continue  # it has ended


def test_no_pin_key_or_body_is_told_anywhere(
    shared_ecosystem: Ecosystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = shared_ecosystem.layout
    pin = layout.pin_file.read_bytes().strip()
    secrets = {"PIN": pin, "body": BODY}
    for party in PARTIES:
        keys = list(private_keys(shared_ecosystem.settings(party).signer_path, pin))
        assert keys
        secrets |= {f"{party.server_code} key {index}": key for index, key in enumerate(keys)}
    url = layout.client_url(CONSUMER)
    answers = [
        call(url, "POST", path, body=BODY).body for path in ("/applications", "/persons", "/none")
    ]
    assert not [answer for answer in answers[1:] if BODY in answer]
    monkeypatch.setenv(PIN_VARIABLE, pin.decode())
    shown = operate(layout, CONSUMER, "token", "login")
    shown += operate(layout, CONSUMER, "key", "generate", "--label", "another")
    operate(layout, CONSUMER, "key", "delete", "another", "--yes", "--force")
    shown += postroad("server", "token", "login", "--help").stdout
    assert os.environ[PIN_VARIABLE] not in shown
    figures = f"http://{layout.address(CONSUMER.number)}:{HEALTH_CHECK_PORT}/metrics"
    with urlopen(figures, timeout=10) as answer:
        shown_figures = answer.read()
    assert b"postroad_" in shown_figures
    looked = {}
    for where, content in (("/metrics", shown_figures), *told(shared_ecosystem)):
        looked[where] = len(content)
        for name, secret in secrets.items():
            hidden = secret in content or secret.hex().encode() in content.lower()
            assert not hidden, f"{where} tells a {name}"
    audited = layout.server_home(CONSUMER) / "log" / "audit.log"
    assert b"Log in to token" in audited.read_bytes()
    assert looked[str(audited)]
    assert sum("/proc/" in where for where in looked) > 5
    assert any(where.endswith("status.json") for where in looked)
